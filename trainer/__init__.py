"""Dataset in, bundle out: the model, its training loop, and what is measured of it."""

import job_runtime  # noqa: F401  takes signals while the rest is imported
