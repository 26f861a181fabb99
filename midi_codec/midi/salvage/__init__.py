"""Reading damaged files as far as they are intact."""
