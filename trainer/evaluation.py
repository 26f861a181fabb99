"""Validation: the exact likelihood of whole pieces, the LSTM's state carried from chunk to chunk.

    nll          nats a note, END included, over the ticks of the grid; the sum of `nll_by_field`
    accuracy     of categorical heads: how often the likeliest bin is right
    error_milliseconds   of step and duration: mean distance of the prediction (an MSE head's number, or the middle of
                 the likeliest bin) from the note

An MSE head counts as a Gaussian with the variance of its residual on this split, integrated over each tick; finding
that variance takes a pass of its own.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import tensorflow as tf

from midi_codec import fields
from trainer import likelihoods
from trainer.batches import make_batch, whole_pieces
from trainer.model import HeadOutputs, NoteModel, field_losses
from trainer.pieces import Pieces
from trainer.strategy import part_of, share_out

CHUNK = 256  # events a call: a call ends soon enough for a signal to be heard


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """Figures of one model on one split; see the module's docstring for what they mean."""

    nll: float
    nll_by_field: dict[str, float]
    accuracy: dict[str, float]
    error_milliseconds: dict[str, float]
    deviations: dict[str, float]
    num_notes: int

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)


class Evaluator:
    """Evaluates a model on a split under a strategy; compiled once, used at every validation."""

    def __init__(self, model: NoteModel, strategy: tf.distribute.Strategy, *, batch_size: int):
        self._model, self._strategy, self._batch_size = model, strategy, batch_size
        self._step = tf.function(self._distributed_step, reduce_retracing=True)
        self._zero_state = tf.function(self._distributed_zero_state)

    def evaluate(self, pieces: Pieces, *, between_chunks: Callable[[], None] = lambda: None) -> Evaluation:
        """Measures the model on a split.

        Args:
          between_chunks: called between compiled calls; what it raises ends the evaluation.

        Raises:
          ValueError: the split has no note.
        """
        if not pieces.num_notes:
            raise ValueError("the split holds no note, want at least one")
        table = self._model.table
        continuous = [field.name for field in table if field.loss == fields.MSE]
        deviations = dict.fromkeys(continuous, 1.0)
        if continuous:
            sums = self._pass(pieces, deviations, between_chunks)
            deviations = {name: max((sums[f"square_{name}"] / pieces.num_notes) ** 0.5, 0.1) for name in continuous}
        sums = self._pass(pieces, deviations, between_chunks)
        per_note = {name: total / pieces.num_notes for name, total in sums.items()}
        by_field = {field.name: per_note[f"nll_{field.name}"] for field in table}
        return Evaluation(
            nll=sum(by_field.values()),
            nll_by_field=by_field,
            accuracy={f.name: per_note[f"hits_{f.name}"] for f in table if f.loss == fields.CATEGORICAL},
            error_milliseconds={f.name: per_note[f"error_{f.name}"] for f in table if f.kind == fields.TIME},
            deviations=deviations,
            num_notes=pieces.num_notes,
        )

    def _pass(
        self, pieces: Pieces, deviations: Mapping[str, float], between_chunks: Callable[[], None]
    ) -> dict[str, float]:
        model, strategy = self._model, self._strategy
        spread = {name: tf.constant(value, tf.float64) for name, value in deviations.items()}
        totals: dict[str, float] = {}
        for chunks in whole_pieces(pieces.num_events, chunk=CHUNK, batch_size=self._batch_size):
            state = self._zero_state()
            for windows in chunks:
                batch = make_batch(
                    pieces,
                    windows,
                    table=model.table,
                    batch_size=self._batch_size,
                    start_bins=model.start_bins,
                    part=part_of(strategy),
                )
                sums, state = self._step(share_out(batch, strategy), state, spread)
                for name, value in sums.items():
                    totals[name] = totals.get(name, 0.0) + float(value)
                between_chunks()
        return totals

    def _distributed_zero_state(self):
        rows = self._batch_size // self._strategy.num_replicas_in_sync
        return self._strategy.run(self._model.zero_state, args=(rows,))

    def _distributed_step(self, batch, state, deviations):
        sums, state = self._strategy.run(self._replica_step, args=(batch, state, deviations))
        reduced = {
            name: self._strategy.reduce(tf.distribute.ReduceOp.SUM, value, axis=None) for name, value in sums.items()
        }
        return reduced, state

    def _replica_step(self, batch, state, deviations):
        outputs, state = self._model(batch["previous"], batch["bins"], state)
        return batch_sums(self._model.table, outputs, batch, deviations), state


def batch_sums(
    table: fields.FieldTable,
    outputs: HeadOutputs,
    batch: Mapping[str, tf.Tensor],
    deviations: Mapping[str, tf.Tensor],
) -> dict[str, tf.Tensor]:
    """Sums over a batch, float64: `nll_`, and `hits_`, `error_`, `square_` where they apply, a field."""
    losses = field_losses(table, outputs, batch)
    is_note = tf.cast(batch["is_note"], tf.float64)
    sums = {}
    for index, field in enumerate(table):
        output, raw = outputs.fields[field.name], tf.cast(batch["raw"][..., index], tf.float64)
        nll = tf.cast(losses[field.name], tf.float64)
        if field.loss == fields.MSE:
            nll = likelihoods.gaussian_tick_nll(raw, output, deviations[field.name]) * is_note
            guess = tf.cast(output, tf.float64)
            sums[f"square_{field.name}"] = tf.reduce_sum(tf.square(guess - raw) * is_note)
        else:
            likeliest = tf.argmax(output, axis=-1, output_type=tf.int32)
            hits = tf.cast(likeliest == batch["bins"][..., index], tf.float64)
            sums[f"hits_{field.name}"] = tf.reduce_sum(hits * is_note)
            guess = tf.gather(_middles(field), likeliest)
        if field.kind == fields.TIME:
            scale = tf.cast(batch["milliseconds_per_tick"], tf.float64)[:, None]
            sums[f"error_{field.name}"] = tf.reduce_sum(tf.abs(guess - raw) * scale * is_note)
        sums[f"nll_{field.name}"] = tf.reduce_sum(nll)
    return sums


def _middles(field: fields.FieldSpec) -> tf.Tensor:
    """`[num_bins]` float64, the middle value of each bin."""
    return tf.constant(field.lows + (field.spans - 1) / 2, tf.float64)
