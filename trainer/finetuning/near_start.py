"""What the steps of both objectives share: the model beside the one that the run started from.

Log-likelihoods are exact and of whole pieces: all fields of every note, and END where the piece ended by itself. The
divergence KL(p || q) of the model from the start, given the notes before, is exact for END and for categorical fields
given the note's fields before; for other fields it is half the squared log ratio. Nothing is dropped out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from midi_codec import fields
from trainer import bundle as bundle_lib
from trainer.bundle import Bundle
from trainer.config import TrainConfig
from trainer.data.batches import Batch, Part, Windows, make_batch
from trainer.data.pieces import Pieces
from trainer.distribution.strategy import batch_signature, share_out
from trainer.model.heads import HeadOutputs, end_cost
from trainer.model.note_model import NoteModel
from trainer.training.train_step import TrainStep


def batch_of_whole(pieces: Pieces, windows: Windows, model: NoteModel, part: Part) -> Batch:
    """Whole pieces as rows, as they are; the last rows are empty where they do not fill the replicas."""
    return make_batch(
        pieces,
        windows,
        table=model.table,
        batch_size=-(-len(windows) // part.replicas) * part.replicas,
        start_bins=model.start_bins,
        memory=model.memory,
        part=part,
    )


class Comparison(NamedTuple):
    """The model beside the start at each event, `[rows, time]` float64.

    Attributes:
      gain: log p - log q of what the event is.
      end_gain: the part of it that is END's: that it was drawn, or was not.
      kl: the divergence.
      is_event: 1 where there is a note or END, otherwise 0, and so are the others.
    """

    gain: tf.Tensor
    end_gain: tf.Tensor
    kl: tf.Tensor
    is_event: tf.Tensor


class NearStartStep(TrainStep):
    """A `TrainStep` that knows the start.

    Args:
      config: the settings of the loop.
      start: the bundle that the run starts from.
      strategy: of the run.
    """

    def __init__(self, config: TrainConfig, start: Bundle, strategy: tf.distribute.Strategy):
        super().__init__(config, start.fields, strategy)
        with strategy.scope():
            self._start_model = NoteModel(config.model, start.fields, precision=config.precision)
        for model in (self.model, self._start_model):
            bundle_lib.set_weights(model, start.weights)
        self._deviations = start.deviations
        self._measure: Any = None

    def sums(self, batches: Iterable[Batch], *, between_batches: Callable[[], None]) -> np.ndarray:
        """`_sums` of some batches, added up over all replicas.

        Args:
          between_batches: called between compiled calls; what it raises ends the measurement.
        """
        total: Any = 0.0
        for batch in batches:
            shared = share_out(batch, self._strategy)
            if self._measure is None:
                self._measure = tf.function(
                    self._distributed_sums, input_signature=[batch_signature(shared)], autograph=False
                )
            total = total + self._measure(shared).numpy()
            between_batches()
        return np.asarray(total)

    def _distributed_sums(self, batch: Any) -> tf.Tensor:
        sums = self._strategy.run(self._sums_of_batch, args=(batch,))
        return self._strategy.reduce(tf.distribute.ReduceOp.SUM, sums, axis=None)

    def _sums_of_batch(self, batch: Mapping[str, tf.Tensor]) -> tf.Tensor:
        return self._sums(batch, self._compare(batch, self._outputs(self._start_model, batch)))

    def _gradients(self, batch: Mapping[str, tf.Tensor], num_events: tf.Tensor) -> tuple[tf.Tensor, list[tf.Tensor]]:
        variables = [variable.value for variable in self.model.trainable_variables]
        start = self._outputs(self._start_model, batch)
        with tf.GradientTape() as tape:
            total = tf.cast(self._loss(batch, self._compare(batch, start)), tf.float32)
            loss = total / num_events
        return total, [tf.convert_to_tensor(gradient) for gradient in tape.gradient(loss, variables)]

    def _sums(self, batch: Mapping[str, tf.Tensor], compared: Comparison) -> tf.Tensor:
        """`[figures]` float64 of some rows, summed."""
        raise NotImplementedError

    def _loss(self, batch: Mapping[str, tf.Tensor], compared: Comparison) -> tf.Tensor:
        """The loss of some rows, summed over their events."""
        raise NotImplementedError

    def _outputs(self, model: NoteModel, batch: Mapping[str, tf.Tensor]) -> HeadOutputs:
        state = model.state_before(batch)
        return model(batch["previous"], batch["bins"], state, raw=batch["raw"], is_note=batch["is_note"])[0]

    def _compare(self, batch: Mapping[str, tf.Tensor], start: HeadOutputs) -> Comparison:
        model, ours = self.model, self._outputs(self.model, batch)
        gains = [
            model.field_nll(field, start, batch, self._deviations.get(field.name))
            - model.field_nll(field, ours, batch, self._deviations.get(field.name))
            for field in model.table
        ]
        is_event = tf.cast(batch["is_note"] + batch["is_end"], tf.float64)
        kl = _end_divergence(ours, start) * is_event
        for field, gain in zip(model.table, gains, strict=True):
            kl += _field_divergence(field, ours, start, gain) * tf.cast(batch["is_note"], tf.float64)
        ended, would_end = (end_cost(tf.cast(each.end_logit, tf.float64), batch) for each in (ours, start))
        return Comparison(tf.add_n(gains), would_end - ended, kl, is_event)


def _end_divergence(ours: HeadOutputs, start: HeadOutputs) -> tf.Tensor:
    p, q = (tf.cast(outputs.end_logit, tf.float64) for outputs in (ours, start))
    ends = tf.sigmoid(p) * (tf.math.log_sigmoid(p) - tf.math.log_sigmoid(q))
    return ends + tf.sigmoid(-p) * (tf.math.log_sigmoid(-p) - tf.math.log_sigmoid(-q))


def _field_divergence(field: fields.FieldSpec, ours: HeadOutputs, start: HeadOutputs, gain: tf.Tensor) -> tf.Tensor:
    if field.loss != fields.CATEGORICAL:
        return 0.5 * tf.square(gain)
    p, q = (tf.nn.log_softmax(outputs.fields[field.name]) for outputs in (ours, start))
    return tf.cast(tf.reduce_sum(tf.exp(p) * (p - q), axis=-1), tf.float64)
