"""The state of a run, saved with every checkpoint: what the variables do not hold. Needs no TensorFlow."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

from job_runtime import json_text
from trainer.data.feed import Position


class Diverged(RuntimeError):
    """A loss is not a finite number, or explodes: the settings are at fault, and a restart would end the same way."""


@dataclasses.dataclass
class RunState:
    """How far a run has come."""

    step: int = 0
    position: Position = Position()
    seconds: float = 0.0
    loss_sum: float = 0.0  # since the last validation
    loss_events: int = 0
    first_loss: float | None = None  # of the first step, per event
    validation_due: bool = False  # the steps before it are done, the validation is not
    best_nll: float = math.inf  # or the lowest score, where `Hooks.score` decides
    best_step: int = 0
    validations_since_best: int = 0
    finished: bool = False
    halted: str | None = None  # why `on_validation` ended the run
    samples_due: bool = False  # the validation is done, its samples are not
    skipped: list[list[int]] = dataclasses.field(default_factory=list)  # (epoch, batch) of each batch left out
    deviations: dict[str, float] = dataclasses.field(default_factory=dict)  # of MSE heads, from the last validation
    metrics: list[dict[str, Any]] = dataclasses.field(default_factory=list)

    @property
    def is_over(self) -> bool:
        """Whether nothing is left to do."""
        return self.finished and not self.samples_due

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> RunState:
        """The inverse of `to_json`.

        Raises:
          JsonError: it is not the state of a run.
        """
        if problems := list(json_text.problems(value, cls)):
            raise json_text.JsonError([f"the checkpoint's state: {problem}" for problem in problems])
        return cls(**{**value, "position": Position(**value["position"])})
