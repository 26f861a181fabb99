"""How fast the jobs are."""
