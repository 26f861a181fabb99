"""The notes so far, laid onto the pitch axis: what an LSTM's state holds only in part.

A pitch is likely for what sounded around it: a chord's other notes, the same note a bar ago, the neighbour just left.
Such reasons do not change when everything is transposed, so they are learned once for all pitches: every pitch gets
channels that say what sounded there and when, and a convolution along the pitch axis scores it by those around it.

    channel of a pitch                            log(1 + n) for n of the last notes at that pitch that
    0            sounds                           began earlier than the note to be scored, and still sound
    1..9         its age, log2 of ticks           began 1, 2, 4 ... ticks before (shares between two neighbours)
    10...        a lag each                       sounded so many ticks before

Notes that begin together see the same channels, which are computed once for them: a moment. What of its own chord is
there already a note sees beside them. Channels and chord around a note's pitch, as they were when it was scored, are an
input of the LSTM at the next event. Pitches below `LOWEST` or from `LOWEST + PITCHES` on have no channels; the head
that hangs on the LSTM alone scores them.

Transposition-equivariant inputs: after Johnson 2017 (biaxial LSTM), whose recurrence over all pitches they replace.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import tensorflow as tf

from midi_codec import fields as fields_lib
from midi_codec.music.notes import BEATS

LOWEST, PITCHES = 16, 96  # whole vector registers that hold a piano's keys
AGES = 9
AGE_UNIT_MILLISECONDS = 16  # the first age of a grid of milliseconds; beats begin with one tick
CHANNEL_MULTIPLE = 8
REACH = 12  # semitones to each side that a pitch is scored by
INPUT_REACH = 24  # semitones to each side of a note that the LSTM sees
CHORD = 16  # notes of its chord that a note sees at most
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
    """The memory of the notes before a window, `trainer.data.batches.Batch.before`.

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
    return (2 * INPUT_REACH + 1) * (num_channels(lags) + 1)


