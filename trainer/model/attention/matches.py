"""Which earlier moments of a piece resemble the present one, and what followed them.

The last notes of a piece are compared with every earlier stretch of it. Where as many notes agree as one of `ORDERS`
says, the note that followed there is a candidate for the next note:

    matcher       two notes agree if these are equal                  a candidate's pitch
    exact         step, pitch, program                                as it was
    transposed    step, interval to the note before, program          moved by the same interval
    pitches       pitch, program                                      as it was

Times are equal if they are in the same bin. For each matcher and order there is one candidate, the most recent one
within `size` notes. Further candidates are the last two notes themselves, and, once the pitch is known, the last note
with that pitch.

Nothing here is learned. A whole window and one event at a time give the same candidates.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import tensorflow as tf

from midi_codec import fields as fields_lib

ORDERS = (1, 2, 4, 8, 16)  # each twice the one before
LONGEST = ORDERS[-1]
BEYOND = LONGEST + 1  # notes before the farthest one that can be copied from: a match's, and one for an interval
MATCHERS = ("exact", "transposed", "pitches")
TRANSPOSED = MATCHERS.index("transposed")
LAST_NOTES = 2
NUM_MATCHES = len(MATCHERS) * len(ORDERS)
NUM_EARLIER = NUM_MATCHES + LAST_NOTES  # candidates that are known before the note's pitch
NUM_CANDIDATES = NUM_EARLIER + 1  # the last one is the last note of the same pitch
MISSING = -1
NUM_LEVELS = len(ORDERS) + 1
NUM_DISTANCES = 10  # doublings: 1, 2, up to 4, up to 8 ... more than 256 notes
NUM_AGES = 16  # doublings of the number of notes before an event


class Past(NamedTuple):
    """What copying knows of each row's piece.

    Small types, because a decoder moves all of it with every note.

    Attributes:
      bins: `[rows, num_fields, size + BEYOND]` int16, of the last notes, the newest last; `MISSING` where there is
        none.
      runs: `[rows, matchers, size]` int8: how many of the last notes, at most `LONGEST`, agree with those up to each of
        the notes in `bins` from `BEYOND - 1` on, the newest left out.
    """

    bins: tf.Tensor
    runs: tf.Tensor


class Candidates(NamedTuple):
    """What the events may copy.

    Attributes:
      bins: `[rows, time, NUM_EARLIER, num_fields]` int32, `MISSING` where there is none.
      levels: `[rows, time, matchers]` int32, how many of the orders match.
      distances: the same shape, how far back the match of the highest order is, in doublings.
      ages: `[rows, time]` int32, how many notes there are to copy, in doublings.
      past: `[rows, num_fields, size + time]` int32; event t comes after note t + size and may copy `size` notes.
      size: how many notes an event sees.
    """

    bins: tf.Tensor
    levels: tf.Tensor
    distances: tf.Tensor
    ages: tf.Tensor
    past: tf.Tensor
    size: int


def nothing_before(rows: int | tf.Tensor, *, size: int, num_fields: int) -> Past:
    """The past of pieces that have not begun."""
    no_note = tf.constant(MISSING, tf.int16)
    return Past(tf.fill([rows, num_fields, size + BEYOND], no_note), tf.zeros([rows, len(MATCHERS), size], tf.int8))


def past_of(table: fields_lib.FieldTable, bins: tf.Tensor, is_note: tf.Tensor, size: int) -> Past:
    """The past after given notes, `[rows, size + BEYOND, num_fields]` bins, missing ones first."""
    return _past(table, tf.ensure_shape(_columns(bins, is_note), [None, len(table), size + BEYOND]), size)


def past_after(table: fields_lib.FieldTable, past: Past, bins: tf.Tensor, counts: tf.Tensor) -> Past:
    """The past after the first `counts` `[rows]` of some notes, `[rows, notes, num_fields]` bins."""
    length, size = past.bins.shape[2], past.runs.shape[2]
    columns = tf.concat([tf.cast(past.bins, tf.int32), _columns(bins, tf.ones(tf.shape(bins)[:2]))], axis=2)
    return _past(table, tf.gather(columns, counts[:, None] + tf.range(length), axis=2, batch_dims=1), size)


def _past(table: fields_lib.FieldTable, columns: tf.Tensor, size: int) -> Past:
    """The past whose notes are these, `[rows, num_fields, size + BEYOND]`."""
    return Past(tf.cast(columns, tf.int16), _runs(_agreements(table, columns, time=LONGEST, size=size)))


def _columns(bins: tf.Tensor, is_note: tf.Tensor) -> tf.Tensor:
    """`[rows, num_fields, notes]` int32 of bins `[rows, notes, num_fields]`."""
    return tf.transpose(tf.where(tf.cast(is_note, tf.bool)[..., None], bins, MISSING), [0, 2, 1])


def _what_agrees(table: fields_lib.FieldTable, columns: tf.Tensor) -> tuple[list[tf.Tensor], ...]:
    """For each matcher, the columns `[rows, notes - 1]` that two notes must have in common; the first note has none.

    Where there is no note, or an interval to none, the first of them is below 0.
    """
    step, pitch = (columns[:, table.names.index(name)] for name in ("step", "pitch"))
    program = [columns[:, table.names.index("program"), 1:]] if "program" in table.names else []
    before, pitch, step = pitch[:, :-1], pitch[:, 1:], step[:, 1:]
    rising = pitch - before + table["pitch"].num_bins  # above 0 between two notes
    interval = tf.where((before >= 0) & (pitch >= 0), rising, tf.constant(MISSING, pitch.dtype))
    return [pitch, step, *program], [interval, step, *program], [pitch, *program]


def _agreements(table: fields_lib.FieldTable, columns: tf.Tensor, *, time: int | tf.Tensor, size: int) -> tf.Tensor:
    """`[matchers, rows, time, size]` bool: whether each of the last `time` notes agrees with the `size` before it.

    Args:
      columns: `[rows, num_fields, notes]`, at least `time` + `size` + 1 notes.
      time: how many notes.
      size: how many notes before.
    """
    length = tf.shape(columns)[2] - 1
    index = length - time - size + tf.range(time)[:, None] + tf.range(size)
    found = []
    for common in _what_agrees(table, columns):
        own = [column[:, length - time :, None] for column in common]
        earlier = [tf.gather(column, index, axis=1) for column in common]
        equal = [one == other for one, other in zip(own, earlier, strict=True)]
        found.append(functools.reduce(tf.logical_and, [own[0] >= 0, *equal]))
    return tf.stack(found)


def _runs(agreements: tf.Tensor) -> tf.Tensor:
    """`[rows, matchers, size]` int8, `Past.runs` from the agreements of the last `LONGEST` notes."""
    latest_first = tf.cast(tf.reverse(agreements, [2]), tf.int32)
    runs = tf.reduce_sum(tf.math.cumprod(latest_first, axis=2), axis=2)
    return tf.cast(tf.transpose(runs, [1, 0, 2]), tf.int8)


def window_candidates(
    table: fields_lib.FieldTable, past: Past, bins: tf.Tensor, is_note: tf.Tensor
) -> tuple[Candidates, Past]:
    """The candidates of a window's events, and the past after it.

    Args:
      past: at the start of the window.
      bins: `[rows, time, num_fields]` int32, of its notes.
      is_note: `[rows, time]`, 0 where there is none.
    """
    time, size = tf.shape(bins)[1], past.runs.shape[2]
    columns = tf.concat([tf.cast(past.bins, tf.int32), _columns(bins, is_note)], axis=2)
    agreements = _agreements(table, columns, time=time + LONGEST, size=size)
    latest, matched = [], agreements[:, :, :-1]  # the last note is before no event of the window
    for order in ORDERS:
        latest.append(_latest(matched[:, :, LONGEST - 1 :]))
        matched &= tf.pad(matched[:, :, :-order], [[0, 0], [0, 0], [order, 0], [0, 0]])
    found = tf.transpose(tf.stack(latest, axis=1), [2, 3, 0, 1])
    candidates = _candidates(table, columns[:, :, BEYOND - 1 : -1], found, size)
    kept = tf.ensure_shape(columns[:, :, -(size + BEYOND) :], past.bins.shape)
    return candidates, Past(tf.cast(kept, tf.int16), _runs(agreements[:, :, -LONGEST:]))


def event_candidates(table: fields_lib.FieldTable, past: Past) -> Candidates:
    """The candidates of one more event."""
    latest = tf.stack([_latest(past.runs >= order) for order in ORDERS], axis=2)
    columns = tf.cast(past.bins[:, :, BEYOND - 1 :], tf.int32)
    return _candidates(table, columns, latest[:, None], past.runs.shape[2])


def remember(table: fields_lib.FieldTable, past: Past, bins: tf.Tensor) -> Past:
    """The past with one more note, `[rows, num_fields]` bins."""
    columns = tf.concat([past.bins[:, :, 1:], tf.cast(bins, tf.int16)[:, :, None]], axis=2)
    found, size = [], past.runs.shape[2]
    for common in _what_agrees(table, columns):
        equal = [column[:, -1:] == column[:, -1 - size : -1] for column in common]
        found.append(functools.reduce(tf.logical_and, [common[0][:, -1:] >= 0, *equal]))
    longer = tf.minimum(past.runs + tf.constant(1, tf.int8), tf.constant(LONGEST, tf.int8))
    return Past(columns, tf.where(tf.stack(found, axis=1), longer, tf.constant(0, tf.int8)))


def _latest(is_match: tf.Tensor) -> tf.Tensor:
    """`[...]` int32, the largest index that is True on the last axis; -1 where none is."""
    index = tf.range(is_match.shape[-1], dtype=tf.int32)
    return tf.reduce_max(tf.where(is_match, index, -1), axis=-1)


def _candidates(table: fields_lib.FieldTable, columns: tf.Tensor, latest: tf.Tensor, size: int) -> Candidates:
    """Gathers the notes that followed.

    Args:
      columns: `[rows, num_fields, size + time]`; event t comes after note t + size.
      latest: `[rows, time, matchers, orders]`, which of the `size` notes before note t + size match; -1 for none.
    """
    rows, time = tf.shape(latest)[0], tf.shape(latest)[1]
    is_there, flat = latest >= 0, [rows, time, NUM_MATCHES]
    event = tf.range(time)[None, :, None]
    index = event + 1 + tf.reshape(tf.maximum(latest, 0), flat)
    last = tf.tile(event + size - tf.range(LAST_NOTES), [rows, 1, 1])
    bins = _gather(columns, tf.concat([index, last], axis=2))
    # Where a longer match is the same moment, it speaks for the shorter ones: a moment counts once per matcher.
    is_own = is_there & (latest != tf.pad(latest[..., 1:], [[0, 0], [0, 0], [0, 0], [0, 1]], constant_values=-1))
    exists = tf.concat([tf.reshape(is_own, flat), tf.ones([rows, time, LAST_NOTES], tf.bool)], axis=2)

    pitch = table.names.index("pitch")
    moved = slice(TRANSPOSED * len(ORDERS), (TRANSPOSED + 1) * len(ORDERS))
    own, pitches = columns[:, pitch, size:, None], bins[..., pitch]
    match = tf.gather(columns[:, pitch], index[..., moved] - 1, axis=1, batch_dims=1)
    transposed = pitches[..., moved] + own - match
    transposed = tf.where((transposed >= 0) & (transposed < table["pitch"].num_bins), transposed, MISSING)
    pitches = tf.concat([pitches[..., : moved.start], transposed, pitches[..., moved.stop :]], axis=2)
    parts = [pitches if column == pitch else bins[..., column] for column in range(len(table))]
    bins = tf.where(exists[..., None], tf.stack(parts, axis=3), MISSING)
    levels = tf.reduce_sum(tf.cast(is_there, tf.int32), axis=3)
    farthest = size - tf.reduce_min(tf.where(is_there, latest, size), axis=3)
    return Candidates(bins, levels, _doublings(farthest), _ages(columns[:, pitch], time, size), columns, size)


def _doublings(distance: tf.Tensor) -> tf.Tensor:
    """`[...]` int32: 0 up to 1, 1 for 2, 2 up to 4, 3 up to 8, and so on."""
    return tf.add_n([tf.cast(distance > 2**power, tf.int32) for power in range(NUM_DISTANCES - 1)])


def _ages(pitch: tf.Tensor, time: tf.Tensor, size: int) -> tf.Tensor:
    """`[rows, time]`, `Candidates.ages` from the pitches `[rows, size + time]`."""
    backs = [2**power for power in range(NUM_AGES - 1) if 2**power <= size]
    return tf.add_n([tf.cast(pitch[:, size + 1 - back : size + 1 - back + time] >= 0, tf.int32) for back in backs])


def _gather(columns: tf.Tensor, index: tf.Tensor) -> tf.Tensor:
    """`[rows, time, n, num_fields]`, the notes at `[rows, time, n]`."""
    flat = tf.reshape(index, [tf.shape(index)[0], -1])
    found = tf.transpose(tf.gather(columns, flat, axis=2, batch_dims=1), [0, 2, 1])
    return tf.reshape(found, tf.concat([tf.shape(index), [columns.shape[1]]], 0))


def same_pitch(table: fields_lib.FieldTable, candidates: Candidates, pitch: tf.Tensor) -> tf.Tensor:
    """`[rows, time, num_fields]` bins of the last note with each event's pitch `[rows, time]`; `MISSING` if none."""
    size, own = candidates.size, candidates.past[:, table.names.index("pitch")]
    event = tf.range(tf.shape(pitch)[1])
    seen = own[:, None, 1:] if pitch.shape[1] == 1 else tf.gather(own, event[:, None] + 1 + tf.range(size), axis=1)
    latest = _latest(seen == pitch[..., None])
    bins = _gather(candidates.past, (event + 1 + tf.maximum(latest, 0))[..., None])[:, :, 0]
    return tf.where((latest >= 0)[..., None], bins, MISSING)
