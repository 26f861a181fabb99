"""Corpus to dataset: the encode job, an Apache Beam pipeline."""

import job_runtime  # noqa: F401  takes signals while the rest is imported
