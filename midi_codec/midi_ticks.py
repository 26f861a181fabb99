"""From MIDI ticks to the grid of `Notes`, exactly.

A tick lasts (microseconds a quarter note) / division microseconds, so time multiplied by the division is
a whole number of microseconds. It fits int64 for anything that is not refused as too long, and no float
is needed anywhere. Halves round up.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from midi_codec import notes
from midi_codec.midi_header import Limits, MidiError

DEFAULT_MICROSECONDS = 500_000  # a quarter note until the first tempo event
MICROSECONDS_PER_GRID_TICK = 1_000_000 // notes.TICKS_PER_SECOND  # of the milliseconds grid
MAX_SCALED = 2**62  # room in int64 for what is added before rounding
MAX_GRID_TICK = 2**31 - 1


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class TickNotes:
    """What a file says, in its own ticks and in any order: what both readers give."""

    start: np.ndarray  # [n] int64
    end: np.ndarray  # [n] int64
    pitch: np.ndarray  # [n]
    velocity: np.ndarray  # [n]
    program: np.ndarray  # [n]
    tempo_ticks: np.ndarray  # [m] int64, ascending; of several at one tick the last one counts
    tempo_microseconds: np.ndarray  # [m] int64, a quarter note; above 0


class TempoMap:
    """Tempo over time, from a `TickNotes`' tempo columns."""

    def __init__(self, ticks: np.ndarray, microseconds: np.ndarray):
        self._ticks = np.concatenate([np.zeros(1, np.int64), ticks])
        self._microseconds = np.concatenate([np.full(1, DEFAULT_MICROSECONDS), microseconds])
        self._is_constant = bool(self._ticks[-1] == 0)  # one tempo, or none: most files
        if not self._is_constant:
            self._starts = np.zeros(len(self._ticks), np.int64)  # scaled microseconds at each change
            np.cumsum(np.diff(self._ticks) * self._microseconds[:-1], out=self._starts[1:])

    def tempo_at(self, tick: int) -> float:
        """Quarter notes a minute in force at the tick, a change at that very tick included."""
        change = int(self._ticks.searchsorted(tick, side="right")) - 1
        return notes.canonical_tempo(int(self._microseconds[change]))

    def scaled_microseconds(self, ticks: np.ndarray) -> np.ndarray:
        """`[n]` int64, microseconds times the division since tick 0, from `[n]` int64 ticks."""
        if self._is_constant:
            return ticks * self._microseconds[-1]
        change = self._ticks.searchsorted(ticks, side="right") - 1
        return self._starts[change] + (ticks - self._ticks[change]) * self._microseconds[change]


def to_notes(ticks: TickNotes, *, division: int, time_base: str, limits: Limits) -> notes.Notes:
    """Puts notes on the grid: onsets and ends are rounded each for itself, so gaps do not drift.

    Raises:
      MidiError: `no_notes`, `too_many_notes`, `too_many_tempo_changes`, `too_long`.
    """
    num_notes = len(ticks.start)
    if not num_notes:
        raise MidiError("no_notes", "the file holds no note")
    if num_notes > limits.max_notes:
        raise MidiError("too_many_notes", f"{num_notes:,} notes, want at most {limits.max_notes:,}")
    if len(ticks.tempo_ticks) > limits.max_tempo_changes:
        raise MidiError(
            "too_many_tempo_changes",
            f"{len(ticks.tempo_ticks):,} tempo changes, want at most {limits.max_tempo_changes:,}",
        )
    times = np.concatenate([ticks.start, ticks.end])
    last_tick = int(times.max())
    slowest = int(ticks.tempo_microseconds.max(initial=DEFAULT_MICROSECONDS))
    if last_tick * slowest > MAX_SCALED:
        raise MidiError("too_long", f"ends at tick {last_tick:,}, which no clock here can count")
    tempo_map = TempoMap(ticks.tempo_ticks, ticks.tempo_microseconds)
    last_seconds = float(tempo_map.scaled_microseconds(np.array([last_tick]))[0]) / division / 1e6
    if last_seconds > limits.max_seconds:
        raise MidiError("too_long", f"lasts {last_seconds:,.0f} s, want at most {limits.max_seconds:,.0f}")
    if time_base == notes.BEATS:
        grid = (times * (2 * notes.TICKS_PER_BEAT) + division) // (2 * division)
    else:
        unit = division * MICROSECONDS_PER_GRID_TICK
        grid = (tempo_map.scaled_microseconds(times) + unit // 2) // unit
    start, end = grid[:num_notes], grid[num_notes:]
    if int(end.max()) > MAX_GRID_TICK:
        raise MidiError("too_long", f"ends at tick {int(end.max()):,} of the grid, want at most {MAX_GRID_TICK:,}")
    return notes.Notes.from_columns(
        pitch=ticks.pitch,
        velocity=ticks.velocity,
        start=start.astype(np.int32),
        duration=(end - start).astype(np.int32),
        program=ticks.program,
        tempo=tempo_map.tempo_at(int(ticks.start.min())),
        time_base=time_base,
    )
