"""A bundle and a seed list become music: `python -m generation_jobs.generate`, then `.report`."""

import job_runtime  # noqa: F401  takes signals while the rest is imported
