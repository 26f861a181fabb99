"""What the three jobs share about music: notes, MIDI files, note fields, records, dataset info, sound."""

from job_runtime import early_stop  # noqa: F401  must come first: it handles signals during imports
