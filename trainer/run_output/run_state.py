"""Where a run stands, saved with every checkpoint: what the variables do not hold. Needs no TensorFlow."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

from job_runtime import json_text
from trainer.data.feed import Position


class Diverged(RuntimeError):
    """A loss is not a finite number, or explodes: the settings' trouble, which another start repeats."""


@dataclasses.dataclass
class RunState:
    """Where a run stands, saved with every checkpoint: what the variables do not hold."""

    step: int = 0
    position: Position = Position()
    seconds: float = 0.0
    loss_sum: float = 0.0  # since the last validation
    loss_events: int = 0
    first_loss: float | None = None  # an event, of the first step
    validation_due: bool = False  # the steps before it are done, and it is not
    best_nll: float = math.inf
    best_step: int = 0
    validations_since_best: int = 0
    finished: bool = False
    halted: str | None = None  # why `on_validation` ended the run
    samples_due: bool = False  # the validation before it is done, and its samples are not
    skipped: list[list[int]] = dataclasses.field(default_factory=list)  # (epoch, batch) of batches left out
    deviations: dict[str, float] = dataclasses.field(default_factory=dict)  # of MSE heads, by the last validation
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
          JsonError: it is no state of a run.
        """
        if found := list(json_text.problems(value, cls)):
            raise json_text.JsonError([f"the checkpoint's state: {problem}" for problem in found])
        return cls(**{**value, "position": Position(**value["position"])})