def num_channels(lags: tuple[int, ...]) -> int:
    """Channels of a pitch, padded to a multiple of `CHANNEL_MULTIPLE`."""
    return -(-(1 + AGES + len(lags)) // CHANNEL_MULTIPLE) * CHANNEL_MULTIPLE


class Surroundings(NamedTuple):
    """What the notes so far say of events, each as of its own onset.

    Attributes:
      channels: `[rows, moments, PITCHES, num_channels]` float32.
      moment: `[rows, time]` int32, which of them is an event's.
      chord: `[rows, time, PITCHES]` float32, the notes that began with the event before it.
      chord_size: `[rows, time]` int32, how many they are, at most `CHORD`.
    """

    channels: tf.Tensor
    moment: tf.Tensor
    chord: tf.Tensor
    chord_size: tf.Tensor


def surroundings(
    earlier: Memory, onset: tf.Tensor, *, notes: int, lags: tuple[int, ...], time_base: str
) -> Surroundings:
    """Lays the notes before each event onto the pitch axis.

    An event sees its chord, as far as `CHORD` notes back, and of the notes before that the last `notes - CHORD`.

    Args:
      earlier: event i of the window sees notes of the `notes` columns from the i-th on.
      onset: `[rows, time]` int32, of the events, ticks since the piece began.
      notes: how many notes an event can see, more than `CHORD`.
      lags: in ticks.
      time_base: the grid.
    """
    rows, time = tf.shape(onset)[0], tf.shape(onset)[1]
    places = tf.range(time)[:, None] + notes - 1 - tf.range(CHORD)  # the newest first
    pitch = tf.gather(earlier.pitch, places, axis=1)  # [rows, time, CHORD]
    with_it = (tf.gather(earlier.onset, places, axis=1) == onset[..., None]) & (pitch != NO_PITCH)
    on_axis = tf.one_hot(tf.where(with_it, pitch - LOWEST, NO_PITCH), PITCHES)
    chord, chord_size = tf.reduce_sum(on_axis, axis=2), tf.reduce_sum(tf.cast(with_it, tf.int32), axis=2)
    seen_to = tf.range(time) + notes - chord_size
    if onset.shape[1] == 1:
        moment = tf.zeros([rows, 1], tf.int32)
    else:
        # A chord of more notes than are seen of it moves on with every note; so does what its notes see of the past.
        is_new = (chord_size == 0) | (chord_size == CHORD) | (tf.range(time) == 0)
        moment = tf.cumsum(tf.cast(is_new, tf.int32), axis=1) - 1
        num_moments = tf.reduce_max(moment[:, -1]) + 1
        order = tf.argsort(tf.where(is_new, tf.range(time), time + tf.range(time)), axis=1)[:, :num_moments]
        onset, seen_to = (tf.gather(column, order, axis=1, batch_dims=1) for column in (onset, seen_to))
    return Surroundings(_channels(earlier, onset, seen_to, notes, lags, time_base), moment, chord, chord_size)


def _channels(
    earlier: Memory, onset: tf.Tensor, seen_to: tf.Tensor, notes: int, lags: tuple[int, ...], time_base: str
) -> tf.Tensor:
    """Of moments `[rows, moments]`, each of which sees `notes - CHORD` columns in front of its `seen_to`."""
    column = tf.range(tf.shape(earlier.pitch)[1])
    visible = (column < seen_to[..., None]) & (column >= seen_to[..., None] - (notes - CHORD))
    age = onset[:, :, None] - earlier.onset[:, None, :]
    since_end = onset[:, :, None] - earlier.end[:, None, :]
    visible &= age > 0
    unit = 1.0 if time_base == BEATS else float(AGE_UNIT_MILLISECONDS)
    octave = np.float32(1 / np.log(2)) * tf.math.log1p(tf.cast(age, tf.float32) / unit)
    octave = tf.where(visible, tf.maximum(octave, 1.0), -1.0)
    shares = [tf.nn.relu(1 - tf.abs(octave - place)) for place in range(1, AGES + 1)]
    sounds, *were = [tf.cast(visible & (age >= lag) & (since_end < lag), tf.float32) for lag in (0, *lags)]
    kernels = [sounds, *shares, *were]
    kernels += [tf.zeros_like(sounds)] * (num_channels(lags) - len(kernels))
    place = earlier.pitch - LOWEST
    if onset.shape[1] == 1:
        return _scatter(tf.stack([kernel[:, 0] for kernel in kernels], axis=2), place)
    shape = tf.shape(visible)
    kernel = tf.reshape(tf.stack(kernels, axis=2), [shape[0], shape[1] * len(kernels), shape[2]])
    counts = tf.matmul(kernel, tf.one_hot(place, PITCHES))  # zeros beyond
    counts = tf.reshape(counts, [shape[0], shape[1], len(kernels), PITCHES])
    return tf.math.log1p(tf.transpose(counts, [0, 1, 3, 2]))


def _scatter(kernel: tf.Tensor, place: tf.Tensor) -> tf.Tensor:
    """Of one moment a row, note by note: a decoder's few rows take a third of the time of products.

    Args:
      kernel: `[rows, columns, num_channels]`, what each note adds.
      place: `[rows, columns]` int32, where on the axis; what lies beyond adds nothing.
    """
    inside = (place >= 0) & (place < PITCHES)
    kernel = tf.where(inside[..., None], kernel, 0.0)
    row = tf.range(tf.shape(place)[0])[:, None] + tf.zeros_like(place)
    at = tf.stack([row, tf.where(inside, place, 0)], axis=2)
    counts = tf.scatter_nd(at, kernel, [tf.shape(place)[0], PITCHES, kernel.shape[2]])
    return tf.math.log1p(counts)[:, None]


def around(found: Surroundings, pitch: tf.Tensor) -> tf.Tensor:
    """`[rows, time, around_size]`: what lies around a pitch, zeros where the axis ends.

    Args:
      found: of the events.
      pitch: `[rows, time]` int32; of `NO_PITCH` all is zero.
    """
    size, width = 2 * INPUT_REACH + 1, found.channels.shape[3]
    ends = [INPUT_REACH, INPUT_REACH]
    length = PITCHES + 2 * INPUT_REACH
    place = pitch - LOWEST
    inside = (place >= 0) & (place < PITCHES)
    places = tf.where(inside, place, 0)[..., None] + tf.range(size)
    rows, time = tf.shape(pitch)[0], tf.shape(pitch)[1]
    channels = tf.pad(found.channels, [[0, 0], [0, 0], ends, [0, 0]])
    channels = tf.reshape(channels, [rows, tf.shape(channels)[1] * length, width])
    window = tf.gather(channels, found.moment[..., None] * length + places, axis=1, batch_dims=1)
    chord = tf.gather(tf.pad(found.chord, [[0, 0], [0, 0], ends]), places, axis=2, batch_dims=2)
    both = tf.concat([tf.reshape(window, [rows, time, size * width]), chord], axis=2)
    return tf.where(inside[..., None], both, 0.0)


def on_pitch_axis(scores: tf.Tensor, width: int) -> tf.Tensor:
    """`[..., width]` logits of a pitch head from the scores `[..., PITCHES]`: zeros for pitches without channels."""
    after = width - LOWEST - PITCHES
    return tf.pad(scores, [[0, 0]] * (len(scores.shape) - 1) + [[LOWEST, after]])
