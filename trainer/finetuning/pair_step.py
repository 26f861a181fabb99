"""The step of pairs: direct preference optimisation (DPO; Rafailov et al. 2023) with a divergence per note.

    margin = [log p(better) - log q(better)] - [log p(worse) - log q(worse)]
    loss of a pair = -log sigmoid(beta margin)

p is the model, q the one it started from. Beside the mean loss of the pairs, each note costs `kl_weight` times its
divergence from the start.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import tensorflow as tf

from trainer.bundle import Bundle
from trainer.config import TrainConfig
from trainer.data.batches import Batch
from trainer.distribution.strategy import part_of
from trainer.finetuning.config import PairConfig
from trainer.finetuning.near_start import Comparison, NearStartStep, batch_of_whole
from trainer.finetuning.pair_plan import PairPlan, Pairs

FIGURES = ("pair_loss", "pairs_right", "margin", "kl", "pairs", "events")


class PairStep(NearStartStep):
    """The step for batches of `PairPlan`.

    Args:
      config, start, strategy: as for `NearStartStep`.
      settings: the settings of the objective.
      kl_weight: of the divergence.
      events_per_pair: the mean over the training pairs; with it a pair's loss is shared among its events.
    """

    unit, together = "per pair", 2

    def __init__(
        self,
        config: TrainConfig,
        start: Bundle,
        strategy: tf.distribute.Strategy,
        *,
        settings: PairConfig,
        kl_weight: float,
        events_per_pair: float,
    ):
        super().__init__(config, start, strategy)
        self._settings, self._kl_weight, self._events_per_pair = settings, kl_weight, events_per_pair

    def measure(self, pairs: Pairs, *, between_batches: Callable[[], None] = lambda: None) -> dict[str, float]:
        """The figures of some pairs: mean loss, share of positive margins, mean margin, divergence per event."""
        sums = self.sums(self._batches(pairs), between_batches=between_batches)
        found = dict(zip(FIGURES, sums.tolist(), strict=True))
        num_pairs, num_events = found.pop("pairs"), found.pop("events")
        kl = found.pop("kl") / num_events
        return {**{name: value / num_pairs for name, value in found.items()}, "kl": kl}

    def _batches(self, pairs: Pairs) -> Iterator[Batch]:
        replicas = self._strategy.num_replicas_in_sync
        for windows in PairPlan(pairs, replicas=replicas, batch_size=2 * self._settings.num_pairs * replicas):
            yield batch_of_whole(pairs.pieces, windows, self.model, part_of(self._strategy))

    def _sums(self, batch: Mapping[str, tf.Tensor], compared: Comparison) -> tf.Tensor:
        """`FIGURES`."""
        gain = tf.reduce_sum(compared.gain, axis=1)
        margin = gain[0::2] - gain[1::2]
        is_pair = tf.cast(tf.reduce_sum(compared.is_event, axis=1)[0::2] > 0, tf.float64)
        by_pair = (tf.nn.softplus(-self._settings.beta * margin), tf.cast(margin > 0, tf.float64), margin)
        return tf.stack(
            [
                *(tf.reduce_sum(figure * is_pair) for figure in by_pair),
                tf.reduce_sum(compared.kl),
                tf.reduce_sum(is_pair),
                tf.reduce_sum(compared.is_event),
            ]
        )

    def _loss(self, batch: Mapping[str, tf.Tensor], compared: Comparison) -> tf.Tensor:
        sums = self._sums(batch, compared)
        pair_loss, kl = (sums[FIGURES.index(name)] for name in ("pair_loss", "kl"))
        return self._events_per_pair * pair_loss + self._kl_weight * kl
