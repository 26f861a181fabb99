"""The messages of all tracks of a file as columns, with their channels."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from midi_codec.midi.exact_reader.track_events import META, PORT, TrackEvents


@dataclasses.dataclass(frozen=True, eq=False)
class FileMessages:
    """Messages by track, in file order; a row is an item of `TrackEvents.ticks` and `TrackEvents.messages`."""

    tick: np.ndarray  # [m] int64
    status: np.ndarray  # [m] int64
    first: np.ndarray  # [m] int64, the first data byte
    second: np.ndarray  # [m] int64
    track: np.ndarray  # [m] int64
    channel: np.ndarray  # [m] int64, port << 4 | channel; the same number in two tracks is one channel
    last_ticks: np.ndarray  # [tracks] int64, where each track ends

    @property
    def kind(self) -> np.ndarray:
        """`[m]` int64, the status without its channel."""
        return self.status & 0xF0


def join(tracks: Sequence[TrackEvents]) -> FileMessages:
    """The messages of a file's tracks."""
    lengths = [len(events.messages) for events in tracks]
    ticks = np.concatenate([np.empty(0, np.int64), *(np.array(events.ticks, np.int64) for events in tracks)])
    words = np.concatenate([np.empty(0, np.int64), *(np.array(events.messages, np.int64) for events in tracks)])
    track = np.repeat(np.arange(len(tracks)), lengths)
    status = words >> 16
    return FileMessages(
        tick=ticks,
        status=status,
        first=words >> 8 & 0xFF,
        second=words & 0xFF,
        track=track,
        channel=_ports(words, track) << 4 | status & 0x0F,
        last_ticks=np.array([events.last_tick for events in tracks], np.int64),
    )


def _ports(words: np.ndarray, track: np.ndarray) -> np.ndarray:
    """`[m]` int64: the port that the track last named, 0 before that; always 0 if the file names only one port."""
    named = np.flatnonzero(words >> 8 == META << 8 | PORT)
    numbers = words[named] & 0x7F
    if not len(named) or numbers.min() == numbers.max():
        return np.zeros(len(words), np.int64)
    last = named.searchsorted(np.arange(len(words)), side="right") - 1
    return np.where((last >= 0) & (track[named[last]] == track), numbers[last], 0)
