"""The step of rewards: the policy gradient of pieces that the model itself has just drawn (GRPO; Shao et al. 2024).

    loss of a piece = -advantage * log p(piece) + kl_weight * divergence from the start

The advantage is how much more the piece was rewarded than the others that were drawn with it, in standard deviations.
Every step draws its own pieces from the model as it is, so there is no ratio of an old model to the new one to clip.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterable, Mapping

import numpy as np
import tensorflow as tf

from trainer.bundle import Bundle
from trainer.config import TrainConfig
from trainer.data.batches import Batch
from trainer.finetuning.near_start import Comparison, NearStartStep


@dataclasses.dataclass(frozen=True)
class RewardedBatch(Batch):
    """Whole pieces, one per row.

    Attributes:
      advantage: `[rows]` float32.
    """

    advantage: np.ndarray


class RewardStep(NearStartStep):
    """The step for `RewardedBatch`.

    Args:
      config, start, strategy: as for `NearStartStep`.
      kl_weight: of the divergence.
      ends: whether END was drawn; otherwise no piece owes its reward to it.
    """

    def __init__(
        self, config: TrainConfig, start: Bundle, strategy: tf.distribute.Strategy, *, kl_weight: float, ends: bool
    ):
        super().__init__(config, start, strategy)
        self._kl_weight, self._ends = kl_weight, ends

    def progress(self, loss: float, best: float) -> str:
        """As `TrainStep.progress`: the score is minus the reward, and the loss is near 0 whatever is learned."""
        return f"best reward {-best:+.2f} standard deviations" if math.isfinite(best) else "no reward measured yet"

    def divergence(self, batches: Iterable[Batch], *, between_batches: Callable[[], None]) -> float:
        """From the start, per event of some batches."""
        kl, num_events = self.sums(batches, between_batches=between_batches).tolist()
        return kl / num_events

    def _sums(self, batch: Mapping[str, tf.Tensor], compared: Comparison) -> tf.Tensor:
        return tf.stack([tf.reduce_sum(compared.kl), tf.reduce_sum(compared.is_event)])

    def _loss(self, batch: Mapping[str, tf.Tensor], compared: Comparison) -> tf.Tensor:
        advantage = tf.cast(batch["advantage"], tf.float64)[:, None]
        gain = compared.gain if self._ends else compared.gain - compared.end_gain
        return tf.reduce_sum(self._kl_weight * compared.kl - advantage * gain)
