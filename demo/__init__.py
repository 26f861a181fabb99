"""The whole way in one command, on music that needs no download; what `make run` calls."""

import job_runtime  # noqa: F401  takes signals while the rest is imported
