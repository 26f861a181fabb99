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


class Past(NamedTuple):
    """What copying knows of each row's piece.

    Attributes:
      bins: `[rows, size + BEYOND, num_fields]` int32, of the last notes, the newest last; `MISSING` where there is
        none.
      runs: `[rows, matchers, size]` int32; at index d: how many of the last notes, at most `LONGEST`, agree with those
        d + 1 notes before.
    """

    bins: tf.Tensor
    runs: tf.Tensor


class Candidates(NamedTuple):
    """What the events may copy.

    Attributes:
      bins: `[rows, time, NUM_EARLIER, num_fields]` int32, `MISSING` where there is none.
      levels: `[rows, time, matchers]` int32, how many of the orders match.
      past: `[rows, size + time, num_fields]` int32; event t comes after note t + size and may copy `size` notes.
      size: how many notes an event sees.
    """

    bins: tf.Tensor
    levels: tf.Tensor
    past: tf.Tensor
    size: int


def nothing_before(rows: int | tf.Tensor, *, size: int, num_fields: int) -> Past:
    """The past of pieces that have not begun."""
    return Past(tf.fill([rows, size + BEYOND, num_fields], MISSING), tf.zeros([rows, len(MATCHERS), size], tf.int32))


def past_of(table: fields_lib.FieldTable, bins: tf.Tensor, is_note: tf.Tensor, size: int) -> Past:
    """The past after given notes, `[rows, size + BEYOND, num_fields]` bins, missing ones first."""
    bins = tf.where(tf.cast(is_note, tf.bool)[..., None], bins, MISSING)
    bins = tf.ensure_shape(bins, [None, size + BEYOND, len(table)])
    return Past(bins, _runs(_agreements(table, bins, time=LONGEST, size=size)))


def past_after(table: fields_lib.FieldTable, past: Past, bins: tf.Tensor, counts: tf.Tensor) -> Past:
    """The past after the first `counts` `[rows]` of some notes, `[rows, notes, num_fields]` bins."""
    length, size = past.bins.shape[1], past.runs.shape[2]
    index = counts[:, None] + tf.range(length)
    bins = tf.gather(tf.concat([past.bins, bins], axis=1), index, axis=1, batch_dims=1)
    return past_of(table, bins, tf.ones(tf.shape(bins)[:2]), size)


