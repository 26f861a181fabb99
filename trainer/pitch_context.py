"""The weights that read the notes so far (`trainer.context`): an input of the LSTM, and a score a pitch.

    first[p] = relu(conv(channels)[p] + conv(chord)[p] + own[p] + phase + size of the chord + h's first part)
    hidden[p] = first[p] + relu(kernel first[p] + h's second part)
    score of pitch p = hidden[p] . (weights + h's third part)

`conv` sees the pitches up to `REACH` semitones away, `own` tells pitches apart, and `phase` says where
in each of the given periods (a beat, a bar ...) the note begins, counted from the start of the piece, and how many
notes of its chord are there already.
"""

from __future__ import annotations

from typing import NamedTuple

import keras
import tensorflow as tf

from trainer import context

LEAST_SCORE = -20.0  # of an empty zone
CHORD_SIZES = context.CHORD + 1


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
        super().__init__(name="context")
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
        self.above_kernel = add(name="above_kernel", shape=(self.above_units, parts_units), initializer=normal)
        self.input_chord = add(name="input_chord", shape=(CHORD_SIZES, input_units), initializer=normal)
        self.chord = add(name="chord", shape=(CHORD_SIZES, units), initializer=normal)
        self.input_phase = [add(name=f"input_phase_{p}", shape=(p, input_units), initializer=normal) for p in periods]
        self.phase = [add(name=f"phase_{p}", shape=(p, units), initializer=normal) for p in periods]
        self.built = True

    @property
    def query_units(self) -> int:
        """How many numbers `scores` takes from the LSTM's output."""
        return 3 * self.units

    def inputs(self, seen: tf.Tensor, onset: tf.Tensor, chord_size: tf.Tensor) -> tf.Tensor:
        """`[rows, time, input_units]`, what the LSTM sees of the notes so far.

        Args:
          seen: `[rows, time, around_size]`, what lay around the note before when it was scored.
          onset, chord_size: `[rows, time]` int32 of the note before.
        """
        product = tf.tensordot(seen, self.input_kernel, 1)
        return product + self._told(self.input_chord, self.input_phase, onset, chord_size)

    def call(self, found: context.Surroundings, onset, query, keep=None) -> Sight:
        """Scores every pitch.

        Args:
          found: of the notes so far.
          onset: `[rows, time]` int32, ticks since the piece began.
          query: `[rows, time, query_units]`, from the LSTM's output.
          keep: `[rows, units]`, the hidden units' dropout mask, or None.
        """
        rows, time, units = tf.shape(onset)[0], tf.shape(onset)[1], self.units
        events, moments = rows * time, tf.shape(found.channels)[1]
        channels = tf.reshape(found.channels, [rows * moments, context.PITCHES, found.channels.shape[3]])
        of_moment = tf.nn.conv1d(channels, self.conv_kernel, 1, "SAME") + self.own
        place = tf.reshape(found.moment + tf.range(rows)[:, None] * moments, [events])
        chord = tf.reshape(found.chord, [events, context.PITCHES, 1])
        told = query[..., :units] + self._told(self.chord, self.phase, onset, found.chord_size)
        first = tf.gather(of_moment, place) + tf.nn.conv1d(chord, self.chord_kernel, 1, "SAME")
        first = tf.nn.relu(first + tf.reshape(told, [events, 1, units]))
        asked = tf.reshape(query[..., units : 2 * units], [events, 1, units])
        hidden = first + tf.nn.relu(tf.tensordot(first, self.second_kernel, 1) + self.second_bias + asked)
        weights = query[..., 2 * units :] + self.output_weights
        if keep is not None:
            weights *= keep[:, None, :]
        scores = tf.matmul(hidden, tf.reshape(weights, [events, units, 1]))
        hidden = tf.reshape(hidden, [rows, time, context.PITCHES, units])
        return Sight(found, hidden, tf.reshape(scores, [rows, time, context.PITCHES]))

    @property
    def above_units(self) -> int:
        """How many numbers `above` gives."""
        return 2 * self.units + 16

    def above(self, sight: Sight, pitch: tf.Tensor) -> tf.Tensor:
        """`[rows, time, above_units]`, what lay above each note when it was scored: near, and farther up.

        Args:
          sight: of the events.
          pitch: `[rows, time]` int32, of their notes.
        """
        rows, time = tf.shape(pitch)[0], tf.shape(pitch)[1]
        higher = tf.range(context.LOWEST, context.LOWEST + context.PITCHES) - pitch[..., None]
        zones = tf.stack([(higher > 0) & (higher <= context.REACH), higher > context.REACH], axis=2)
        pooled = tf.math.log1p(tf.matmul(tf.cast(zones, tf.float32), sight.hidden))
        mass = tf.reduce_logsumexp(tf.where(zones, sight.scores[:, :, None], LEAST_SCORE), axis=3)
        mass -= tf.reduce_logsumexp(sight.scores, axis=2, keepdims=True)
        flat = tf.reshape(pooled, [rows, time, 2 * self.units])
        return tf.concat([flat, tf.pad(mass, [[0, 0], [0, 0], [0, 14]])], axis=2)

    def _told(self, chord, phases, onset, chord_size) -> tf.Tensor:
        """The place in the chord and in every period."""
        rows = [tf.gather(chord, tf.minimum(chord_size, CHORD_SIZES - 1))]
        rows += [tf.gather(table, onset % period) for table, period in zip(phases, self._periods, strict=True)]
        return tf.add_n(rows)
