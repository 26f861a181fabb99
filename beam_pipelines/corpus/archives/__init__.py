"""Archives as folders: their members are listed and read in place."""
