"""Reading damaged files as far as they are sound."""
