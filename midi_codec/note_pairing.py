"""Pairs the note-ons and note-offs of a track, on whole columns.

A *key* is a pitch of a channel. First in, first out, where a key has an end for every note-on. Where it has
not, first in, first out would shift the ends of all later notes, so there an end stops everything that
sounds on the key, as on an instrument, and what sounds when the track ends, ends there.

A note takes the program that its channel has when it begins, 128 on the drum channel.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from midi_codec.notes import DRUM_PROGRAM
from midi_codec.track_events import CONTROL_CHANGE, NOTE_ON, PROGRAM_CHANGE, TrackEvents

DRUM_CHANNEL = 9


@dataclasses.dataclass(frozen=True, eq=False)
class TrackNotes:
    """The notes of one track, by key."""

    start: np.ndarray  # [n] int64, ticks
    end: np.ndarray  # [n] int64
    pitch: np.ndarray  # [n] uint8
    velocity: np.ndarray  # [n] uint8
    program: np.ndarray  # [n] uint8
    channel: np.ndarray  # [n] int64, 0..15


def pair_notes(events: TrackEvents) -> TrackNotes:
    """The notes of a track's events, in time that grows as n log n."""
    ticks = np.array(events.ticks, np.int64)
    messages = np.array(events.messages, np.int64)
    status = messages >> 16
    rows = np.flatnonzero(status < CONTROL_CHANGE)
    key = (status[rows] & 0x0F) << 7 | messages[rows] >> 8 & 0x7F
    order = np.argsort(key, kind="stable")
    rows, key = rows[order], key[order]
    velocity = np.where(status[rows] >= NOTE_ON, messages[rows] & 0x7F, 0)
    is_on = velocity > 0
    begins = np.diff(key, prepend=-1) != 0
    ends, lacks_end = _first_in_first_out(is_on, begins)
    starts = np.flatnonzero(is_on)
    end_tick = np.empty(len(starts), np.int64)
    played = lacks_end[starts]
    end_tick[~played] = ticks[rows[ends[~lacks_end[ends]]]]
    following = _next_end(is_on, key)[starts[played]]
    end_tick[played] = np.where(following < 0, events.last_tick, ticks[rows[following]] if len(rows) else 0)
    channel = key[starts] >> 7
    program = _programs(rows[starts], channel, status, messages)
    return TrackNotes(
        start=ticks[rows[starts]],
        end=end_tick,
        pitch=(key[starts] & 0x7F).astype(np.uint8),
        velocity=velocity[starts].astype(np.uint8),
        program=np.where(channel == DRUM_CHANNEL, DRUM_PROGRAM, program).astype(np.uint8),
        channel=channel,
    )


def _first_in_first_out(is_on: np.ndarray, begins: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """`(the ends that end a note, whether the row's key has too few of them)`, from rows sorted by key.

    The number of sounding notes is a sum that cannot fall below 0: where a running sum of +1 and -1 would
    reach a new low, there is nothing to end.
    """
    segment = np.cumsum(begins) - 1
    first = np.flatnonzero(begins)
    total = np.cumsum(np.where(is_on, 1, -1))
    total -= np.concatenate([[0], total])[first][segment] if len(first) else 0
    apart = segment * (2 * len(is_on) + 2)  # so that the lows of one key do not reach into the next
    low = np.minimum(np.minimum.accumulate(total - apart) + apart, 0)
    low_before = np.concatenate([[0], low[:-1]])
    low_before[begins] = 0
    has_note = ~is_on & (low == low_before)
    sounding = np.bincount(segment, np.where(is_on, 1.0, np.where(has_note, -1.0, 0.0)))
    return np.flatnonzero(has_note), (sounding > 0)[segment]


def _next_end(is_on: np.ndarray, key: np.ndarray) -> np.ndarray:
    """`[rows]`: the next end on the same key, -1 for none."""
    size = len(is_on)
    places = np.where(is_on, size, np.arange(size))
    following = np.minimum.accumulate(places[::-1])[::-1]
    found = following < size
    following = np.where(found, following, -1)
    return np.where(found & (key[following] == key), following, -1)


def _programs(rows: np.ndarray, channel: np.ndarray, status: np.ndarray, messages: np.ndarray) -> np.ndarray:
    """`[n]` int64, the program of each note's channel when it begins; rows count a track's messages."""
    programs = np.zeros(len(rows), np.int64)
    changes = np.flatnonzero(status & 0xF0 == PROGRAM_CHANGE)
    for of_channel in np.unique(status[changes] & 0x0F):
        own = changes[status[changes] & 0x0F == of_channel]
        notes = np.flatnonzero(channel == of_channel)
        last = np.searchsorted(own, rows[notes]) - 1
        programs[notes] = np.where(last >= 0, messages[own[last]] >> 8 & 0x7F, 0)
    return programs
