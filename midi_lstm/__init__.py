"""The front door: one command, `midi-lstm`, for all the others."""

import job_runtime  # noqa: F401  takes signals while the rest is imported