def _tokens(table: fields_lib.FieldTable, bins: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """`[matchers, rows, notes]` int32 that are equal where notes agree, and whether there is one."""
    step, pitch = (bins[..., table.names.index(name)] for name in ("step", "pitch"))
    program = bins[..., table.names.index("program")] if "program" in table.names else tf.zeros_like(pitch)
    before = tf.pad(pitch[:, :-1], [[0, 0], [1, 0]], constant_values=MISSING)
    base = program * table["step"].num_bins + step
    width = 256  # more than there are pitches, and than there are intervals
    tokens = tf.stack([base * width + pitch, base * width + 128 + pitch - before, program * width + pitch])
    is_note = pitch >= 0
    return tokens, tf.stack([is_note, is_note & (before >= 0), is_note])


def _agreements(table: fields_lib.FieldTable, bins: tf.Tensor, *, time: int, size: int) -> tf.Tensor:
    """`[matchers, rows, time, size]` bool: whether each of the last `time` notes agrees with that d + 1 notes before.

    Args:
      bins: `[rows, notes, num_fields]`.
      time: how many notes.
      size: the largest distance; notes that are not there agree with none.
    """
    tokens, is_there = _tokens(table, bins)
    tokens = tf.where(is_there, tokens, MISSING)
    length = bins.shape[1] if bins.shape[1] is not None else tf.shape(bins)[1]
    own = tokens[:, :, length - time :]
    padded = tf.pad(tokens, [[0, 0], [0, 0], [size, 0]], constant_values=MISSING - 1)
    index = length - time + size + tf.range(time)[:, None] - 1 - tf.range(size)
    return (tf.gather(padded, index, axis=2) == own[..., None]) & (own[..., None] != MISSING)


def _runs(agreements: tf.Tensor) -> tf.Tensor:
    """`[rows, matchers, size]`, `Past.runs` from the agreements of the last `LONGEST` notes."""
    latest_first = tf.cast(tf.reverse(agreements, [2]), tf.int32)
    return tf.transpose(tf.reduce_sum(tf.math.cumprod(latest_first, axis=2), axis=2), [1, 0, 2])


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
    notes = tf.concat([past.bins, tf.where(tf.cast(is_note, tf.bool)[..., None], bins, MISSING)], axis=1)
    agreements = _agreements(table, notes, time=time + LONGEST, size=size)
    before = agreements[:, :, :-1]  # the last note is before no event of the window
    nearest, matched = [], before
    for order in ORDERS:
        nearest.append(_nearest(matched[:, :, LONGEST - 1 :]))
        shifted = tf.pad(matched[:, :, :-order], [[0, 0], [0, 0], [order, 0], [0, 0]])
        matched &= shifted
    candidates = _candidates(
        table, notes[:, BEYOND - 1 : -1], tf.transpose(tf.stack(nearest, axis=1), [2, 3, 0, 1]), size
    )
    return candidates, Past(notes[:, -(size + BEYOND) :], _runs(agreements[:, :, -LONGEST:]))


def event_candidates(table: fields_lib.FieldTable, past: Past) -> Candidates:
    """The candidates of one more event."""
    size = past.runs.shape[2]
    nearest = [_nearest(past.runs >= order) for order in ORDERS]
    return _candidates(table, past.bins[:, BEYOND - 1 :], tf.stack(nearest, axis=2)[:, None], size)


def remember(table: fields_lib.FieldTable, past: Past, bins: tf.Tensor) -> Past:
    """The past with one more note, `[rows, num_fields]` bins."""
    notes = tf.concat([past.bins[:, 1:], bins[:, None]], axis=1)
    agrees = tf.transpose(_agreements(table, notes, time=1, size=past.runs.shape[2])[:, :, 0], [1, 0, 2])
    return Past(notes, tf.where(agrees, tf.minimum(past.runs + 1, LONGEST), 0))


def _nearest(is_match: tf.Tensor) -> tf.Tensor:
    """`[...]` int32, the smallest index that is True on the last axis; its size where none is."""
    size = is_match.shape[-1]
    return tf.reduce_min(tf.where(is_match, tf.range(size), size), axis=-1)


def _candidates(table: fields_lib.FieldTable, notes: tf.Tensor, nearest: tf.Tensor, size: int) -> Candidates:
    """Gathers the notes that followed.

    Args:
      notes: `[rows, size + time, num_fields]`; event t comes after note t + size.
      nearest: `[rows, time, matchers, orders]`, distances minus one; `size` where nothing matches.
    """
    rows, time = tf.shape(nearest)[0], tf.shape(nearest)[1]
    is_there = nearest < size
    flat = [rows, time, NUM_MATCHES]
    last = tf.range(time)[None, :, None] + size
    index = tf.reshape(tf.where(is_there, last[..., None] - nearest, 1), flat)
    index = tf.concat([index, tf.tile(last - tf.range(LAST_NOTES), [rows, 1, 1])], axis=2)
    bins = tf.gather(notes, index, axis=1, batch_dims=1)
    exists = tf.concat([tf.reshape(is_there, flat), tf.ones([rows, time, LAST_NOTES], tf.bool)], axis=2)

    pitch = table.names.index("pitch")
    moved = slice(TRANSPOSED * len(ORDERS), (TRANSPOSED + 1) * len(ORDERS))
    own = tf.gather(notes[..., pitch], last[..., 0] + tf.zeros([rows, 1], tf.int32), axis=1, batch_dims=1)
    match = tf.gather(notes[..., pitch], index[..., moved] - 1, axis=1, batch_dims=1)
    transposed = bins[:, :, moved, pitch] + own[..., None] - match
    transposed = tf.where(
        (transposed >= 0) & (transposed < table["pitch"].num_bins) & (match >= 0), transposed, MISSING
    )
    pitches = tf.concat([bins[:, :, : moved.start, pitch], transposed, bins[:, :, moved.stop :, pitch]], axis=2)
    columns = [pitches if column == pitch else bins[..., column] for column in range(len(table))]
    bins = tf.where(exists[..., None], tf.stack(columns, axis=3), MISSING)
    return Candidates(bins, tf.reduce_sum(tf.cast(is_there, tf.int32), axis=3), notes, size)


def same_pitch(table: fields_lib.FieldTable, candidates: Candidates, pitch: tf.Tensor) -> tf.Tensor:
    """`[rows, time, num_fields]` bins of the last note with each event's pitch `[rows, time]`; `MISSING` if none."""
    last = tf.range(tf.shape(pitch)[1])[:, None] + candidates.size
    seen = tf.gather(candidates.past[..., table.names.index("pitch")], last - tf.range(candidates.size), axis=1)
    nearest = _nearest(seen == pitch[..., None])
    is_there = nearest < candidates.size
    index = tf.where(is_there, last[:, 0] - nearest, 0)
    return tf.where(is_there[..., None], tf.gather(candidates.past, index, axis=1, batch_dims=1), MISSING)
