"""A job's output folder: shards, pieces and manifest; each format's writer beside its reader."""
