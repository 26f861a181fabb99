"""How far a run has come, and the learning rate that belongs there."""

from __future__ import annotations

import math

from trainer.config import TrainConfig


def share_done(config: TrainConfig, *, epochs_done: float, seconds: float) -> float:
    """0 at the start, 1 or more at the end; of epochs, or of `max_minutes` where those are nearer their end."""
    share = epochs_done / config.epochs
    if config.max_minutes is not None:
        share = max(share, seconds / (60 * config.max_minutes))
    return share


def learning_rate(config: TrainConfig, *, step: int, share: float) -> float:
    """Of the step with this number, from 0: linear warm-up, then a cosine down to `final_rate` of the highest."""
    warm = min(1.0, (step + 1) / max(config.warmup_steps, 1))
    cosine = 0.5 * (1 + math.cos(math.pi * min(1.0, share)))
    return config.learning_rate * warm * (config.final_rate + (1 - config.final_rate) * cosine)
