"""Fine-tuning on preferences: pairs, their batches, the step, and the run."""
