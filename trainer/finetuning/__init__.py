"""Fine-tuning: pairs of pieces, and rewards of drawn pieces; their batches, their steps, and the run."""
