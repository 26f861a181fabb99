"""What a run writes: the run folder, checkpoints, metrics, sample pieces."""
