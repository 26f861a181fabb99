"""How far a run has come, and the learning rate that follows from it."""

from __future__ import annotations

import math

from job_runtime.command_line.numerals import counted
from trainer.config import TrainConfig
from trainer.run_output.run_state import RunState


def share_done(config: TrainConfig, state: RunState) -> float:
    """0 at the start, 1 or more at the end: the share of the epochs or of `max_minutes`, whichever is larger."""
    share = state.position.epochs_done / config.epochs
    if config.max_minutes is not None:
        share = max(share, state.seconds / (60 * config.max_minutes))
    return share


def early_stop(config: TrainConfig, state: RunState) -> str | None:
    """Of a finished run, the sentence for people on why it ended before its epochs and minutes; None if it did not."""
    share = share_done(config, state)
    if share >= 1 or state.halted:
        return None
    return (
        f"stopped early, after step {state.step:,} and {100 * share:.0f}% of its time: the last"
        f" {counted(state.validations_since_best, 'validation')} were no better than step {state.best_step:,}"
        f" ({state.best_nll:.3f} nats per note)"
    )


def learning_rate(config: TrainConfig, *, step: int, share: float) -> float:
    """The rate of a step, counted from 0: linear warm-up, then a cosine down to `final_rate` times the highest rate."""
    warm = min(1.0, (step + 1) / max(config.warmup_steps, 1))
    cosine = 0.5 * (1 + math.cos(math.pi * min(1.0, share)))
    return config.learning_rate * warm * (config.final_rate + (1 - config.final_rate) * cosine)


def next_learning_rate(config: TrainConfig, state: RunState) -> float:
    """The rate of the next step of a run in this state."""
    return learning_rate(config, step=state.step, share=share_done(config, state))
