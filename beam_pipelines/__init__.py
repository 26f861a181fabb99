"""Corpus to dataset: the encode job, an Apache Beam pipeline."""
