"""Copying: every head gives the values that followed similar earlier moments more or less weight.

Music repeats itself, exactly or transposed, and an LSTM does not remember bars. The candidates are those of
`trainer.model.attention.past`. A head adds to the logit of each candidate's value a weight that depends on the
candidate's matcher and order, on which earlier fields of the note agree with it, and on the LSTM's output. The heads,
END's among them, also see how much matches. The likelihood stays exact, and a candidate that misleads gets no weight.

With `Sources.chord`, for music that was played, a copied step, duration or velocity adds to the bins around it too.
The value of the note before adds to the logits too: a new model starts from how often each value follows each other in
the training split (`trainer.training.prior`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from midi_codec import fields as fields_lib
from trainer.model.attention.echoes import NUM_SHARES
from trainer.model.attention.matches import (
    MISSING,
    NUM_DISTANCES,
    NUM_LEVELS,
)
from trainer.model.attention.past import NUM_AGES, Candidates, same_pitch
from trainer.model.attention.sources import MATCHERS, Sources
from trainer.model.recurrent.hoisted_lstm import Rounding, exact

NAME = "copying"
FIRST_WEIGHT = 0.5
FAST_RATE = 10.0
BLUR_REACH = 8  # bins
FIRST_BLUR = np.exp(-np.abs(np.arange(-BLUR_REACH, BLUR_REACH + 1)) / 2.5).astype(np.float32)
BLURRED = ("step", "duration", "velocity")


class Weights(NamedTuple):
    """The weights of a `Copying` layer, as variables or as constants.

    Attributes:
      by_field: `[num_candidates, 2 ** index]` for each field, None if its head is not categorical: by which earlier
        fields agree.
      follows: `[num_bins + 1, width]` for each such field: what its value in the note before adds to the logits.
      blur: `[2 BLUR_REACH + 1]` for step, duration and velocity with `Sources.chord`, otherwise None: what a copied
        value adds to the bins around its own.
      levels: `[num_rows, head input units and queries]`, by matcher, level and distance, then by age, then by lag and
        share.
    """

    by_field: tuple[Any, ...]
    follows: tuple[Any, ...]
    blur: tuple[Any, ...]
    levels: Any

    @classmethod
    def of(cls, find: Callable[[str], Any], table: fields_lib.FieldTable, sources: Sources) -> Weights:
        """The weights that `find` returns for their names in the layer."""
        by_field, follows = (
            tuple(find(f"{kind}_{field.name}") if field.loss == fields_lib.CATEGORICAL else None for field in table)
            for kind in ("weight", "follows")
        )
        blur = tuple(find(f"blur_{field.name}") if _is_blurred(field, sources) else None for field in table)
        return cls(by_field, follows, blur, find("levels"))

    @classmethod
    def of_bundle(cls, arrays: Mapping[str, np.ndarray], table: fields_lib.FieldTable, sources: Sources) -> Weights:
        """The weights of a bundle (`trainer.bundle.Bundle.weights`)."""
        return cls.of(lambda name: tf.constant(arrays[f"{NAME}/{name}"]), table, sources)


def _is_blurred(field: fields_lib.FieldSpec, sources: Sources) -> bool:
    return bool(sources.chord) and field.name in BLURRED and field.loss == fields_lib.CATEGORICAL


def learns_fast(path: str) -> bool:
    """Whether the weight with this path is one of those that learn at `FAST_RATE` times the rate with `Sources.chord`.

    A step of Adam moves a weight by the learning rate at most. A few hundred steps would leave the weights of copying
    near their beginning, and a long match needs them far from there.
    """
    return path.startswith(tuple(f"{NAME}/{kind}" for kind in ("weight_", "blur_", "levels")))


def num_rows(sources: Sources) -> int:
    """How many rows `Weights.levels` has."""
    matched = len(MATCHERS) * NUM_LEVELS * NUM_DISTANCES if sources.has_matches else 0
    return matched + NUM_AGES + len(sources.lags) * NUM_SHARES


def query_units(table: fields_lib.FieldTable, sources: Sources) -> int:
    """How many numbers copying takes from the LSTM's output."""
    columns = len(table) * sources.num_candidates
    return -(-columns // fields_lib.WIDTH_MULTIPLE) * fields_lib.WIDTH_MULTIPLE


def level_inputs(
    weights: Weights,
    table: fields_lib.FieldTable,
    candidates: Candidates,
    *,
    gap: int,
    operand: Rounding = exact,
) -> tf.Tensor:
    """`[rows, time, width]` to add to the head inputs: what is seen of how much matches, how far back, and how far
    the piece is.

    Args:
      weights: of the layer.
      table: the fields.
      candidates: of the events.
      gap: columns between the heads' and the queries.
      operand: what rounds the product's operands.
    """
    seen = []
    if (matched := candidates.matches) is not None:
        seen.append(tf.one_hot(matched.levels * NUM_DISTANCES + matched.distances, NUM_LEVELS * NUM_DISTANCES))
    seen.append(tf.one_hot(candidates.ages[..., None], NUM_AGES))
    if candidates.echoes is not None:
        seen.append(tf.one_hot(candidates.echoes.shares, NUM_SHARES))
    rows, time = tf.unstack(tf.shape(candidates.ages))
    flat = tf.concat([tf.reshape(each, [rows, time, each.shape[2] * each.shape[3]]) for each in seen], axis=2)
    heads = weights.levels.shape[1] - query_units(table, candidates.sources)
    levels = tf.convert_to_tensor(weights.levels)
    if gap:
        levels = tf.concat([levels[:, :heads], tf.zeros([levels.shape[0], gap]), levels[:, heads:]], axis=1)
    added = tf.cast(tf.tensordot(operand(flat), operand(levels), 1), tf.float32)
    return added if candidates.amount is None else added * candidates.amount[:, None, None]


class Copying(keras.layers.Layer):
    """The weights of the part of the note model that copies.

    Args:
      table: the fields.
      sources: what is copied.
      head_input_units: width of the head inputs without queries.
    """

    def __init__(self, table: fields_lib.FieldTable, sources: Sources, *, head_input_units: int):
        super().__init__(name=NAME)
        start = keras.initializers.Constant(FIRST_WEIGHT)
        for index, field in enumerate(table):
            if field.loss != fields_lib.CATEGORICAL:
                continue
            shape = (sources.num_candidates, 2**index)
            self.add_weight(name=f"weight_{field.name}", shape=shape, initializer=start)
            shape = (field.num_bins + 1, field.width)
            self.add_weight(name=f"follows_{field.name}", shape=shape, initializer="zeros")
            if _is_blurred(field, sources):
                self.add_weight(
                    name=f"blur_{field.name}", shape=FIRST_BLUR.shape, initializer=lambda *_, **__: FIRST_BLUR
                )
        shape = (num_rows(sources), head_input_units + query_units(table, sources))
        self.add_weight(name="levels", shape=shape, initializer="zeros")
        self._table, self._sources, self.built = table, sources, True

    @property
    def tensors(self) -> Weights:
        """The weights as they are now."""
        by_name = {weight.name: weight for weight in self.weights}
        return Weights.of(by_name.__getitem__, self._table, self._sources)


def added_logits(
    weights: Weights,
    table: fields_lib.FieldTable,
    index: int,
    candidates: Candidates,
    queries: tf.Tensor,
    bins: Sequence[tf.Tensor],
) -> tf.Tensor:
    """`[rows, time, width]` to add to the logits of the field at `index`.

    Args:
      weights: of the layer.
      table: the fields.
      index: of the field.
      candidates: of the events.
      queries: `[rows, time, num_candidates]`, the field's, from the LSTM's output.
      bins: `[rows, time]` each, of this note's fields before `index`.
    """
    found, pitch = candidates.bins, table.names.index("pitch")
    if index > pitch:
        found = tf.concat([found, same_pitch(table, candidates, bins[pitch])[:, :, None]], axis=2)
    own, count = found[..., index], found.shape[2]
    agreement = tf.zeros_like(own)
    for column, known in enumerate(bins):
        agreement += 2**column * tf.cast(found[..., column] == known[..., None], tf.int32)
    weight = tf.reshape(weights.by_field[index], [-1])
    amount = tf.gather(weight, agreement + tf.range(count) * 2**index)
    amount += queries if count == queries.shape[2] else queries[..., :count]
    if candidates.amount is not None:
        amount *= candidates.amount[:, None, None]
    width = table.fields[index].width
    sums = _sums_by_value(amount, own, width)
    last = own[:, :, candidates.sources.num_matches]
    row = tf.where(last >= 0, last, table.fields[index].num_bins)
    if weights.blur[index] is not None:
        sums = _blurred(sums, weights.blur[index])
    return sums + tf.gather(weights.follows[index], row)


def _sums_by_value(amount: tf.Tensor, value: tf.Tensor, width: int) -> tf.Tensor:
    """`[rows, time, width]`, for each value the sum of the amounts `[rows, time, count]` of those that have it."""
    if value.shape[1] == 1:  # of one event: XLA adds segments one after another
        return tf.reduce_sum(tf.where(value[..., None] == tf.range(width), amount[..., None], 0.0), axis=2)
    shape = tf.shape(value)
    event = tf.reshape(tf.range(shape[0] * shape[1]), [shape[0], shape[1], 1])
    place = tf.where(value >= 0, event * width + value, MISSING)
    sums = tf.math.unsorted_segment_sum(amount, place, shape[0] * shape[1] * width)
    return tf.reshape(sums, [shape[0], shape[1], width])


def _blurred(sums: tf.Tensor, blur: tf.Tensor) -> tf.Tensor:
    """What was played is never quite equal, so a copied value also speaks for its neighbours."""
    width = sums.shape[2]
    padded = tf.pad(sums, [[0, 0], [0, 0], [BLUR_REACH, BLUR_REACH]])
    return tf.add_n([blur[tap] * padded[:, :, tap : tap + width] for tap in range(len(FIRST_BLUR))])
