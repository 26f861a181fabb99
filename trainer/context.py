"""The notes so far, laid onto the pitch axis: what an LSTM's state holds only in part.

A pitch is likely for what sounded around it: a chord's other notes, the same note a bar ago, the neighbour just left.
Such reasons do not change when everything is transposed, so they are learned once for all pitches: every pitch gets
channels that say what sounded there and when, and a convolution along the pitch axis scores it by those around it.

    channel of a pitch                            1 for each of the last `notes` notes at that pitch that
    0            its chord                        begins where the note to be scored begins
    1            sounds                           began earlier and still sounds there
    2..10        its age, log2 of ticks           began 1, 2, 4 ... ticks before (shares between two neighbours)
    11...        a lag each                       sounded so many ticks before

The channels around a note's pitch, as they were when it was scored, are an input of the LSTM at the next event. Pitches
below `LOWEST` or from `LOWEST + PITCHES` on have no channels; the head that hangs on the LSTM alone scores them.

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
INPUT_REACH = 24  # semitones to each side of a note that the LSTM sees
BLOCK = 64  # events
NO_PITCH = -1
LONG_AGO = -(2**30)
EMPTY = (NO_PITCH, LONG_AGO, LONG_AGO)  # of a memory's columns, where there is no note


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


def memory_before(table: fields_lib.FieldTable, raw: tf.Tensor, is_note: tf.Tensor, now: tf.Tensor) -> Memory:
    """The memory of the notes before a window, `trainer.batches.Batch.before`.

    Args:
      raw, is_note: the notes, as `remember` takes them; those that are missing come first.
      now: `[rows]` int32, the onset of the last of them.
    """
    step = tf.where(tf.cast(is_note, tf.bool), raw[..., table.names.index("step")], 0)
    begin = now - tf.reduce_sum(step, axis=1)
    one = Memory(*(tf.fill([tf.shape(raw)[0], 1], padding) for padding in EMPTY))
    return newest(remember(one._replace(onset=begin[:, None]), table, raw, is_note), raw.shape[1])


def newest(memory: Memory, notes: int) -> Memory:
    """The memory cut to its newest notes."""
    return Memory(memory.pitch[:, -notes:], memory.onset[:, -notes:], memory.end[:, -notes:])


def around_size(lags: tuple[int, ...]) -> int:
    """How many numbers `around` gives."""
    return (2 * INPUT_REACH + 1) * num_channels(lags)


def num_channels(lags: tuple[int, ...]) -> int:
    """Channels of a pitch, padded to a multiple of `CHANNEL_MULTIPLE`."""
    return -(-(2 + AGES + len(lags)) // CHANNEL_MULTIPLE) * CHANNEL_MULTIPLE


class Surroundings(NamedTuple):
    """What the notes so far say of events, each as of its own onset.

    Attributes:
      channels: `[rows, time, PITCHES, num_channels]` float32.
      chord_size: `[rows, time]` int32, how many of the notes begin with the event.
    """

    channels: tf.Tensor
    chord_size: tf.Tensor


def surroundings(
    earlier: Memory, onset: tf.Tensor, *, notes: int, lags: tuple[int, ...], time_base: str
) -> Surroundings:
    """Lays the notes before each event onto the pitch axis.

    Args:
      earlier: event i of the window sees the `notes` columns from the i-th on.
      onset: `[rows, time]` int32, of the events, ticks since the piece began.
      notes: how many notes an event sees.
      lags: in ticks.
      time_base: the grid.
    """
    if onset.shape[1] == 1:
        earlier = Memory(*(column[:, :notes] for column in earlier))
        return _surroundings(earlier, onset, notes=notes, lags=lags, time_base=time_base)
    rows, time = tf.shape(onset)[0], tf.shape(onset)[1]
    blocks = -(-time // BLOCK)  # a block of events looks at few notes that only its neighbours see
    after = blocks * BLOCK - time

    def framed(column: tf.Tensor, padding: int, length: int) -> tf.Tensor:
        column = tf.pad(column[:, : notes + time - 1], [[0, 0], [0, after]], constant_values=padding)
        places = tf.range(blocks)[:, None] * BLOCK + tf.range(length)
        return tf.reshape(tf.gather(column, places, axis=1), [rows * blocks, length])

    pieces = Memory(
        *(framed(column, padding, notes + BLOCK - 1) for column, padding in zip(earlier, EMPTY, strict=True))
    )
    onsets = tf.reshape(tf.pad(onset, [[0, 0], [0, after]]), [rows * blocks, BLOCK])
    found = _surroundings(pieces, onsets, notes=notes, lags=lags, time_base=time_base)
    return Surroundings(*(tf.reshape(value, [rows, blocks * BLOCK, *value.shape[2:]])[:, :time] for value in found))


def _surroundings(
    earlier: Memory, onset: tf.Tensor, *, notes: int, lags: tuple[int, ...], time_base: str
) -> Surroundings:
    rows, time = tf.shape(onset)[0], onset.shape[1]
    event, note = np.arange(time)[:, None], np.arange(notes + time - 1)[None, :]
    visible = tf.constant((note >= event) & (note < event + notes))
    age = onset[:, :, None] - earlier.onset[:, None, :]
    since_end = onset[:, :, None] - earlier.end[:, None, :]
    is_now, began = visible & (age == 0), visible & (age > 0)
    unit = 1.0 if time_base == BEATS else float(AGE_UNIT_MILLISECONDS)
    octave = np.float32(1 / np.log(2)) * tf.math.log1p(tf.cast(age, tf.float32) / unit)
    octave = tf.where(began, tf.maximum(octave, 1.0), -1.0)
    shares = [tf.nn.relu(1 - tf.abs(octave - place)) for place in range(1, AGES + 1)]
    flags = [is_now, began & (since_end < 0), *(visible & (age >= lag) & (since_end < lag) for lag in lags)]
    kernels = [tf.cast(flag, tf.float32) for flag in flags]
    kernels = [*kernels[:2], *shares, *kernels[2:]]
    width = num_channels(lags)
    kernels += [tf.zeros_like(shares[0])] * (width - len(kernels))
    kernel = tf.reshape(tf.stack(kernels, axis=2), [rows, time * width, notes + time - 1])
    on_axis = tf.one_hot(earlier.pitch - LOWEST, PITCHES)  # zeros beyond
    counts = tf.reshape(tf.matmul(kernel, on_axis), [rows, time, width, PITCHES])
    chord_size = tf.reduce_sum(tf.cast(is_now, tf.int32), axis=2)
    return Surroundings(tf.math.log1p(tf.transpose(counts, [0, 1, 3, 2])), chord_size)


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
