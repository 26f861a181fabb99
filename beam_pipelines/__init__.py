"""Corpus to dataset: the encode job, an Apache Beam pipeline."""

import midi_codec  # noqa: F401  takes signals while the rest is imported
