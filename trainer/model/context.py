"""The notes so far, placed on the pitch axis: what an LSTM's state holds only in part.

A pitch is likely because of what sounded around it: the other notes of a chord, the same note a bar ago, a neighbour
just left. Such reasons do not change when everything is transposed, so they are learned once for all pitches: every
pitch gets channels that say what sounded there and when, and a convolution along the pitch axis scores each pitch by
the channels around it.

    channel of a pitch                            log(1 + n) for n of the last notes at that pitch that
    0            sounds                           began earlier than the note to be scored, and still sound
    1..9         its age, log2 of ticks           began 1, 2, 4 ... ticks before (shared between two neighbours)
    10...        one per lag                      sounded that many ticks before

Notes that begin together (a moment) see the same channels, which are computed once for them. Beside them, a note sees
the notes of its own chord that are already there. Channels and chord around a note's pitch, as they were when it was
scored, are an input of the LSTM at the next event. Pitches below `LOWEST` and from `LOWEST + PITCHES` on have no
channels; only the head that depends on the LSTM alone scores them.

The transposition-equivariant inputs follow Johnson 2017 (biaxial LSTM); they replace its recurrence over all pitches.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import tensorflow as tf

from midi_codec import fields as fields_lib
from midi_codec.music.notes import BEATS

LOWEST, PITCHES = 16, 96  # holds a piano's keys and fills whole vector registers
AGES = 9
AGE_UNIT_MILLISECONDS = 16  # the first age of a grid of milliseconds; beats begin with one tick
CHANNEL_MULTIPLE = 8
REACH = 12  # semitones to each side that a pitch is scored by
INPUT_REACH = 24  # semitones to each side of a note that the LSTM sees
CHORD = 16  # the most notes of its chord that a note sees
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
    """The memory of pieces that have not begun."""
    nothing = tf.fill([rows, notes], LONG_AGO)
    return Memory(tf.fill([rows, notes], NO_PITCH), nothing, nothing)


def remember(memory: Memory, table: fields_lib.FieldTable, raw: tf.Tensor, is_note: tf.Tensor) -> Memory:
    """The memory with more notes added after those already there.

    Args:
      memory: before them.
      table: the fields.
      raw: `[rows, time, num_fields]` int32, the notes' values.
      is_note: `[rows, time]`, 0 where there is none.

    Returns:
      a memory that is `time` notes longer; `newest` shortens it.
    """
    is_there = tf.cast(is_note, tf.bool)
    step, pitch, duration = (raw[..., table.names.index(name)] for name in ("step", "pitch", "duration"))
    now = tf.maximum(memory.onset[:, -1:], 0)
    onset = now + tf.cumsum(tf.where(is_there, step, 0), axis=1)
    return Memory(
        tf.concat([memory.pitch, tf.where(is_there, pitch, NO_PITCH)], axis=1),
        tf.concat([memory.onset, tf.where(is_there, onset, LONG_AGO)], axis=1),
        tf.concat([memory.end, tf.where(is_there, onset + duration, LONG_AGO)], axis=1),
    )


def memory_before(table: fields_lib.FieldTable, raw: tf.Tensor, is_note: tf.Tensor, now: tf.Tensor) -> Memory:
    """The memory of the notes before a window, `trainer.data.batches.Batch.before`.

    Args:
      raw, is_note: the notes, as `remember` takes them; missing ones come first.
      now: `[rows]` int32, the onset of the last of them.
    """
    step = tf.where(tf.cast(is_note, tf.bool), raw[..., table.names.index("step")], 0)
    begin = now - tf.reduce_sum(step, axis=1)
    empty_note = Memory(*(tf.fill([tf.shape(raw)[0], 1], padding) for padding in EMPTY))
    return newest(remember(empty_note._replace(onset=begin[:, None]), table, raw, is_note), raw.shape[1])


def newest(memory: Memory, notes: int) -> Memory:
    """The memory cut to its newest notes."""
    return Memory(memory.pitch[:, -notes:], memory.onset[:, -notes:], memory.end[:, -notes:])


def around_size(lags: tuple[int, ...]) -> int:
    """How many numbers `around` returns."""
    return (2 * INPUT_REACH + 1) * (num_channels(lags) + 1)


def num_channels(lags: tuple[int, ...]) -> int:
    """Number of channels per pitch, padded to a multiple of `CHANNEL_MULTIPLE`."""
    return -(-(1 + AGES + len(lags)) // CHANNEL_MULTIPLE) * CHANNEL_MULTIPLE


class Surroundings(NamedTuple):
    """What the notes so far say of each event, as of its onset.

    Attributes:
      channels: `[rows, moments, PITCHES, num_channels]` float32.
      moment: `[rows, time]` int32, the index of each event's moment.
      chord: `[rows, time, PITCHES]` float32, the earlier notes with the same onset as the event.
      chord_size: `[rows, time]` int32, how many there are, at most `CHORD`.
    """

    channels: tf.Tensor
    moment: tf.Tensor
    chord: tf.Tensor
    chord_size: tf.Tensor


def surroundings(
    earlier: Memory, onset: tf.Tensor, *, notes: int, lags: tuple[int, ...], time_base: str
) -> Surroundings:
    """Places the notes before each event on the pitch axis.

    An event sees its chord, up to `CHORD` notes back, and the last `notes - CHORD` notes before the chord.

    Args:
      earlier: event i of the window sees columns i to i + `notes` - 1.
      onset: `[rows, time]` int32, of the events, ticks since the piece began.
      notes: how many notes an event can see, more than `CHORD`.
      lags: in ticks.
      time_base: the grid.
    """
    rows, time = tf.shape(onset)[0], tf.shape(onset)[1]
    columns = tf.range(time)[:, None] + notes - 1 - tf.range(CHORD)  # the newest first
    pitch = tf.gather(earlier.pitch, columns, axis=1)  # [rows, time, CHORD]
    in_chord = (tf.gather(earlier.onset, columns, axis=1) == onset[..., None]) & (pitch != NO_PITCH)
    on_axis = tf.one_hot(tf.where(in_chord, pitch - LOWEST, NO_PITCH), PITCHES)
    chord, chord_size = tf.reduce_sum(on_axis, axis=2), tf.reduce_sum(tf.cast(in_chord, tf.int32), axis=2)

    seen_to = tf.range(time) + notes - chord_size
    if onset.shape[1] == 1:
        moment = tf.zeros([rows, 1], tf.int32)
    else:
        # In a chord larger than `CHORD`, each further note sees a different part of the past: a moment of its own.
        is_new = (chord_size == 0) | (chord_size == CHORD) | (tf.range(time) == 0)
        moment = tf.cumsum(tf.cast(is_new, tf.int32), axis=1) - 1
        num_moments = tf.reduce_max(moment[:, -1]) + 1
        order = tf.argsort(tf.where(is_new, tf.range(time), time + tf.range(time)), axis=1)[:, :num_moments]
        onset, seen_to = (tf.gather(column, order, axis=1, batch_dims=1) for column in (onset, seen_to))
    return Surroundings(_channels(earlier, onset, seen_to, notes, lags, time_base), moment, chord, chord_size)


def _channels(
    earlier: Memory, onset: tf.Tensor, seen_to: tf.Tensor, notes: int, lags: tuple[int, ...], time_base: str
) -> tf.Tensor:
    """`Surroundings.channels` of moments `[rows, moments]`; each sees the `notes - CHORD` columns before `seen_to`."""
    column = tf.range(tf.shape(earlier.pitch)[1])
    visible = (column < seen_to[..., None]) & (column >= seen_to[..., None] - (notes - CHORD))
    age = onset[:, :, None] - earlier.onset[:, None, :]
    since_end = onset[:, :, None] - earlier.end[:, None, :]
    visible &= age > 0

    unit = 1.0 if time_base == BEATS else float(AGE_UNIT_MILLISECONDS)
    log_age = np.float32(1 / np.log(2)) * tf.math.log1p(tf.cast(age, tf.float32) / unit)
    log_age = tf.where(visible, tf.maximum(log_age, 1.0), -1.0)
    ages = [tf.nn.relu(1 - tf.abs(log_age - channel)) for channel in range(1, AGES + 1)]
    sounds, *sounded = [tf.cast(visible & (age >= lag) & (since_end < lag), tf.float32) for lag in (0, *lags)]
    kernels = [sounds, *ages, *sounded]
    kernels += [tf.zeros_like(sounds)] * (num_channels(lags) - len(kernels))

    index = earlier.pitch - LOWEST
    if onset.shape[1] == 1:
        return _scatter(tf.stack([kernel[:, 0] for kernel in kernels], axis=2), index)
    shape = tf.shape(visible)
    kernel = tf.reshape(tf.stack(kernels, axis=2), [shape[0], shape[1] * len(kernels), shape[2]])
    counts = tf.matmul(kernel, tf.one_hot(index, PITCHES))  # no row for pitches outside the axis
    counts = tf.reshape(counts, [shape[0], shape[1], len(kernels), PITCHES])
    return tf.math.log1p(tf.transpose(counts, [0, 1, 3, 2]))


def _scatter(kernel: tf.Tensor, index: tf.Tensor) -> tf.Tensor:
    """The channels of one moment per row, note by note: for a decoder's few rows, three times as fast as products.

    Args:
      kernel: `[rows, columns, num_channels]`, what each note adds.
      index: `[rows, columns]` int32, its position on the axis; notes outside the axis add nothing.
    """
    inside = (index >= 0) & (index < PITCHES)
    kernel = tf.where(inside[..., None], kernel, 0.0)
    row = tf.range(tf.shape(index)[0])[:, None] + tf.zeros_like(index)
    target = tf.stack([row, tf.where(inside, index, 0)], axis=2)
    counts = tf.scatter_nd(target, kernel, [tf.shape(index)[0], PITCHES, kernel.shape[2]])
    return tf.math.log1p(counts)[:, None]


def around(surroundings: Surroundings, pitch: tf.Tensor) -> tf.Tensor:
    """`[rows, time, around_size]`: what is around a pitch, zeros beyond the ends of the axis.

    Args:
      surroundings: of the events.
      pitch: `[rows, time]` int32; `NO_PITCH` gives zeros.
    """
    size, width = 2 * INPUT_REACH + 1, surroundings.channels.shape[3]
    ends = [INPUT_REACH, INPUT_REACH]
    length = PITCHES + 2 * INPUT_REACH
    index = pitch - LOWEST
    inside = (index >= 0) & (index < PITCHES)
    indices = tf.where(inside, index, 0)[..., None] + tf.range(size)
    rows, time = tf.shape(pitch)[0], tf.shape(pitch)[1]
    channels = tf.pad(surroundings.channels, [[0, 0], [0, 0], ends, [0, 0]])
    channels = tf.reshape(channels, [rows, tf.shape(channels)[1] * length, width])
    window = tf.gather(channels, surroundings.moment[..., None] * length + indices, axis=1, batch_dims=1)
    chord = tf.gather(tf.pad(surroundings.chord, [[0, 0], [0, 0], ends]), indices, axis=2, batch_dims=2)
    both = tf.concat([tf.reshape(window, [rows, time, size * width]), chord], axis=2)
    return tf.where(inside[..., None], both, 0.0)


def on_pitch_axis(scores: tf.Tensor, width: int) -> tf.Tensor:
    """`[..., width]` logits of a pitch head from the scores `[..., PITCHES]`: zeros for pitches without channels."""
    after = width - LOWEST - PITCHES
    return tf.pad(scores, [[0, 0]] * (len(scores.shape) - 1) + [[LOWEST, after]])
