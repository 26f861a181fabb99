"""Which files an encode reads, in which chunks, and how their bytes are fetched."""
