"""The weights that read the notes so far (`trainer.context`): an input of the LSTM, and a score a pitch.

    score of pitch p = relu(conv(channels)[p] + phase + own[p] + h's part) . (weights + h's other part)

`conv` sees the channels of the pitches up to `REACH` semitones away, `own` tells pitches apart, and `phase` says where
in each of the given periods (a beat, a bar ...) the note begins, counted from the start of the piece.
"""

from __future__ import annotations

import keras
import tensorflow as tf

from trainer import context


class PitchContext(keras.layers.Layer):
    """The part of the note model that looks at pitches in context.

    Args:
      units: hidden channels of a pitch, a multiple of 16.
      input_units: width of the LSTM's input.
      lags, periods: in ticks.
    """

    def __init__(self, units: int, *, input_units: int, lags: tuple[int, ...], periods: tuple[int, ...]):
        super().__init__(name="context")
        self.units, self._periods = units, periods
        channels = context.num_channels(lags)
        normal = keras.initializers.RandomNormal(stddev=0.05)
        add = self.add_weight
        around = (2 * context.INPUT_REACH + 1) * channels
        self.input_kernel = add(name="input_kernel", shape=(around, input_units), initializer=normal)
        self.conv_kernel = add(name="conv_kernel", shape=(2 * context.REACH + 1, channels, units), initializer=normal)
        self.own = add(name="own", shape=(context.PITCHES, units), initializer="zeros")
        self.output_weights = add(name="output_weights", shape=(units,), initializer=normal)
        self.input_phase = [add(name=f"input_phase_{p}", shape=(p, input_units), initializer=normal) for p in periods]
        self.phase = [add(name=f"phase_{p}", shape=(p, units), initializer=normal) for p in periods]
        self.built = True

    @property
    def query_units(self) -> int:
        """How many numbers `scores` takes from the LSTM's output."""
        return 2 * self.units

    def inputs(self, scene: context.Scene) -> tf.Tensor:
        """`[rows, time, input_units]`, what each event's LSTM sees of the notes so far."""
        seen = context.around(scene.channels(scene.now), scene.pitch)
        return tf.add_n([tf.tensordot(seen, self.input_kernel, 1), *self._phases(self.input_phase, scene.now)])

    def scores(self, scene: context.Scene, ticks: tf.Tensor, query: tf.Tensor, keep: tf.Tensor | None) -> tf.Tensor:
        """`[rows, time, PITCHES]`, what adds to the logits of a note's pitch.

        Args:
          scene: of the window.
          ticks: `[rows, time]` int32, the note's onset.
          query: `[rows, time, query_units]`, from the LSTM's output.
          keep: `[rows, units]`, the hidden units' dropout mask, or None.
        """
        rows, time = tf.shape(ticks)[0], tf.shape(ticks)[1]
        channels = scene.channels(ticks)
        flat = tf.reshape(channels, [rows * time, context.PITCHES, channels.shape[3]])
        hidden = tf.nn.conv1d(flat, self.conv_kernel, 1, "SAME") + self.own
        shared = tf.add_n([query[..., : self.units], *self._phases(self.phase, ticks)])
        hidden = tf.nn.relu(hidden + tf.reshape(shared, [rows * time, 1, self.units]))
        weights = query[..., self.units :] + self.output_weights
        if keep is not None:
            weights *= keep[:, None, :]
        product = tf.matmul(hidden, tf.reshape(weights, [rows * time, self.units, 1]))
        return tf.reshape(product, [rows, time, context.PITCHES])

    def _phases(self, tables: list, ticks: tf.Tensor) -> list[tf.Tensor]:
        return [tf.gather(table, ticks % period) for table, period in zip(tables, self._periods, strict=True)]
