"""What a caller may add to a run."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import tensorflow as tf


class Halted(Exception):
    """Raised by `on_validation` to end the run; its text is the reason."""


@dataclasses.dataclass(frozen=True)
class Hooks:
    """What a run does besides training.

    Attributes:
      on_validation: called on the chief with each line of the metrics; may raise `Halted`.
      write_samples: called on the chief after a validation with the step and the deviations of the MSE heads.
      profile: whether to write a trace of some steps for TensorBoard.
    """

    on_validation: Callable[[dict[str, Any]], None] | None = None
    write_samples: Callable[[int, dict[str, float], tf.summary.SummaryWriter], Any] | None = None
    profile: bool = False
