"""What every job needs that is not about music: the command line, exit statuses, signals, progress, logs, storage."""

from job_runtime import early_stop  # noqa: F401  first of all: takes signals while the rest is imported
