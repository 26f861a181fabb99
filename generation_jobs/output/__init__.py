"""A job's output folder: shards, pieces, manifest; writers beside readers."""
