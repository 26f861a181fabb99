"""What every job needs that is not about music: command line, exit statuses, signals, progress, logs, storage."""

from job_runtime import early_stop  # noqa: F401  must come first: it handles signals while the rest is imported
