"""Which earlier moments of a piece resemble the present one, and what followed them.

The last notes of a piece are compared with every earlier stretch of it. Where as many notes agree as one of `ORDERS`
says, the note that followed there is a candidate for the next note:

    matcher       two notes agree if these are equal                  a candidate's pitch
    exact         step, pitch, program                                as it was
    transposed    step, interval to the note before, program          moved by the same interval
    pitches       pitch, program                                      as it was

Steps are equal if they are in the same bin; with `Sources.chord`, for music that was played, if both are within a chord
or neither is. For each matcher and order there is one candidate, the most recent one
within `size` notes. Runs, `[rows, matchers, size]` int8, say how many of the last notes, at most `LONGEST`, agree with
those up to each of the `size` notes before the last.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import tensorflow as tf

from midi_codec import fields as fields_lib
from trainer.model.attention.sources import BEYOND, MATCHERS, ORDERS, Sources

LONGEST = ORDERS[-1]
TRANSPOSED = MATCHERS.index("transposed")
MISSING = -1
NUM_LEVELS = len(ORDERS) + 1
NUM_DISTANCES = 10  # doublings: 1, 2, up to 4, up to 8 ... more than 256 notes


class Matches(NamedTuple):
    """What followed the moments that match.

    Attributes:
      bins: `[rows, time, matchers * orders, num_fields]` int32, `MISSING` where there is none.
      levels: `[rows, time, matchers]` int32, how many of the orders match.
      distances: the same shape, how far back the match of the highest order is, in doublings.
    """

    bins: tf.Tensor
    levels: tf.Tensor
    distances: tf.Tensor


def no_runs(rows: int | tf.Tensor, *, size: int) -> tf.Tensor:
    """The runs of pieces that have not begun."""
    return tf.zeros([rows, len(MATCHERS), size], tf.int8)


def runs_of(table: fields_lib.FieldTable, sources: Sources, columns: tf.Tensor) -> tf.Tensor:
    """The runs after the notes with these bins, `[rows, num_fields, size + BEYOND]`."""
    return _runs(_agreements(table, sources, columns, time=LONGEST))


def longer_runs(table: fields_lib.FieldTable, sources: Sources, columns: tf.Tensor, runs: tf.Tensor) -> tf.Tensor:
    """The runs with one more note, the last of `columns`."""
    found, size = [], sources.size
    for common in _what_agrees(table, sources, columns):
        equal = [column[:, -1:] == column[:, -1 - size : -1] for column in common]
        found.append(functools.reduce(tf.logical_and, [common[0][:, -1:] >= 0, *equal]))
    longer = tf.minimum(runs + tf.constant(1, tf.int8), tf.constant(LONGEST, tf.int8))
    return tf.where(tf.stack(found, axis=1), longer, tf.constant(0, tf.int8))


def of_window(
    table: fields_lib.FieldTable, sources: Sources, columns: tf.Tensor, *, time: int | tf.Tensor
) -> tuple[Matches, tf.Tensor]:
    """What the last `time` events may copy, the last of which comes after the last note but one, and the runs after.

    Args:
      columns: `[rows, num_fields, size + BEYOND + time]` int32 bins.
    """
    agreements = _agreements(table, sources, columns, time=time + LONGEST)
    latest, matched = [], agreements[:, :, :-1]  # the last note is before no event of the window
    for order in ORDERS:
        latest.append(latest_true(matched[:, :, LONGEST - 1 :]))
        matched &= tf.pad(matched[:, :, :-order], [[0, 0], [0, 0], [order, 0], [0, 0]])
    found = tf.transpose(tf.stack(latest, axis=1), [2, 3, 0, 1])
    return _matches(table, columns[:, :, BEYOND - 1 : -1], found, sources.size), _runs(agreements[:, :, -LONGEST:])


def of_event(table: fields_lib.FieldTable, columns: tf.Tensor, runs: tf.Tensor) -> Matches:
    """What the event after the notes `[rows, num_fields, size + 1]` may copy."""
    latest = tf.stack([latest_true(runs >= order) for order in ORDERS], axis=2)
    return _matches(table, columns, latest[:, None], runs.shape[2])


def latest_true(is_match: tf.Tensor) -> tf.Tensor:
    """`[...]` int32, the largest index that is True on the last axis; -1 where none is."""
    index = tf.range(is_match.shape[-1], dtype=tf.int32)
    return tf.reduce_max(tf.where(is_match, index, -1), axis=-1)


def notes_at(columns: tf.Tensor, index: tf.Tensor) -> tf.Tensor:
    """`[rows, time, n, num_fields]`, the notes of `[rows, num_fields, notes]` at `[rows, time, n]`."""
    flat = tf.reshape(index, [tf.shape(index)[0], -1])
    found = tf.transpose(tf.gather(columns, flat, axis=2, batch_dims=1), [0, 2, 1])
    return tf.reshape(found, tf.concat([tf.shape(index), [columns.shape[1]]], 0))


def _what_agrees(table: fields_lib.FieldTable, sources: Sources, columns: tf.Tensor) -> tuple[list[tf.Tensor], ...]:
    """For each matcher, the columns `[rows, notes - 1]` that two notes must have in common; the first note has none.

    Where there is no note, or an interval to none, the first of them is below 0.
    """
    step, pitch = (columns[:, table.names.index(name)] for name in ("step", "pitch"))
    program = [columns[:, table.names.index("program"), 1:]] if "program" in table.names else []
    before, pitch, step = pitch[:, :-1], pitch[:, 1:], step[:, 1:]
    if sources.chord:
        step = tf.cast(step > sources.chord_bin(table), columns.dtype)
    rising = pitch - before + table["pitch"].num_bins  # above 0 between two notes
    interval = tf.where((before >= 0) & (pitch >= 0), rising, tf.constant(MISSING, pitch.dtype))
    return [pitch, step, *program], [interval, step, *program], [pitch, *program]


def _agreements(
    table: fields_lib.FieldTable, sources: Sources, columns: tf.Tensor, *, time: int | tf.Tensor
) -> tf.Tensor:
    """`[matchers, rows, time, size]` bool: whether each of the last `time` notes agrees with the `size` before it.

    Args:
      table: the fields.
      sources: what is copied.
      columns: `[rows, num_fields, notes]`, at least `time` + `size` + 1 notes.
      time: how many notes.
    """
    size = sources.size
    length = tf.shape(columns)[2] - 1
    index = length - time - size + tf.range(time)[:, None] + tf.range(size)
    found = []
    for common in _what_agrees(table, sources, columns):
        own = [column[:, length - time :, None] for column in common]
        earlier = [tf.gather(column, index, axis=1) for column in common]
        equal = [one == other for one, other in zip(own, earlier, strict=True)]
        found.append(functools.reduce(tf.logical_and, [own[0] >= 0, *equal]))
    return tf.stack(found)


def _runs(agreements: tf.Tensor) -> tf.Tensor:
    """The runs from the agreements of the last `LONGEST` notes."""
    latest_first = tf.cast(tf.reverse(agreements, [2]), tf.int32)
    runs = tf.reduce_sum(tf.math.cumprod(latest_first, axis=2), axis=2)
    return tf.cast(tf.transpose(runs, [1, 0, 2]), tf.int8)


def _matches(table: fields_lib.FieldTable, columns: tf.Tensor, latest: tf.Tensor, size: int) -> Matches:
    """Gathers the notes that followed.

    Args:
      columns: `[rows, num_fields, size + time]`; event t comes after note t + size.
      latest: `[rows, time, matchers, orders]`, which of the `size` notes before note t + size match; -1 for none.
    """
    rows, time = tf.shape(latest)[0], tf.shape(latest)[1]
    is_there, flat = latest >= 0, [rows, time, len(MATCHERS) * len(ORDERS)]
    index = tf.range(time)[None, :, None] + 1 + tf.reshape(tf.maximum(latest, 0), flat)
    bins = notes_at(columns, index)
    # Where a longer match is the same moment, it speaks for the shorter ones: a moment counts once per matcher.
    is_own = is_there & (latest != tf.pad(latest[..., 1:], [[0, 0], [0, 0], [0, 0], [0, 1]], constant_values=-1))

    pitch = table.names.index("pitch")
    moved = slice(TRANSPOSED * len(ORDERS), (TRANSPOSED + 1) * len(ORDERS))
    own, pitches = columns[:, pitch, size:, None], bins[..., pitch]
    match = tf.gather(columns[:, pitch], index[..., moved] - 1, axis=1, batch_dims=1)
    transposed = pitches[..., moved] + own - match
    transposed = tf.where((transposed >= 0) & (transposed < table["pitch"].num_bins), transposed, MISSING)
    pitches = tf.concat([pitches[..., : moved.start], transposed, pitches[..., moved.stop :]], axis=2)
    parts = [pitches if column == pitch else bins[..., column] for column in range(len(table))]
    bins = tf.where(tf.reshape(is_own, flat)[..., None], tf.stack(parts, axis=3), MISSING)
    levels = tf.reduce_sum(tf.cast(is_there, tf.int32), axis=3)
    farthest = size - tf.reduce_min(tf.where(is_there, latest, size), axis=3)
    return Matches(bins, levels, _doublings(farthest))


def _doublings(distance: tf.Tensor) -> tf.Tensor:
    """`[...]` int32: 0 up to 1, 1 for 2, 2 up to 4, 3 up to 8, and so on."""
    return tf.add_n([tf.cast(distance > 2**power, tf.int32) for power in range(NUM_DISTANCES - 1)])
