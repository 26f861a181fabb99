"""What sounded a given time ago: candidates for copying that need no match.

Music repeats beats and bars. For each lag the candidate is the note that comes next if the piece repeats what it played
that long ago: the first note that follows, in the order of onset, pitch and program, the last note moved back by the
lag. A wrong note does not end such a repeat, as it ends a match (`trainer.model.attention.matches`), and neither do
other instruments. How many of the last `HISTORY` notes had an equal one a lag before says what a candidate is worth.

A generated piece that leaves a note out would never get it back: what is copied from it later lacks the note too. So
training hides some of the earlier notes, and the model learns to fill the gaps (`hidden`).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import tensorflow as tf

from midi_codec import fields as fields_lib
from trainer.model import random_streams
from trainer.model.attention.matches import MISSING, notes_at
from trainer.model.attention.sources import HISTORY
from trainer.model.field_bins import encode_bins
from trainer.model.model_config import MAX_CONTEXT_TICKS

SHARES = (1, 5, 9, 13, HISTORY)  # of the last notes, at least as many repeated earlier ones
NUM_SHARES = len(SHARES) + 1
NEVER = np.int64(2**62)
OLDEST = -2 * MAX_CONTEXT_TICKS  # ticks before the present; no lag reaches further

Lags = tuple[int, ...]


class Moments(NamedTuple):
    """When the last notes of each row's piece began, and which of them repeated earlier ones.

    Attributes:
      onset: `[rows, notes]` int32, ticks from any origin, of the notes in `past.Past.bins`.
      repeated: `[rows, lags, HISTORY]` int8, 1 for each of the last notes that had an equal one a lag before.
      place: `[rows, lags]` int32, the index in `onset` of the first note after the last one moved back by the lag.
    """

    onset: tf.Tensor
    repeated: tf.Tensor
    place: tf.Tensor


class Echoes(NamedTuple):
    """The candidates of events.

    Attributes:
      bins: `[rows, time, lags, num_fields]` int32, `MISSING` where there is none.
      shares: `[rows, time, lags]` int32, which of `SHARES` are reached; 0 where there is no candidate.
    """

    bins: tf.Tensor
    shares: tf.Tensor


class _Notes(NamedTuple):
    """Notes in order.

    Attributes:
      key: `[rows, n]` int64, ascending: by onset, pitch and program; what is no note comes before or after all.
      columns: `[rows, num_fields, n]` int32 bins.
      onset: `[rows, n]` int32.
    """

    key: tf.Tensor
    columns: tf.Tensor
    onset: tf.Tensor


def hidden(keys: tf.Tensor | None, *, rate: float, stream: int, notes: int | tf.Tensor) -> tf.Tensor | None:
    """`[rows, notes]` bool, notes that echoes do not find: in each row a share of its own, up to twice `rate`.

    Args:
      keys: `[rows, 2]` uint32; None hides nothing.
      rate: the mean share.
      stream: which of a key's streams.
      notes: how many there are.
    """
    if keys is None or rate == 0:
        return None
    uniform = random_streams.uniform_rows(keys, stream=stream, width=4 * (notes // 4 + 1))
    return uniform[:, 1 : notes + 1] < 2 * rate * uniform[:, :1]


def no_moments(rows: int | tf.Tensor, *, notes: int, num_lags: int) -> Moments:
    """Those of pieces that have not begun."""
    repeated = tf.zeros([rows, num_lags, HISTORY], tf.int8)
    return Moments(tf.zeros([rows, notes], tf.int32), repeated, tf.zeros([rows, num_lags], tf.int32))


def moments_of(table: fields_lib.FieldTable, columns: tf.Tensor, onset: tf.Tensor, lags: Lags, *, size: int) -> Moments:
    """The moments after notes with bins `[rows, num_fields, size + BEYOND]` and onsets `[rows, size + BEYOND]`."""
    notes = _notes(table, columns, onset)
    index = tf.shape(onset)[1] - HISTORY + tf.range(HISTORY)
    place, is_repeat = _search(table, notes.key, notes.key, index, lags, size)
    return Moments(onset, tf.cast(is_repeat, tf.int8), place[:, :, -1])


def remember(
    table: fields_lib.FieldTable, moments: Moments, columns: tf.Tensor, step: tf.Tensor, lags: Lags, *, size: int
) -> Moments:
    """The moments with one more note, the last of `columns`, `step` `[rows]` ticks after the one before."""
    now = moments.onset[:, -1:] + step[:, None]
    onset = tf.concat([moments.onset[:, 1:], now], axis=1)
    rank, last = _ranks(table, tf.cast(columns, tf.int32)), onset.shape[1] - 1
    key = tf.maximum(onset - now, OLDEST) * _keys_per_tick(table) + rank  # int32 is faster than the keys of a window
    key = tf.where(rank >= 0, key, tf.int32.min)
    target = rank[:, -1:] - tf.constant(lags) * _keys_per_tick(table)
    place = tf.reduce_sum(tf.cast(key[:, None] <= target[..., None], tf.int32), axis=2)
    found = tf.maximum(place - 1, 0)
    is_repeat = (tf.gather(key, found, axis=1, batch_dims=1) == target) & (found >= last - size)
    repeated = tf.concat([moments.repeated[:, :, 1:], tf.cast(is_repeat, tf.int8)[..., None]], axis=2)
    return Moments(onset, repeated, place)


def of_window(
    table: fields_lib.FieldTable,
    columns: tf.Tensor,
    onset: tf.Tensor,
    lags: Lags,
    *,
    time: int | tf.Tensor,
    size: int,
    is_hidden: tf.Tensor | None = None,
) -> Echoes:
    """The candidates of the last `time` events, the last of which comes after the last note but one.

    Args:
      columns: `[rows, num_fields, size + BEYOND + time]` int32 bins of the notes.
      onset: `[rows, size + BEYOND + time]` int32.
      lags: in ticks.
      time: how many events.
      size: how many notes an event can copy from.
      is_hidden: of the notes, or None.
    """
    notes = _notes(table, columns, onset)
    memory = notes if is_hidden is None else _without(notes, is_hidden)
    last = tf.shape(onset)[1] - 1 - time + tf.range(time)  # the note before each event
    index = last[0] - HISTORY + 1 + tf.range(time + HISTORY - 1)
    place, is_repeat = _search(table, memory.key, notes.key, index, lags, size)
    totals = tf.cumsum(tf.pad(tf.cast(is_repeat, tf.int32), [[0, 0], [0, 0], [1, 0]]), axis=2)
    counts = totals[:, :, HISTORY:] - totals[:, :, :-HISTORY]
    place, counts = (tf.transpose(each, [0, 2, 1]) for each in (place[:, :, HISTORY - 1 :], counts))
    now = tf.gather(onset, last, axis=1)
    return _echoes(table, memory.columns, memory.onset, now, last, place, lags, size, counts)


def of_event(table: fields_lib.FieldTable, columns: tf.Tensor, moments: Moments, lags: Lags, *, size: int) -> Echoes:
    """The candidates of the event after the notes `[rows, num_fields, size + BEYOND]`."""
    counts = tf.reduce_sum(tf.cast(moments.repeated, tf.int32), axis=2)
    last, onset = tf.shape(moments.onset)[1:] - 1, moments.onset
    return _echoes(table, columns, onset, onset[:, -1:], last, moments.place[:, None], lags, size, counts[:, None])


def _notes(table: fields_lib.FieldTable, columns: tf.Tensor, onset: tf.Tensor) -> _Notes:
    rank = _ranks(table, columns)
    is_note = rank >= 0
    is_after = tf.cumsum(tf.cast(is_note, tf.int32), axis=1) > 0
    key = tf.cast(onset, tf.int64) * _keys_per_tick(table) + tf.cast(rank, tf.int64)
    return _Notes(tf.where(is_note, key, tf.where(is_after, NEVER, -NEVER)), columns, onset)


def _ranks(table: fields_lib.FieldTable, columns: tf.Tensor) -> tf.Tensor:
    """`[rows, n]` int32, the order of notes that begin together; below 0 where there is none."""
    pitch = columns[:, table.names.index("pitch")]
    if "program" not in table.names:
        return pitch
    return tf.where(pitch >= 0, pitch * _num_programs(table) + columns[:, table.names.index("program")], MISSING)


def _num_programs(table: fields_lib.FieldTable) -> int:
    return table["program"].num_bins if "program" in table.names else 1


def _keys_per_tick(table: fields_lib.FieldTable) -> int:
    return table["pitch"].num_bins * _num_programs(table)


def _without(notes: _Notes, is_hidden: tf.Tensor) -> _Notes:
    """The notes with the hidden ones at the end, where no search finds them."""
    key = tf.where(is_hidden & (notes.key > -NEVER), NEVER, notes.key)
    order = tf.argsort(key, axis=1, stable=True)
    columns = tf.where(is_hidden[:, None], MISSING, notes.columns)
    return _Notes(
        tf.gather(key, order, batch_dims=1),
        tf.gather(columns, order, axis=2, batch_dims=1),
        tf.gather(notes.onset, order, batch_dims=1),
    )


def _search(
    table: fields_lib.FieldTable, memory: tf.Tensor, key: tf.Tensor, index: tf.Tensor, lags: Lags, size: int
) -> tuple[tf.Tensor, tf.Tensor]:
    """For the notes at `index` `[m]` moved back by each lag: how many keys of the memory come up to theirs, and whether
    one of `size` notes before is equal.

    Both are `[rows, lags, m]`.
    """
    moved = tf.constant(lags, tf.int64)[:, None] * _keys_per_tick(table)
    target = tf.gather(key, index, axis=1)[:, None] - moved
    flat = tf.reshape(target, [tf.shape(key)[0], -1])
    place = tf.reshape(tf.searchsorted(memory, flat, side="right"), tf.shape(target))
    found = tf.maximum(place - 1, 0)
    return place, (tf.gather(memory, found, axis=1, batch_dims=1) == target) & (found >= index - size)


def _echoes(
    table: fields_lib.FieldTable,
    columns: tf.Tensor,
    onset: tf.Tensor,
    now: tf.Tensor,
    last: tf.Tensor,
    place: tf.Tensor,
    lags: Lags,
    size: int,
    counts: tf.Tensor,
) -> Echoes:
    """Gathers the notes that come next.

    Args:
      columns, onset: `[rows, num_fields, n]` and `[rows, n]` int32, the notes to copy.
      now: `[rows, time]` int32, the onset of the note before each event.
      last: `[time]` int32, that note's index.
      place: `[rows, time, lags]` int32, the first note to copy after that one moved back by each lag.
      counts: `[rows, time, lags]` int32, how many of the last `HISTORY` notes repeated earlier ones.
    """
    index = tf.minimum(place, tf.shape(onset)[1] - 1)
    bins = notes_at(columns, index)
    pitch = table.names.index("pitch")
    before = tf.gather(columns[:, pitch], tf.maximum(index - 1, 0), axis=1, batch_dims=1)
    is_near = (place > last[:, None] - size) & (place <= last[:, None])
    exists = is_near & (before >= 0) & (bins[..., pitch] >= 0)
    wait = tf.gather(onset, index, axis=1, batch_dims=1) + tf.constant(lags) - now[..., None]
    step = encode_bins(table["step"], tf.maximum(wait, 0))
    parts = [step if name == "step" else bins[..., column] for column, name in enumerate(table.names)]
    shares = tf.add_n([tf.cast(counts >= least, tf.int32) for least in SHARES])
    return Echoes(tf.where(exists[..., None], tf.stack(parts, axis=3), MISSING), tf.where(exists, shares, 0))
