"""Corpus to dataset: the encode job, an Apache Beam pipeline."""

import os

import job_runtime  # noqa: F401  takes signals while the rest is imported

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # nothing here multiplies matrices, and idle threads of NumPy's spin
