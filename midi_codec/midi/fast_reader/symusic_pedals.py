"""The sustain pedal out of symusic, where it is clear which notes a pedal holds.

A pedal belongs to a channel of a track, but symusic makes a track of its own for each program of a channel,
and drops the events of those that have no notes. So the sentinel of each channel gets a marker, an undefined
control, which ends up where the channel's last program is. Where every track with notes has its marker, and no
channel may have named programs twice, a symusic track is a channel; else the file is left for `track_reader`.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from symusic.core import ScoreTick

from midi_codec.midi import sustain

MARKER = 119  # a control that MIDI leaves undefined
CONTROL_CHANGE_FROM_NOTE_ON = 0x20
PROGRAM_CHANGE_FROM_NOTE_ON = 0x30


def marker(status: int) -> bytes:
    """The marker of the channel of a note-on status, behind a delta of 0."""
    return bytes([0, status + CONTROL_CHANGE_FROM_NOTE_ON, MARKER, 0])


def may_name_programs_twice(events: bytes, note_ons: bytes) -> bool:
    """Whether a channel of these note-on statuses may have two programs named in a track; looks at any byte."""
    for status in note_ons:
        program_change = status + PROGRAM_CHANGE_FROM_NOTE_ON
        if events.count(program_change) > 1:
            behind = {after[0] for after in events.split(bytes([program_change]))[1:] if after}
            if len([number for number in behind if number < 0x80]) > 1:
                return True
    return False


@dataclasses.dataclass
class PedalColumns:
    """The pedal's events of the files read so far, an item a track that has notes; its place is its group."""

    ticks: list[np.ndarray] = dataclasses.field(default_factory=list)
    values: list[np.ndarray] = dataclasses.field(default_factory=list)

    def add(self, score: ScoreTick, sentinel_tick: int) -> bool:
        """Adds a file's pedals; False, and nothing added, where it is not clear what they hold.

        Args:
          score: read with markers, all its own events before `sentinel_tick`.
          sentinel_tick: how long after its track's end a marker stands.
        """
        events = []
        for track in score.tracks:
            if not len(track.notes):
                continue
            controls = track.controls.numpy()
            time, number = controls["time"].astype(np.int64), controls["number"]
            markers = time[(number == MARKER) & (time >= sentinel_tick)]
            rows = np.flatnonzero(number == sustain.CONTROL)
            ticks, values = time[rows], controls["value"][rows]
            if len(markers) != 1 or _is_out_of_order(ticks, values):
                return False
            events.append((ticks, values))
        for ticks, values in events:
            self.ticks.append(ticks)
            self.values.append(values)
        return True

    def extend(
        self, *, start: np.ndarray, end: np.ndarray, pitch: np.ndarray, group: np.ndarray, last_ticks: np.ndarray
    ) -> np.ndarray:
        """`sustain.extend` with these pedals; `group` is the place of each note's track among those added.

        Args:
          last_ticks: of each track, where a pedal is let go that nothing lets go.
        """
        if not self.ticks:
            return end
        lengths = [len(ticks) for ticks in self.ticks]
        pedals = sustain.from_controls(
            tick=np.concatenate(self.ticks),
            value=np.concatenate(self.values),
            group=np.repeat(np.arange(len(lengths)), lengths),
            last_tick=np.repeat(last_ticks.astype(np.int64), lengths),
        )
        return sustain.extend(start=start, end=end, pitch=pitch, group=group, pedals=pedals)


def _is_out_of_order(ticks: np.ndarray, values: np.ndarray) -> bool:
    """Whether up and down at one tick might have changed places: symusic may sort, and equal ticks have no order."""
    is_down = values >= sustain.DOWN_FROM
    return bool(np.any((ticks[1:] < ticks[:-1]) | (ticks[1:] == ticks[:-1]) & (is_down[1:] != is_down[:-1])))
