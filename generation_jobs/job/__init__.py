"""A task's share of a generation job: planned, made, kept."""
