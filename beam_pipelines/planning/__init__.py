"""Which pieces are kept, in which group and split: decided from all part files at once."""
