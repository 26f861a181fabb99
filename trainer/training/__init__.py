"""A training run: steps, validations, schedule, checkpoints, and what a run starts from."""
