"""What a caller may add to a run."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import tensorflow as tf

    from trainer.evaluation.validation import Evaluation


class Halted(Exception):
    """Raised by `on_validation` to end the run; its text is the reason."""


class Score(Protocol):
    """Gives a model's score, and more figures for the metrics.

    Args:
      evaluation: of the model.
      before: the lines of the metrics so far.
      between_chunks: to be called between compiled calls; what it raises ends the validation.
    """

    def __call__(
        self, evaluation: Evaluation, before: Sequence[Mapping[str, Any]], between_chunks: Callable[[], None]
    ) -> tuple[float, dict[str, float]]: ...


@dataclasses.dataclass(frozen=True)
class Hooks:
    """What a run does besides training.

    Attributes:
      score: called on all workers at a validation; which model is kept (the lowest). None: the validation NLL.
      on_validation: called on the chief with each line of the metrics; may raise `Halted`.
      write_samples: called on the chief after a validation with the step and the deviations of the MSE heads.
      profile: whether to write a trace of some steps for TensorBoard.
    """

    score: Score | None = None
    on_validation: Callable[[dict[str, Any]], None] | None = None
    write_samples: Callable[[int, dict[str, float], tf.summary.SummaryWriter], Any] | None = None
    profile: bool = False
