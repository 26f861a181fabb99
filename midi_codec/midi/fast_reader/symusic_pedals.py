"""The sustain pedal from symusic, for files in which it is clear which notes a pedal holds.

`symusic_reader` leaves out files in which a channel's pedal may be on another track than its notes. Within a track,
symusic makes a separate track for each program of a channel, and drops the events of those without notes. So the
sentinel of each channel gets a marker, an undefined control, which ends up in the symusic track of the channel's last
program. If every track with notes has its marker, and no channel can have set two programs, a symusic track is a
channel; otherwise the file goes to `track_reader`.
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
    """The marker of the channel of a note-on status, after a delta of 0."""
    return bytes([0, status + CONTROL_CHANGE_FROM_NOTE_ON, MARKER, 0])


def may_name_programs_twice(events: bytes, note_ons: bytes) -> bool:
    """Whether a channel of these note-on statuses may set two programs in a track, judged by all bytes."""
    for status in note_ons:
        program_change = status + PROGRAM_CHANGE_FROM_NOTE_ON
        if events.count(program_change) > 1:
            following = {rest[0] for rest in events.split(bytes([program_change]))[1:] if rest}
            if len([number for number in following if number < 0x80]) > 1:
                return True
    return False


@dataclasses.dataclass
class PedalColumns:
    """The pedal's events of the files read so far, one item per track with notes; its index is its group."""

    ticks: list[np.ndarray] = dataclasses.field(default_factory=list)
    values: list[np.ndarray] = dataclasses.field(default_factory=list)

    def add(self, score: ScoreTick, sentinel_tick: int) -> bool:
        """Adds a file's pedals; adds nothing and returns False if it is unclear what they hold.

        Args:
          score: read with markers; all its own events are before `sentinel_tick`.
          sentinel_tick: ticks from a track's end to its marker.
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
        """`sustain.extend` with these pedals; `group` is the index of each note's track among those added.

        Args:
          last_ticks: for each track, the tick at which a pedal that is never released ends.
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
    """Whether press and release at one tick might be swapped: symusic may sort, and equal ticks have no order."""
    is_down = values >= sustain.DOWN_FROM
    return bool(np.any((ticks[1:] < ticks[:-1]) | (ticks[1:] == ticks[:-1]) & (is_down[1:] != is_down[:-1])))
