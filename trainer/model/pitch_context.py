"""The weights that read the notes so far (`trainer.model.context`): an input of the LSTM, and a score a pitch.

    first[p] = relu(conv(channels)[p] + conv(chord)[p] + own[p] + phase + size of the chord + h's first part)
    hidden[p] = first[p] + relu(kernel first[p] + h's second part)
    score of pitch p = hidden[p] . (weights + h's third part)

`conv` sees the pitches up to `REACH` semitones away, `own` tells pitches apart, and `phase` says where
in each of the given periods (a beat, a bar ...) the note begins, counted from the start of the piece, and how many
notes of its chord are there already.

The functions take the weights as they are: the model's variables, or a bundle's arrays in the decoder.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from midi_codec import fields as fields_lib
from trainer.model import context

NAME = "context"  # the layer's, before the names of its weights in a bundle
LEAST_SCORE = -20.0  # of an empty zone
CHORD_SIZES = context.CHORD + 1
BLOCK = 8  # neighbouring pitches of one product in `convolution_blocks`; divides PITCHES
ZONES = 2  # above a note: near, and farther up
ZONE_PADDING = 16 - ZONES


class Sight(NamedTuple):
    """How the pitches look to events.

    Attributes:
      found: of the notes so far.
      hidden: `[rows, time, PITCHES, units]`.
      scores: `[rows, time, PITCHES]`, what adds to the logits of a note's pitch.
    """

    found: context.Surroundings
    hidden: tf.Tensor
    scores: tf.Tensor


class NotesSoFar(NamedTuple):
    """A context's part of a state.

    Attributes:
      memory: the last notes.
      around: `[rows, around_size]` float32, what lay around the last of them when it was scored.
      chord_size: `[rows]` int32, how many notes of its chord were there then.
      above: `[rows, above_size]` float32, what lay above it then.
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
    """Variables, tensors or arrays; `input_units` is the width of the LSTM's input.

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
      above_kernel: `[above_size, width]`, of the heads' hidden layers.
      blocks: `convolution_blocks`, or None: of arrays that do not change any more.
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
        """The weights that `find` gives for their names in the layer."""
        single = {name: find(name) for name in cls._fields if not name.endswith("phases") and name != "blocks"}
        told = {f"{name}s": tuple(find(f"{name}_{p}") for p in periods) for name in ("input_phase", "phase")}
        return cls(**single, **told)

    @classmethod
    def of_bundle(cls, arrays: Mapping[str, np.ndarray], periods: tuple[int, ...]) -> Weights:
        """The weights of a bundle (`trainer.bundle.Bundle.weights`)."""
        weights = cls.of(lambda name: tf.constant(arrays[f"{NAME}/{name}"]), periods)
        kernels = (arrays[f"{NAME}/{name}"] for name in ("conv_kernel", "chord_kernel"))
        return weights._replace(blocks=tf.constant(convolution_blocks(*kernels)))


def convolution_blocks(conv_kernel: np.ndarray, chord_kernel: np.ndarray) -> np.ndarray:
    """Both convolutions of a few neighbouring pitches as one product; a decoder's few rows are faster so.

    Returns:
      `[(BLOCK + 2 REACH) (channels + 1), BLOCK units]`, of channels and chord beside each other.
    """
    kernel = np.concatenate([conv_kernel, chord_kernel], axis=1)  # [taps, channels + 1, units]
    taps, channels, units = kernel.shape
    blocks = np.zeros((BLOCK + taps - 1, channels, BLOCK, units), np.float32)
    for pitch in range(BLOCK):
        blocks[pitch : pitch + taps, :, pitch] = kernel
    return blocks.reshape(-1, BLOCK * units)


def above_size(units: int) -> int:
    """How many numbers `above` gives."""
    return ZONES * units + ZONES + ZONE_PADDING


def nothing_so_far(rows: int | tf.Tensor, *, notes: int, lags: tuple[int, ...], units: int) -> NotesSoFar:
    """That of pieces that have not begun.

    Args:
      rows: how many.
      notes: of the memory.
      lags: in ticks.
      units: hidden channels of a pitch.
    """
    return NotesSoFar(
        context.empty_memory(rows, notes),
        tf.zeros([rows, context.around_size(lags)]),
        tf.zeros([rows], tf.int32),
        tf.zeros([rows, above_size(units)]),
    )


def remember(so_far: NotesSoFar, table: fields_lib.FieldTable, raw: tf.Tensor, sight: Sight) -> NotesSoFar:
    """What is known after one more note.

    Args:
      so_far: before it.
      table: the fields.
      raw: `[rows, num_fields]` int32, the note's values.
      sight: what it saw, of one event.
    """
    notes = context.remember(so_far.memory, table, raw[:, None], tf.ones([tf.shape(raw)[0], 1]))
    memory = context.newest(notes, so_far.memory.pitch.shape[1])
    pitch = memory.pitch[:, -1:]
    around = context.around(sight.found, pitch)
    return NotesSoFar(memory, around[:, 0], sight.found.chord_size[:, 0], above(sight, pitch)[:, 0])


def inputs(weights: Weights, seen: tf.Tensor, onset: tf.Tensor, chord_size: tf.Tensor) -> tf.Tensor:
    """`[rows, time, input_units]`, what the LSTM sees of the notes so far.

    Args:
      weights: of the layer.
      seen: `[rows, time, around_size]`, what lay around the note before when it was scored.
      onset, chord_size: `[rows, time]` int32 of the note before.
    """
    product = tf.tensordot(seen, weights.input_kernel, 1)
    return product + _told(weights.input_chord, weights.input_phases, onset, chord_size)


def look(weights: Weights, found: context.Surroundings, onset, query, keep=None) -> Sight:
    """Scores every pitch.

    Args:
      weights: of the layer.
      found: of the notes so far.
      onset: `[rows, time]` int32, ticks since the piece began.
      query: `[rows, time, 3 units]`, from the LSTM's output.
      keep: `[rows, units]`, the hidden units' dropout mask, or None.
    """
    rows, time, units = tf.shape(onset)[0], tf.shape(onset)[1], weights.own.shape[1]
    events, moments = rows * time, tf.shape(found.channels)[1]
    told = query[..., :units] + _told(weights.chord, weights.phases, onset, found.chord_size)
    if weights.blocks is not None and onset.shape[1] == 1:
        first = _convolve_blocks(tf.concat([found.channels[:, 0], found.chord[:, 0, :, None]], axis=2), weights)
    else:
        channels = tf.reshape(found.channels, [rows * moments, context.PITCHES, found.channels.shape[3]])
        of_moment = _convolve(channels, weights.conv_kernel) + weights.own
        place = tf.reshape(found.moment + tf.range(rows)[:, None] * moments, [events])
        chord = tf.reshape(found.chord, [events, context.PITCHES, 1])
        first = tf.gather(of_moment, place) + _convolve(chord, weights.chord_kernel)
    first = tf.nn.relu(first + tf.reshape(told, [events, 1, units]))
    asked = tf.reshape(query[..., units : 2 * units], [events, 1, units])
    output, passed = query[..., 2 * units :] + weights.output_weights, first
    if keep is not None:
        output *= keep[:, None, :]
        passed *= tf.reshape(tf.repeat(keep, time, axis=0), [events, 1, units])
    hidden = first + tf.nn.relu(tf.tensordot(passed, weights.second_kernel, 1) + weights.second_bias + asked)
    scores = tf.matmul(hidden, tf.reshape(output, [events, units, 1]))
    hidden = tf.reshape(hidden, [rows, time, context.PITCHES, units])
    return Sight(found, hidden, tf.reshape(scores, [rows, time, context.PITCHES]))


def above(sight: Sight, pitch: tf.Tensor) -> tf.Tensor:
    """`[rows, time, above_size]`, what lay above each note when it was scored: near, and farther up.

    Args:
      sight: of the events.
      pitch: `[rows, time]` int32, of their notes.
    """
    rows, time, units = tf.shape(pitch)[0], tf.shape(pitch)[1], sight.hidden.shape[3]
    higher = tf.range(context.LOWEST, context.LOWEST + context.PITCHES) - pitch[..., None]
    zones = tf.stack([(higher > 0) & (higher <= context.REACH), higher > context.REACH], axis=2)
    pooled = tf.math.log1p(tf.matmul(tf.cast(zones, tf.float32), sight.hidden))
    mass = tf.reduce_logsumexp(tf.where(zones, sight.scores[:, :, None], LEAST_SCORE), axis=3)
    mass -= tf.reduce_logsumexp(sight.scores, axis=2, keepdims=True)
    flat = tf.reshape(pooled, [rows, time, ZONES * units])
    return tf.concat([flat, tf.pad(mass, [[0, 0], [0, 0], [0, ZONE_PADDING]])], axis=2)


def _convolve(x: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
    """Along the pitch axis, `[n, PITCHES, units]`.

    TensorFlow gives back its input where n is 0, as it is for the first part of a batch of one row: a row is added.
    """
    return tf.nn.conv1d(tf.pad(x, [[0, 1], [0, 0], [0, 0]]), kernel, 1, "SAME")[:-1]


def _convolve_blocks(x: tf.Tensor, weights: Weights) -> tf.Tensor:
    """`[rows, PITCHES, units]` of channels and chord `[rows, PITCHES, channels + 1]`, by `Weights.blocks`."""
    rows, wide = tf.shape(x)[0], BLOCK + 2 * context.REACH
    x = tf.pad(x, [[0, 0], [context.REACH, context.REACH], [0, 0]])
    width = wide * x.shape[2]
    seen = [tf.reshape(x[:, first : first + wide], [rows, width]) for first in range(0, context.PITCHES, BLOCK)]
    product = tf.matmul(tf.reshape(tf.stack(seen, axis=1), [-1, width]), weights.blocks)
    return tf.reshape(product, [rows, context.PITCHES, weights.own.shape[1]]) + weights.own


def _told(chord, phases, onset, chord_size) -> tf.Tensor:
    """The place in the chord and in every period."""
    rows = [tf.gather(chord, tf.minimum(chord_size, CHORD_SIZES - 1))]
    rows += [tf.gather(table, onset % table.shape[0]) for table in phases]
    return tf.add_n(rows)


class PitchContext(keras.layers.Layer):
    """The part of the note model that looks at pitches in context.

    Args:
      units: hidden channels of a pitch, a multiple of 16.
      input_units: width of the LSTM's input.
      parts_units: width of the heads' hidden layers, and END's logit.
      lags, periods: in ticks.
    """

    def __init__(
        self, units: int, *, input_units: int, parts_units: int, lags: tuple[int, ...], periods: tuple[int, ...]
    ):
        super().__init__(name=NAME)
        self.units, self._periods = units, periods
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
        self.above_kernel = add(name="above_kernel", shape=(above_size(units), parts_units), initializer=normal)
        self.input_chord = add(name="input_chord", shape=(CHORD_SIZES, input_units), initializer=normal)
        self.chord = add(name="chord", shape=(CHORD_SIZES, units), initializer=normal)
        self.input_phase = [add(name=f"input_phase_{p}", shape=(p, input_units), initializer=normal) for p in periods]
        self.phase = [add(name=f"phase_{p}", shape=(p, units), initializer=normal) for p in periods]
        self.built = True

    @property
    def query_units(self) -> int:
        """How many numbers of the LSTM's output `call` takes."""
        return 3 * self.units

    @property
    def tensors(self) -> Weights:
        """The weights as they are now."""
        by_name = {weight.name: weight for weight in self.weights}
        return Weights.of(by_name.__getitem__, self._periods)

    def inputs(self, seen: tf.Tensor, onset: tf.Tensor, chord_size: tf.Tensor) -> tf.Tensor:
        """`inputs` with these weights."""
        return inputs(self.tensors, seen, onset, chord_size)

    def call(self, found: context.Surroundings, onset, query, keep=None) -> Sight:
        """`look` with these weights."""
        return look(self.tensors, found, onset, query, keep)
