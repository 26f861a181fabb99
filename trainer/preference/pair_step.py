"""The step of fine-tuning: direct preference optimisation (DPO; Rafailov et al. 2023) with a divergence per note.

    margin = [log p(better) - log q(better)] - [log p(worse) - log q(worse)]
    loss of a pair = -log sigmoid(beta margin)

p is the model, q the one it started from. Log-likelihoods are exact and of whole pieces: all fields of every note, and
END where the piece ended by itself. Beside the mean loss of the pairs, each note costs `kl_weight` times its divergence
KL(p || q), given the notes before: exact for END and for categorical fields given the note's fields before; for other
fields half the squared log ratio. Nothing is dropped out.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from midi_codec import fields
from trainer import bundle as bundle_lib
from trainer.bundle import Bundle
from trainer.config import TrainConfig
from trainer.data.batches import make_batch
from trainer.distribution.strategy import batch_signature, part_of, share_out
from trainer.evaluation.validation import Evaluation
from trainer.model.heads import HeadOutputs
from trainer.model.note_model import NoteModel
from trainer.preference.config import FinetuneConfig
from trainer.preference.pair_plan import PairPlan, Pairs
from trainer.training.train_step import TrainStep

FIGURES = ("pair_loss", "pairs_right", "margin", "kl", "pairs", "events")


class PairStep(TrainStep):
    """A `TrainStep` for batches of `PairPlan`.

    Args:
      config: the settings of the loop.
      start: the bundle that the run starts from.
      strategy: of the run.
      settings: the settings of the objective.
      events_per_pair: the mean over the training pairs; with it a pair's loss is shared among its events.
    """

    unit, together = "per pair", 2

    def __init__(
        self,
        config: TrainConfig,
        start: Bundle,
        strategy: tf.distribute.Strategy,
        *,
        settings: FinetuneConfig,
        events_per_pair: float,
    ):
        super().__init__(config, start.fields, strategy)
        with strategy.scope():
            self._start_model = NoteModel(config.model, start.fields, precision=config.precision)
        for model in (self.model, self._start_model):
            bundle_lib.set_weights(model, start.weights)
        self._deviations, self._settings, self._events_per_pair = start.deviations, settings, events_per_pair
        self._measure: Any = None

    def measure(self, pairs: Pairs, *, between_batches: Callable[[], None] = lambda: None) -> dict[str, float]:
        """The figures of some pairs: mean loss, share of positive margins, mean margin, divergence per event.

        Args:
          between_batches: called between compiled calls; what it raises ends the measurement.
        """
        sums = np.zeros(len(FIGURES))
        plan = PairPlan(
            pairs,
            replicas=self._strategy.num_replicas_in_sync,
            batch_size=2 * self._settings.num_pairs * self._strategy.num_replicas_in_sync,
        )
        for windows in plan:
            batch = make_batch(
                pairs.pieces,
                windows,
                table=self.model.table,
                batch_size=len(windows),
                start_bins=self.model.start_bins,
                memory=self.model.memory,
                part=part_of(self._strategy),
            )
            shared = share_out(batch, self._strategy)
            if self._measure is None:
                self._measure = tf.function(
                    self._distributed_sums, input_signature=[batch_signature(shared)], autograph=False
                )
            sums += self._measure(shared).numpy()
            between_batches()
        found = dict(zip(FIGURES, sums.tolist(), strict=True))
        num_pairs, num_events = found.pop("pairs"), found.pop("events")
        kl = found.pop("kl") / num_events
        return {**{name: value / num_pairs for name, value in found.items()}, "kl": kl}

    def _distributed_sums(self, batch: Any) -> tf.Tensor:
        sums = self._strategy.run(self._sums, args=(batch,))
        return self._strategy.reduce(tf.distribute.ReduceOp.SUM, sums, axis=None)

    def _sums(self, batch: Mapping[str, tf.Tensor]) -> tf.Tensor:
        """`FIGURES` of some rows, summed."""
        return self._compare(batch, self._outputs(self.model, batch), self._outputs(self._start_model, batch))

    def _gradients(self, batch: Mapping[str, tf.Tensor], num_events: tf.Tensor) -> tuple[tf.Tensor, list[tf.Tensor]]:
        variables = [variable.value for variable in self.model.trainable_variables]
        start = self._outputs(self._start_model, batch)
        with tf.GradientTape() as tape:
            sums = self._compare(batch, self._outputs(self.model, batch), start)
            pair_loss, kl = (sums[FIGURES.index(name)] for name in ("pair_loss", "kl"))
            total = tf.cast(self._events_per_pair * pair_loss + self._settings.kl_weight * kl, tf.float32)
            loss = total / num_events
        return total, [tf.convert_to_tensor(gradient) for gradient in tape.gradient(loss, variables)]

    def _outputs(self, model: NoteModel, batch: Mapping[str, tf.Tensor]) -> HeadOutputs:
        state = model.state_before(batch)
        return model(batch["previous"], batch["bins"], state, raw=batch["raw"], is_note=batch["is_note"])[0]

    def _compare(self, batch: Mapping[str, tf.Tensor], ours: HeadOutputs, start: HeadOutputs) -> tf.Tensor:
        model, beta = self.model, self._settings.beta
        gains = [
            model.field_nll(field, start, batch, self._deviations.get(field.name))
            - model.field_nll(field, ours, batch, self._deviations.get(field.name))
            for field in model.table
        ]
        is_event = tf.cast(batch["is_note"] + batch["is_end"], tf.float64)
        gain = tf.reduce_sum(tf.add_n(gains), axis=1)  # log p - log q of each piece
        margin = gain[0::2] - gain[1::2]
        is_pair = tf.cast(tf.reduce_sum(is_event, axis=1)[0::2] > 0, tf.float64)
        kl = self._end_divergence(ours, start) * is_event
        for field, gained in zip(model.table, gains, strict=True):
            kl += self._field_divergence(field, ours, start, gained) * tf.cast(batch["is_note"], tf.float64)
        by_pair = (tf.nn.softplus(-beta * margin), tf.cast(margin > 0, tf.float64), margin)
        return tf.stack(
            [
                *(tf.reduce_sum(figure * is_pair) for figure in by_pair),
                tf.reduce_sum(kl),
                tf.reduce_sum(is_pair),
                tf.reduce_sum(is_event),
            ]
        )

    @staticmethod
    def _end_divergence(ours: HeadOutputs, start: HeadOutputs) -> tf.Tensor:
        p, q = (tf.cast(outputs.end_logit, tf.float64) for outputs in (ours, start))
        ends = tf.sigmoid(p) * (tf.math.log_sigmoid(p) - tf.math.log_sigmoid(q))
        return ends + tf.sigmoid(-p) * (tf.math.log_sigmoid(-p) - tf.math.log_sigmoid(-q))

    @staticmethod
    def _field_divergence(
        field: fields.FieldSpec, ours: HeadOutputs, start: HeadOutputs, gained: tf.Tensor
    ) -> tf.Tensor:
        if field.loss != fields.CATEGORICAL:
            return 0.5 * tf.square(gained)
        p, q = (tf.nn.log_softmax(outputs.fields[field.name]) for outputs in (ours, start))
        return tf.cast(tf.reduce_sum(tf.exp(p) * (p - q), axis=-1), tf.float64)


class Score:
    """Which model is kept: the one with the lowest held-out loss that is near enough to the start.

    Without held-out pairs it is the loss of the training pairs.
    """

    def __init__(self, step: PairStep, pairs: Pairs, settings: FinetuneConfig):
        self._step, self._pairs, self._settings = step, pairs, settings

    def __call__(
        self, evaluation: Evaluation, before: Sequence[Mapping[str, Any]], between_chunks: Callable[[], None]
    ) -> tuple[float, dict[str, float]]:
        """`trainer.training.hooks.Hooks.score`."""
        figures = self._step.measure(self._pairs, between_batches=between_chunks)
        first = before[0]["validation_nll"] if before else evaluation.nll
        is_near = figures["kl"] <= self._settings.max_kl
        is_good = evaluation.nll - first <= self._settings.max_nats_lost
        return (figures["pair_loss"] if is_near and is_good else math.inf), figures
