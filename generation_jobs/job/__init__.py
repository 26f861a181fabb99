"""A generation job and one task's share of it: find what is left, make it, keep it."""
