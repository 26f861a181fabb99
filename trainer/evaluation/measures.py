"""What an evaluation measures at each position of a batch, in the graph.

    nll_FIELD      nats over the ticks of the grid; END's cost is in `nll_pitch`
    hits_FIELD     1 where the likeliest bin of a categorical head is the note's
    topK_FIELD     1 where the note's bin is among the K likeliest
    error_FIELD    of step and duration: milliseconds between the head's best guess and the note
    square_FIELD   of an MSE head: squared residual in ticks

All are `[rows, time]` float64, and 0 where there is no note (`nll_pitch`: where there is no event).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import tensorflow as tf

from midi_codec import fields
from trainer.model.heads import HeadOutputs
from trainer.model.note_model import NoteModel

TOP = (1, 3, 5)


def measure_names(table: fields.FieldTable, *, top: Sequence[int] = ()) -> list[str]:
    """The measures of a table's heads, in a fixed order."""
    names = []
    for field in table:
        names.append(f"nll_{field.name}")
        if field.loss == fields.CATEGORICAL:
            names += [f"top{k}_{field.name}" for k in top] or [f"hits_{field.name}"]
        if field.loss == fields.MSE:
            names.append(f"square_{field.name}")
        if field.kind == fields.TIME:
            names.append(f"error_{field.name}")
    return names


def measure(
    model: NoteModel,
    outputs: HeadOutputs,
    batch: Mapping[str, tf.Tensor],
    deviations: Mapping[str, tf.Tensor],
    *,
    top: Sequence[int] = (),
) -> list[tf.Tensor]:
    """The measures of `measure_names(table, top=top)`, each `[rows, time]` float64.

    Args:
      model: its table and likelihoods are used.
      outputs: of the model for the batch.
      batch: `trainer.data.batches.Batch.as_dict`.
      deviations: of each MSE head, the standard deviation of its residual in ticks.
      top: the values of K for `topK`; if there are any, they replace `hits`.
    """
    is_note = tf.cast(batch["is_note"], tf.float64)
    measures = []
    for index, field in enumerate(model.table):
        output, raw = outputs.fields[field.name], tf.cast(batch["raw"][..., index], tf.float64)
        measures.append(model.field_nll(field, outputs, batch, deviations.get(field.name)))
        if field.loss == fields.CATEGORICAL:
            measures += [tf.cast(hit, tf.float64) * is_note for hit in _hits(output, batch["bins"][..., index], top)]
        if field.kind == fields.TIME:
            miss = model.point_guess(field, outputs) - raw
            if field.loss == fields.MSE:
                measures.append(tf.square(miss) * is_note)
            scale = tf.cast(batch["milliseconds_per_tick"], tf.float64)[:, None]
            measures.append(tf.abs(miss) * scale * is_note)
    return measures


def _hits(logits: tf.Tensor, bins: tf.Tensor, top: Sequence[int]) -> list[tf.Tensor]:
    """`[...]` bool for each K of `top`; if `top` is empty, whether the likeliest bin is right."""
    if not top:
        return [tf.argmax(logits, axis=-1, output_type=tf.int32) == bins]
    ranks = rank(logits, bins)
    return [ranks < k for k in top]


def rank(logits: tf.Tensor, bins: tf.Tensor) -> tf.Tensor:
    """`[...]` int32, the rank of the note's bin by likelihood, from 0; among equal bins the first ranks first."""
    own = tf.gather(logits, bins, batch_dims=bins.shape.rank)[..., None]
    before = tf.range(tf.shape(logits)[-1]) < bins[..., None]
    return tf.math.count_nonzero((logits > own) | ((logits == own) & before), axis=-1, dtype=tf.int32)
