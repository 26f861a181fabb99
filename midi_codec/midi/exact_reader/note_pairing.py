"""Pairs the note-ons and note-offs of a file's tracks, on whole columns.

A *key* is a pitch of a channel in a track. If a key has an end for every note-on, they are paired first in, first out.
If not, that would shift the ends of all later notes, so then

- an end stops every note of the key that began before its tick, or, if there is none, those that began at its tick;
- a note stops at the latest when its key is struck again, at the last note event of the piece, or at the end of its
  track.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from midi_codec.midi.exact_reader.file_messages import FileMessages
from midi_codec.midi.exact_reader.track_events import CONTROL_CHANGE, NOTE_ON


@dataclasses.dataclass(frozen=True, eq=False)
class PairedNotes:
    """The notes of a file, by track and key."""

    row: np.ndarray  # [n] int64, of the note-on among the messages
    start: np.ndarray  # [n] int64, ticks
    end: np.ndarray  # [n] int64
    pitch: np.ndarray  # [n] uint8
    velocity: np.ndarray  # [n] uint8


def pair_notes(messages: FileMessages) -> PairedNotes:
    """The notes of a file's messages, in O(n log n) time."""
    rows = np.flatnonzero(messages.status < CONTROL_CHANGE)
    key = messages.track[rows] << 11 | (messages.status[rows] & 0x0F) << 7 | messages.first[rows]
    order = np.argsort(key, kind="stable")
    rows, key = rows[order], key[order]
    tick = messages.tick[rows]
    is_on = (messages.status[rows] >= NOTE_ON) & (messages.second[rows] > 0)
    ends, lacks_end = _first_in_first_out(is_on, np.diff(key, prepend=-1) != 0)
    starts = np.flatnonzero(is_on)
    end = np.empty(len(starts), np.int64)
    played = lacks_end[starts]
    end[~played] = tick[ends[~lacks_end[ends]]]
    if played.any():
        last = np.minimum(messages.last_ticks[messages.track[rows[starts[played]]]], tick.max())
        end[played] = np.minimum(_play(tick[lacks_end], is_on[lacks_end], key[lacks_end]), last)
    return PairedNotes(
        row=rows[starts],
        start=tick[starts],
        end=end,
        pitch=messages.first[rows[starts]].astype(np.uint8),
        velocity=messages.second[rows[starts]].astype(np.uint8),
    )


def _first_in_first_out(is_on: np.ndarray, begins: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """`(rows of ends that end a note, whether the row's key has too few ends)`, from rows sorted by key.

    The number of sounding notes cannot fall below 0: if a running sum of +1 and -1 would reach a new minimum, there is
    no note to end.
    """
    segment = np.cumsum(begins) - 1
    first = np.flatnonzero(begins)
    total = np.cumsum(np.where(is_on, 1, -1))
    total -= np.concatenate([[0], total])[first][segment] if len(first) else 0
    apart = segment * (2 * len(is_on) + 2)  # so that the minimum of one key does not affect the next
    low = np.minimum(np.minimum.accumulate(total - apart) + apart, 0)
    low_before = np.concatenate([[0], low[:-1]])
    low_before[begins] = 0
    has_note = ~is_on & (low == low_before)
    sounding = np.bincount(segment, np.where(is_on, 1.0, np.where(has_note, -1.0, 0.0)))
    return np.flatnonzero(has_note), (sounding > 0)[segment]


def _play(tick: np.ndarray, is_on: np.ndarray, key: np.ndarray) -> np.ndarray:
    """`[note-ons]` int64: the tick at which an end or the next stroke stops each note, 2^62 for neither.

    All messages of a key at one tick are a *moment*. A note may stop in the moment in which it began: if more ends
    follow the moment's first note-on than an earlier note needs.

    Args:
      tick, is_on, key: `[rows]`, sorted by key, then by tick.
    """
    size = len(tick)
    first = np.flatnonzero((np.diff(key, prepend=-1) != 0) | (np.diff(tick, prepend=-1) != 0))
    stop = np.append(first[1:], size)
    moment = np.repeat(np.arange(len(first)), stop - first)
    ends_before = np.concatenate([[0], np.cumsum(~is_on)])
    strikes = np.logical_or.reduceat(is_on, first)
    first_on = np.minimum.reduceat(np.where(is_on, np.arange(size), size), first)
    last_on = np.maximum.reduceat(np.where(is_on, np.arange(size), -1), first)
    num_ends = ends_before[stop] - ends_before[first]
    ends_after = ends_before[stop] - ends_before[np.minimum(first_on, stop)]  # after the first note-on
    has_earlier = _has_earlier(key[first], strikes, num_ends, ends_after, ends_before[stop] - ends_before[last_on])
    starts = np.flatnonzero(is_on)
    at = moment[starts]
    stops_at_once = (ends_before[stop][at] > ends_before[starts]) & (ends_after[at] > has_earlier[at])
    has_next = np.append(np.diff(key[first]) == 0, False)
    next_tick = np.where(has_next, np.append(tick[first][1:], 0), 1 << 62)
    return np.where(stops_at_once, tick[starts], next_tick[at])


def _has_earlier(
    key: np.ndarray, strikes: np.ndarray, num_ends: np.ndarray, ends_after: np.ndarray, ends_last: np.ndarray
) -> np.ndarray:
    """`[moments]` bool: whether a note from an earlier moment sounds when the key is struck in this one.

    It does if the previous moment has a note that it does not stop itself, and no end comes between. Whether that
    moment stops its last note may depend on the one before it; then the answer is the same as there.

    Args:
      key: `[moments]`.
      strikes: whether the moment has a note-on.
      num_ends, ends_after, ends_last: its ends; those after its first note-on; those after its last note-on.
    """
    same_key = np.diff(key, prepend=-1) == 0
    free = num_ends == ends_after  # no end comes before its first note-on
    sounds_on = strikes & (ends_last == 0)
    depends = strikes & (ends_last > 0) & (ends_after == 1)
    before = np.arange(len(key)) - 1
    linked = same_key & free & strikes
    is_set = ~(linked & depends[before])
    value = linked & sounds_on[before]
    source = np.maximum.accumulate(np.where(is_set, np.arange(len(key)), -1))
    return (value & is_set)[source]
