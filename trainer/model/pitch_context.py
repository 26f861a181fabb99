"""The weights that read the notes so far (`trainer.model.context`): an input of the LSTM, and a score per pitch.

    first[p] = relu(conv(channels)[p] + conv(chord)[p] + own[p] + phase + size of the chord + h's first part)
    hidden[p] = first[p] + relu(kernel first[p] + h's second part)
    score of pitch p = hidden[p] . (weights + h's third part)

`conv` sees the pitches up to `REACH` semitones away, `own` tells pitches apart, and `phase` says where in each of the
given periods (a beat, a bar ...) the note begins, counted from the start of the piece. The size of the chord is the
number of its notes that are already there.

The functions take the weights as they are: the model's variables, or a bundle's arrays in the decoder.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from midi_codec import fields as fields_lib
from trainer.model import context
from trainer.model.recurrent.hoisted_lstm import Rounding, exact, operand_rounding

NAME = "context"  # of the layer: the prefix of its weights' names in a bundle
LEAST_SCORE = -20.0  # of an empty zone
CHORD_SIZES = context.CHORD + 1
BLOCK = 8  # neighbouring pitches of one product in `convolution_blocks`; divides PITCHES and 2 REACH
ZONES = 2  # above a note: near, and further up
ZONE_PADDING = 16 - ZONES


class PitchScores(NamedTuple):
    """How every pitch is scored at each event.

    Attributes:
      surroundings: what the scores are based on.
      hidden: `[rows, time, PITCHES, units]`.
      scores: `[rows, time, PITCHES]`, added to the logits of the note's pitch.
    """

    surroundings: context.Surroundings
    hidden: tf.Tensor
    scores: tf.Tensor


class NotesSoFar(NamedTuple):
    """The context's part of a state.

    Attributes:
      memory: the last notes.
      around: `[rows, around_size]` float32, what was around the last of them when it was scored.
      chord_size: `[rows]` int32, how many notes of its chord were already there then.
      above: `[rows, above_size]` float32, what was above it then.
    """

    memory: context.Memory
    around: tf.Tensor
    chord_size: tf.Tensor
    above: tf.Tensor

    @property
    def now(self) -> tf.Tensor:
        """`[rows, 1]` int32, the onset of the last note; 0 before there is one."""
        return tf.maximum(self.memory.onset[:, -1:], 0)


class Weights(NamedTuple):
    """The layer's weights as variables, tensors or arrays; `input_units` is the width of the LSTM's input.

    Attributes:
      input_kernel: `[around_size, input_units]`.
      input_chord: `[CHORD_SIZES, input_units]`.
      input_phases: `[period, input_units]` each.
      conv_kernel: `[2 REACH + 1, channels, units]`.
      chord_kernel: `[2 REACH + 1, 1, units]`.
      second_kernel, second_bias: `[units, units]`, `[units]`.
      own: `[PITCHES, units]`.
      chord: `[CHORD_SIZES, units]`.
      phases: `[period, units]` each.
      output_weights: `[units]`.
      above_kernel: `[above_size, width]`, its product is added to the head inputs.
      blocks: `convolution_blocks` of channels and chord side by side, where weights no longer change, or None.
    """

    input_kernel: Any
    input_chord: Any
    input_phases: tuple[Any, ...]
    conv_kernel: Any
    chord_kernel: Any
    second_kernel: Any
    second_bias: Any
    own: Any
    chord: Any
    phases: tuple[Any, ...]
    output_weights: Any
    above_kernel: Any
    blocks: Any = None

    @classmethod
    def of(cls, find: Callable[[str], Any], periods: tuple[int, ...]) -> Weights:
        """The weights that `find` returns for their names in the layer."""
        single = {name: find(name) for name in cls._fields if not name.endswith("phases") and name != "blocks"}
        phases = {f"{name}s": tuple(find(f"{name}_{p}") for p in periods) for name in ("input_phase", "phase")}
        return cls(**single, **phases)

    @classmethod
    def of_bundle(cls, arrays: Mapping[str, np.ndarray], periods: tuple[int, ...]) -> Weights:
        """The weights of a bundle (`trainer.bundle.Bundle.weights`)."""
        weights = cls.of(lambda name: tf.constant(arrays[f"{NAME}/{name}"]), periods)
        both = tf.concat([weights.conv_kernel, weights.chord_kernel], axis=1)
        return weights._replace(blocks=convolution_blocks(both))


def convolution_blocks(kernel: tf.Tensor) -> tf.Tensor:
    """The convolution's kernel `[2 REACH + 1, channels, units]` as a product's, for a few neighbouring pitches at once.

    Returns:
      `[(BLOCK + 2 REACH) channels, BLOCK units]`.
    """
    taps, channels, units = kernel.shape
    shifted = [tf.pad(kernel, [[pitch, BLOCK - 1 - pitch], [0, 0], [0, 0]]) for pitch in range(BLOCK)]
    return tf.reshape(tf.stack(shifted, axis=2), [(BLOCK + taps - 1) * channels, BLOCK * units])


def above_size(units: int) -> int:
    """How many numbers `above` returns."""
    return ZONES * units + ZONES + ZONE_PADDING


def nothing_so_far(rows: int | tf.Tensor, *, notes: int, lags: tuple[int, ...], units: int) -> NotesSoFar:
    """The state of pieces that have not begun.

    Args:
      rows: number of pieces.
      notes: length of the memory.
      lags: in ticks.
      units: hidden channels of a pitch.
    """
    return NotesSoFar(
        context.empty_memory(rows, notes),
        tf.zeros([rows, context.around_size(lags)]),
        tf.zeros([rows], tf.int32),
        tf.zeros([rows, above_size(units)]),
    )


def remember(so_far: NotesSoFar, table: fields_lib.FieldTable, raw: tf.Tensor, scores: PitchScores) -> NotesSoFar:
    """What is known after one more note.

    Args:
      so_far: before it.
      table: the fields.
      raw: `[rows, num_fields]` int32, the note's values.
      scores: those of the note's event.
    """
    notes = context.remember(so_far.memory, table, raw[:, None], tf.ones([tf.shape(raw)[0], 1]))
    memory = context.newest(notes, so_far.memory.pitch.shape[1])
    pitch = memory.pitch[:, -1:]
    around = context.around(scores.surroundings, pitch)
    return NotesSoFar(memory, around[:, 0], scores.surroundings.chord_size[:, 0], above(scores, pitch)[:, 0])


def inputs(
    weights: Weights, seen: tf.Tensor, onset: tf.Tensor, chord_size: tf.Tensor, operand: Rounding = exact
) -> tf.Tensor:
    """`[rows, time, input_units]`, what the LSTM sees of the notes so far.

    Args:
      weights: of the layer.
      seen: `[rows, time, around_size]`, what was around the note before when it was scored.
      onset, chord_size: `[rows, time]` int32, of the note before.
      operand: what rounds the product's operands.
    """
    product = tf.tensordot(operand(seen), operand(tf.convert_to_tensor(weights.input_kernel)), 1)
    return tf.cast(product, tf.float32) + _position(weights.input_chord, weights.input_phases, onset, chord_size)


def score_pitches(
    weights: Weights,
    surroundings: context.Surroundings,
    onset: tf.Tensor,
    query: tf.Tensor,
    keep: tf.Tensor | None = None,
    operand: Rounding = exact,
) -> PitchScores:
    """Scores every pitch at each event.

    Args:
      weights: of the layer.
      surroundings: of the events.
      onset: `[rows, time]` int32, ticks since the piece began.
      query: `[rows, time, 3 units]`, from the LSTM's output.
      keep: `[rows, units]`, the hidden units' dropout mask, or None.
      operand: what rounds the operands of the convolutions.
    """
    rows, time, units = tf.shape(onset)[0], tf.shape(onset)[1], weights.own.shape[1]
    events = rows * time
    first_query, second_query, output_query = tf.split(query, 3, axis=-1)

    position = first_query + _position(weights.chord, weights.phases, onset, surroundings.chord_size)
    convolved = _convolutions(weights, surroundings, onset, operand)
    first = tf.nn.relu(convolved + tf.reshape(position, [events, 1, units]))

    output, second_kernel = output_query + weights.output_weights, tf.convert_to_tensor(weights.second_kernel)
    if keep is None:
        second = tf.tensordot(first, second_kernel, 1)
    else:  # a row's kernel without the units that are dropped: they need no mask of their own
        output *= keep[:, None, :]
        by_row = tf.reshape(first, [rows, time * context.PITCHES, units])
        second = tf.reshape(tf.matmul(by_row, keep[:, :, None] * second_kernel), tf.shape(first))
    second_query += weights.second_bias
    hidden = first + tf.nn.relu(second + tf.reshape(second_query, [events, 1, units]))

    scores = tf.matmul(hidden, tf.reshape(output, [events, units, 1]))
    hidden = tf.reshape(hidden, [rows, time, context.PITCHES, units])
    return PitchScores(surroundings, hidden, tf.reshape(scores, [rows, time, context.PITCHES]))


def _convolutions(
    weights: Weights, surroundings: context.Surroundings, onset: tf.Tensor, operand: Rounding
) -> tf.Tensor:
    """`[rows * time, PITCHES, units]`, both convolutions at every event; that of the channels once per moment."""
    channels, chord = surroundings.channels, surroundings.chord[..., None]
    units = weights.own.shape[1]
    if weights.blocks is not None and onset.shape[1] == 1:
        both = tf.concat([channels[:, 0], chord[:, 0]], axis=2)
        return _convolve(operand(both), operand(weights.blocks), units) + weights.own
    rows, moments = tf.shape(onset)[0], tf.shape(channels)[1]
    events = rows * tf.shape(onset)[1]
    conv_blocks, chord_blocks = (
        operand(convolution_blocks(tf.convert_to_tensor(kernel)))
        for kernel in (weights.conv_kernel, weights.chord_kernel)
    )
    by_moment = tf.reshape(channels, [rows * moments, context.PITCHES, channels.shape[3]])
    by_moment = _convolve(operand(by_moment), conv_blocks, units) + weights.own
    index = tf.reshape(surroundings.moment + tf.range(rows)[:, None] * moments, [events])
    chord = operand(tf.reshape(chord, [events, context.PITCHES, 1]))
    return tf.gather(by_moment, index) + _convolve(chord, chord_blocks, units)


def above(scores: PitchScores, pitch: tf.Tensor) -> tf.Tensor:
    """`[rows, time, above_size]`, what was above each note when it was scored: near, and further up.

    Args:
      scores: of the events.
      pitch: `[rows, time]` int32, of their notes.
    """
    rows, time, units = tf.shape(pitch)[0], tf.shape(pitch)[1], scores.hidden.shape[3]
    higher = tf.range(context.LOWEST, context.LOWEST + context.PITCHES) - pitch[..., None]
    zones = tf.stack([(higher > 0) & (higher <= context.REACH), higher > context.REACH], axis=2)
    pooled = tf.math.log1p(tf.matmul(tf.cast(zones, tf.float32), scores.hidden))
    mass = tf.reduce_logsumexp(tf.where(zones, scores.scores[:, :, None], LEAST_SCORE), axis=3)
    mass -= tf.reduce_logsumexp(scores.scores, axis=2, keepdims=True)
    flat = tf.reshape(pooled, [rows, time, ZONES * units])
    return tf.concat([flat, tf.pad(mass, [[0, 0], [0, 0], [0, ZONE_PADDING]])], axis=2)


def _convolve(x: tf.Tensor, blocks: tf.Tensor, units: int) -> tf.Tensor:
    """`[n, PITCHES, units]` float32, the convolution of `[n, PITCHES, channels]` along the pitch axis.

    One product of overlapping blocks of pitches: on a CPU faster than TensorFlow's convolution and its gradient, for a
    decoder's few rows too.
    """
    size, channels = BLOCK + 2 * context.REACH, x.shape[2]
    x = tf.pad(x, [[0, 0], [context.REACH, context.REACH], [0, 0]])
    by_block = tf.reshape(x, [tf.shape(x)[0], x.shape[1] // BLOCK, BLOCK * channels])
    num_blocks = context.PITCHES // BLOCK
    neighbours = [by_block[:, first : first + num_blocks] for first in range(size // BLOCK)]
    product = tf.matmul(tf.reshape(tf.concat(neighbours, axis=2), [-1, size * channels]), blocks)
    return tf.cast(tf.reshape(product, [-1, context.PITCHES, units]), tf.float32)


def _position(chord: Any, phases: Sequence[Any], onset: tf.Tensor, chord_size: tf.Tensor) -> tf.Tensor:
    """The position within the chord and within every period, embedded."""
    rows = [tf.gather(chord, tf.minimum(chord_size, CHORD_SIZES - 1))]
    rows += [tf.gather(table, onset % table.shape[0]) for table in phases]
    return tf.add_n(rows)


class PitchContext(keras.layers.Layer):
    """The part of the note model that scores pitches in context.

    Args:
      units: hidden channels of a pitch, a multiple of 16.
      input_units: width of the LSTM's input.
      head_input_units: width of the head inputs without the context's query.
      lags, periods: in ticks.
      precision: "float32", or "bfloat16" for the operands of the large products.
    """

    def __init__(
        self,
        units: int,
        *,
        input_units: int,
        head_input_units: int,
        lags: tuple[int, ...],
        periods: tuple[int, ...],
        precision: str,
    ):
        super().__init__(name=NAME)
        self.units, self._periods, self._operand = units, periods, operand_rounding(precision)
        channels = context.num_channels(lags)
        around = context.around_size(lags)
        normal = keras.initializers.RandomNormal(stddev=0.05)
        add = self.add_weight
        self.input_kernel = add(name="input_kernel", shape=(around, input_units), initializer=normal)
        self.conv_kernel = add(name="conv_kernel", shape=(2 * context.REACH + 1, channels, units), initializer=normal)
        self.chord_kernel = add(name="chord_kernel", shape=(2 * context.REACH + 1, 1, units), initializer=normal)
        self.second_kernel = add(name="second_kernel", shape=(units, units), initializer=normal)
        self.second_bias = add(name="second_bias", shape=(units,), initializer="zeros")
        self.own = add(name="own", shape=(context.PITCHES, units), initializer="zeros")
        self.output_weights = add(name="output_weights", shape=(units,), initializer=normal)
        self.above_kernel = add(name="above_kernel", shape=(above_size(units), head_input_units), initializer=normal)
        self.input_chord = add(name="input_chord", shape=(CHORD_SIZES, input_units), initializer=normal)
        self.chord = add(name="chord", shape=(CHORD_SIZES, units), initializer=normal)
        self.input_phase = [add(name=f"input_phase_{p}", shape=(p, input_units), initializer=normal) for p in periods]
        self.phase = [add(name=f"phase_{p}", shape=(p, units), initializer=normal) for p in periods]
        self.built = True

    @property
    def query_units(self) -> int:
        """Width of the query that `call` takes from the LSTM's output."""
        return 3 * self.units

    @property
    def tensors(self) -> Weights:
        """The weights as they are now."""
        by_name = {weight.name: weight for weight in self.weights}
        return Weights.of(by_name.__getitem__, self._periods)

    def inputs(self, seen: tf.Tensor, onset: tf.Tensor, chord_size: tf.Tensor) -> tf.Tensor:
        """`inputs` with these weights."""
        return inputs(self.tensors, seen, onset, chord_size, self._operand)

    def call(
        self,
        surroundings: context.Surroundings,
        onset: tf.Tensor,
        query: tf.Tensor,
        keep: tf.Tensor | None = None,
    ) -> PitchScores:
        """`score_pitches` with these weights."""
        return score_pitches(self.tensors, surroundings, onset, query, keep, self._operand)
