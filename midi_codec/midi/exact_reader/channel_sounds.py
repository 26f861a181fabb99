"""The program of each note: its channel's when it begins, whichever track sets it; drums are 128.

If the note's own track has a program change for the channel before the note, that one counts, because tracks of one
channel may disagree. Otherwise it is the last one of the other tracks up to and including the note's tick, or 0.
`part_modes` says which messages move the drums; the last of them up to a note's tick counts.
"""

from __future__ import annotations

import numpy as np

from midi_codec.midi import part_modes
from midi_codec.midi.exact_reader.file_messages import FileMessages
from midi_codec.midi.exact_reader.track_events import BANK, CONTROL_CHANGE, PROGRAM_CHANGE
from midi_codec.midi.part_modes import DRUM_CHANNEL, PART, SYSEX, UNDECIDED
from midi_codec.music.notes import DRUM_PROGRAM


def programs(messages: FileMessages, notes: np.ndarray) -> np.ndarray:
    """`[n]` uint8, the program of each note.

    Args:
      notes: `[n]` rows of note-ons.
    """
    last = _last_change(messages, np.flatnonzero(messages.kind == PROGRAM_CHANGE), notes)
    program = np.where(last >= 0, messages.first[last], 0) if len(messages.first) else last
    is_drum = messages.channel[notes] & 0x0F == DRUM_CHANNEL
    is_bank = (messages.kind == CONTROL_CHANGE) & (messages.first == BANK)
    is_part = (messages.status == SYSEX) & (messages.first == PART)
    if np.any(is_part | is_bank & (messages.second > 0)):
        is_drum = _drums(messages, notes, is_drum, is_bank, is_part)
    return np.where(is_drum, DRUM_PROGRAM, program).astype(np.uint8)


def _drums(
    messages: FileMessages, notes: np.ndarray, is_drum: np.ndarray, is_bank: np.ndarray, is_part: np.ndarray
) -> np.ndarray:
    """`[n]` bool: the last setting before a note, by a reset, for a part, or by a bank; `is_drum` if there is none."""
    is_change = messages.kind == PROGRAM_CHANGE
    rows = np.flatnonzero((messages.status == SYSEX) | is_bank | is_change)
    rows = rows[np.argsort(messages.tick[rows], kind="stable")]
    decided = np.full(len(messages.tick), UNDECIDED)
    columns = (messages.status, messages.channel, messages.first, messages.second)
    decided[rows] = part_modes.decide(zip(*(column[rows].tolist() for column in columns), strict=True))
    time_rank = np.full(len(messages.tick), -1)
    time_rank[rows] = np.arange(len(rows))
    resets, parts = rows[(messages.status[rows] == SYSEX) & ~is_part[rows]], np.flatnonzero(is_part)
    part_channels = messages.channel[parts] + (messages.second[parts] >> 1)
    candidates = [
        _last_up_to(messages, resets, notes, channels=(0 * resets, 0 * notes)),
        _last_up_to(messages, parts, notes, channels=(part_channels, messages.channel[notes])),
        _last_change(messages, np.flatnonzero(is_change & (decided != UNDECIDED)), notes),
    ]
    latest = np.full(len(notes), -1)
    for event in candidates:
        is_later = np.where(event >= 0, time_rank[event], -1) > np.where(latest >= 0, time_rank[latest], -1)
        latest = np.where(is_later, event, latest)
    is_set = (latest >= 0) & (decided[latest] != UNDECIDED)
    return np.where(is_set, decided[latest] == 1, is_drum)


def _last_change(messages: FileMessages, events: np.ndarray, notes: np.ndarray) -> np.ndarray:
    """`[n]` the row of the program change that counts for each note, -1 for none.

    Args:
      events: `[e]` rows of program changes, ascending.
    """
    size = len(messages.tick)
    group = messages.track << 11 | messages.channel
    codes = np.sort(group[events] * size + events)
    own = codes.searchsorted(group[notes] * size + notes) - 1
    if not len(events):
        return own
    has_own = (own >= 0) & (codes[own] // size == group[notes])
    channels = (messages.channel[events], messages.channel[notes])
    others = _last_up_to(messages, events, notes, channels=channels, of_others=True)
    return np.where(has_own, codes[own] % size, others)


def _last_up_to(
    messages: FileMessages,
    events: np.ndarray,
    notes: np.ndarray,
    *,
    channels: tuple[np.ndarray, np.ndarray],
    of_others: bool = False,
) -> np.ndarray:
    """`[n]` the row of the last event of a note's channel up to and including the note's tick; -1 for none.

    Args:
      events: `[e]` rows, ascending.
      channels: of the events, and of the notes.
      of_others: leaves out events of the note's own track, which must have none before the note. So those up to its
        tick follow the note at that tick, and are one run in the order used here:

            tick 0   track 1   program 40   the answer: the last event before the run
            tick 9   track 2   the note
            tick 9   track 2   program 7    the last event up to the note's tick, and here the whole run
    """
    if not len(events):
        return np.full(len(notes), -1)
    tick, (channel, sought_channel) = messages.tick[events], channels
    order = np.lexsort((events, tick, channel))
    events, tick, channel, track = events[order], tick[order], channel[order], messages.track[events[order]]
    times = np.unique(tick)
    code = channel * (len(times) + 1) + times.searchsorted(tick, side="right")
    sought = sought_channel * (len(times) + 1) + times.searchsorted(messages.tick[notes], side="right")
    last = code.searchsorted(sought, side="right") - 1
    if of_others:
        begins = (np.diff(channel, prepend=-1) != 0) | (np.diff(track, prepend=-1) != 0)
        before = np.maximum.accumulate(np.where(begins, np.arange(len(events)), 0)) - 1
        last = np.where((last >= 0) & (track[last] == messages.track[notes]), before[last], last)
    return np.where((last >= 0) & (channel[last] == sought_channel), events[last], -1)
