"""The notes so far, laid onto the pitch axis: what an LSTM's state holds only in part.

A pitch is likely for what sounded around it: a chord's other notes, the same note a bar ago, the neighbour just left.
Such reasons do not change when everything is transposed, so they are learned once for all pitches: every pitch gets
channels that say what sounded there and when, and a convolution along the pitch axis scores it by those around it.

    channel of a pitch                            1 for each of the last `notes` notes at that pitch that
    0            its chord                        begins where the note to be scored begins
    1            sounds                           began earlier and still sounds there
    2..10        its age, log2 of ticks           began 1, 2, 4 ... ticks before (shares between two neighbours)
    11...        a lag each                       sounded so many ticks before

The same channels around the pitch of the last note, at the time it began, are an input of the LSTM. Pitches below
`LOWEST` or from `LOWEST + PITCHES` on have no channels; the head that hangs on the LSTM alone scores them.

Transposition-equivariant inputs: after Johnson 2017 (biaxial LSTM), whose recurrence over all pitches they replace.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import tensorflow as tf

from midi_codec import fields as fields_lib
from midi_codec.notes import BEATS

LOWEST, PITCHES = 16, 96  # whole vector registers that hold a piano's keys
AGES = 9
AGE_UNIT_MILLISECONDS = 16  # the first age of a grid of milliseconds; beats begin with one tick
CHANNEL_MULTIPLE = 8
REACH = 12  # semitones to each side that a pitch is scored by
INPUT_REACH = 24  # semitones to each side of the last pitch that the LSTM sees
NO_PITCH = -1
LONG_AGO = -(2**30)


class Memory(NamedTuple):
    """The last notes of each row's piece, the newest last.

    Attributes:
      pitch: `[rows, notes]` int32, `NO_PITCH` where there is no note.
      onset, end: `[rows, notes]` int32, ticks since the piece began.
    """

    pitch: tf.Tensor
    onset: tf.Tensor
    end: tf.Tensor


def empty_memory(rows: int | tf.Tensor, notes: int) -> Memory:
    """That of pieces that have not begun."""
    nothing = tf.fill([rows, notes], LONG_AGO)
    return Memory(tf.fill([rows, notes], NO_PITCH), nothing, nothing)


def remember(memory: Memory, table: fields_lib.FieldTable, raw: tf.Tensor, is_note: tf.Tensor) -> Memory:
    """The memory after more notes: all of them, behind those that were there.

    Args:
      memory: before them.
      table: the fields.
      raw: `[rows, time, num_fields]` int32, the notes' values.
      is_note: `[rows, time]`, 0 where there is none.

    Returns:
      a memory that is `time` notes longer; `newest` cuts it.
    """
    there = tf.cast(is_note, tf.bool)
    step, pitch, duration = (raw[..., table.names.index(name)] for name in ("step", "pitch", "duration"))
    now = tf.maximum(memory.onset[:, -1:], 0)
    onset = now + tf.cumsum(tf.where(there, step, 0), axis=1)
    return Memory(
        tf.concat([memory.pitch, tf.where(there, pitch, NO_PITCH)], axis=1),
        tf.concat([memory.onset, tf.where(there, onset, LONG_AGO)], axis=1),
        tf.concat([memory.end, tf.where(there, onset + duration, LONG_AGO)], axis=1),
    )


def newest(memory: Memory, notes: int) -> Memory:
    """The memory cut to its newest notes."""
    return Memory(memory.pitch[:, -notes:], memory.onset[:, -notes:], memory.end[:, -notes:])


def num_channels(lags: tuple[int, ...]) -> int:
    """Channels of a pitch, padded to a multiple of `CHANNEL_MULTIPLE`."""
    return -(-(2 + AGES + len(lags)) // CHANNEL_MULTIPLE) * CHANNEL_MULTIPLE


class Scene:
    """What the events of a window see of the notes so far: each the `notes` notes before it.

    Args:
      seen: the `notes` notes before the window, and then the window's own; the last event's is not looked at.
      time: how many events.
      notes: how many notes an event sees.
      lags: in ticks.
      time_base: the grid.

    Attributes:
      now: `[rows, time]` int32, the onset of the note before each event; 0 at the start of a piece.
      pitch: `[rows, time]` int32, its pitch.
    """

    def __init__(self, seen: Memory, *, time: int | tf.Tensor, notes: int, lags: tuple[int, ...], time_base: str):
        self._notes, self._lags = notes, lags
        self._pitch, self._onset, self._end = (
            column[:, : notes + time - 1] for column in (seen.pitch, seen.onset, seen.end)
        )
        self._age_unit = 1.0 if time_base == BEATS else float(AGE_UNIT_MILLISECONDS)
        self._one_hot = tf.one_hot(self._pitch - LOWEST, PITCHES)  # [rows, seen, pitches]; zeros beyond
        self.now = tf.maximum(self._onset[:, notes - 1 :], 0)
        self.pitch = self._pitch[:, notes - 1 :]

    def channels(self, ticks: tf.Tensor) -> tf.Tensor:
        """`[rows, time, PITCHES, num_channels]` float32 of each event, as of a time of its own.

        Args:
          ticks: `[rows, time]` int32, since the piece began.
        """
        rows, time = tf.shape(ticks)[0], tf.shape(ticks)[1]
        event, note = tf.range(time)[:, None], tf.range(self._notes + time - 1)[None, :]
        visible = (note >= event) & (note < event + self._notes)
        age = ticks[:, :, None] - self._onset[:, None, :]
        since_end = ticks[:, :, None] - self._end[:, None, :]
        octave = np.float32(1 / np.log(2)) * tf.math.log1p(tf.cast(age, tf.float32) / self._age_unit)
        began = visible & (age > 0)
        octave = tf.where(began, tf.maximum(octave, 1.0), -1.0)
        shares = [tf.nn.relu(1 - tf.abs(octave - place)) for place in range(1, AGES + 1)]
        flags = [visible & (age == 0), began & (since_end < 0)]
        flags += [visible & (age >= lag) & (since_end < lag) for lag in self._lags]
        flags = [tf.cast(flag, tf.float32) for flag in flags]
        kernel = tf.stack(flags[:2] + shares + flags[2:], axis=2)
        width = num_channels(self._lags)
        kernel = tf.pad(kernel, [[0, 0], [0, 0], [0, width - kernel.shape[2]], [0, 0]])
        kernel = tf.reshape(kernel, [rows, time * width, tf.shape(note)[1]])
        counts = tf.reshape(tf.matmul(kernel, self._one_hot), [rows, time, width, PITCHES])
        return tf.math.log1p(tf.transpose(counts, [0, 1, 3, 2]))


def around(channels: tf.Tensor, pitch: tf.Tensor) -> tf.Tensor:
    """`[rows, time, (2 INPUT_REACH + 1) * channels]`: what lies around a pitch, zeros where the axis ends.

    Args:
      channels: `[rows, time, PITCHES, channels]`.
      pitch: `[rows, time]` int32; of `NO_PITCH` all is zero.
    """
    size, width = 2 * INPUT_REACH + 1, channels.shape[3]
    padded = tf.pad(channels, [[0, 0], [0, 0], [INPUT_REACH, INPUT_REACH], [0, 0]])
    place = pitch - LOWEST
    inside = (place >= 0) & (place < PITCHES)
    places = tf.where(inside, place, 0)[..., None] + tf.range(size)
    window = tf.gather(padded, places, axis=2, batch_dims=2)
    window = tf.where(inside[..., None, None], window, 0.0)
    return tf.reshape(window, [tf.shape(pitch)[0], tf.shape(pitch)[1], size * width])


def on_pitch_axis(scores: tf.Tensor, width: int) -> tf.Tensor:
    """`[..., width]` logits of a pitch head from the scores `[..., PITCHES]`: zeros for pitches without channels."""
    after = width - LOWEST - PITCHES
    return tf.pad(scores, [[0, 0]] * (len(scores.shape) - 1) + [[LOWEST, after]])
