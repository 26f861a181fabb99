"""The whole pipeline in one command, on music that needs no download: `make run`."""

import job_runtime  # noqa: F401  takes signals while the rest is imported
