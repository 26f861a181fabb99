"""How much copying counts: what a request asks for, and less while a piece with `avoid_loops` is in a loop.

Once a piece repeats itself, everything that can be copied says the same, and the repeat never ends; real music does not
stay that predictable. So each piece has a running mean of what its notes cost, in nats. Where that falls far below what
held-out music costs, copying counts less, in proportion, and the rest of the model decides. Only models that also
learned to do without copying (`attention_dropout`) can be asked to.
"""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from trainer.bundle import Bundle
from trainer.model.model_config import ModelConfig

NOTES = 32.0  # that the running mean looks back
PREDICTABLE = 0.5  # of what held-out music costs: real music has passages below its mean


class LoopGuard:
    """How much copying counts in each slot.

    Args:
      bundles: the model, or those of an ensemble.
    """

    def __init__(self, bundles: Sequence[Bundle]) -> None:
        configs = [ModelConfig(**bundle.config) for bundle in bundles]
        nats = [bundle.metrics.get("validation_nll") for bundle in bundles]
        known = [value for value in nats if isinstance(value, int | float) and value > 0]
        can_do_without = all(config.sources is None or config.attention_dropout > 0 for config in configs)
        self._copies = any(config.sources is not None for config in configs)
        self.is_active = self._copies and can_do_without and len(known) == len(bundles)
        # What a note of the validation split costs; below that, copying counts less.
        self._usual = sum(known) / len(known) if self.is_active else 1.0

    def begin(self, slots: int) -> tf.Tensor:
        """`[slots]` float32, the running means of pieces that have not begun."""
        return tf.fill([slots], tf.constant(self._usual, tf.float32))

    def amount(self, cost: tf.Tensor, copying: tf.Tensor, asks: tf.Tensor) -> tf.Tensor | None:
        """`[slots]` float32, how much copying counts; None for models that do not copy.

        Args:
          cost: `[slots]` float32, the running means.
          copying: `[slots]` float32, `Request.copying` of the slots' requests.
          asks: `[slots]` bool, whether the slots' requests want to avoid loops.
        """
        if not self.is_active:
            return copying if self._copies else None
        return copying * tf.where(asks, tf.clip_by_value(cost / (PREDICTABLE * self._usual), 0.0, 1.0), 1.0)

    def after(self, cost: tf.Tensor, log_likelihood: tf.Tensor) -> tf.Tensor:
        """The running means after a note with this log likelihood, `[slots]`."""
        return cost + (-log_likelihood - cost) / NOTES
