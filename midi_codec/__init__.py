"""The language the three jobs share: notes, MIDI bytes, note fields, records, dataset info, sound."""

from job_runtime import early_stop  # noqa: F401  first of all: takes signals while the rest is imported
