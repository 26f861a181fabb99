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
MAX_ADDED_CHANGES = 12  # up to here it is faster to add up changes than to look up each tick's
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
        changes = np.diff(microseconds, prepend=DEFAULT_MICROSECONDS)
        kept = changes.nonzero()[0]  # programs repeat a tempo at every bar
        self._ticks, self._microseconds, self._changes = ticks[kept], microseconds[kept], changes[kept]

    def tempo_at(self, tick: int) -> float:
        """Quarter notes a minute in force at the tick, a change at that very tick included."""
        num_before = int(self._ticks.searchsorted(tick, side="right"))
        microseconds = int(self._microseconds[num_before - 1]) if num_before else DEFAULT_MICROSECONDS
        return notes.canonical_tempo(microseconds)

    def scaled_microseconds(self, ticks: np.ndarray) -> np.ndarray:
        """`[n]` int64, microseconds times the division since tick 0, from `[n]` int64 ticks."""
        if len(self._ticks) > MAX_ADDED_CHANGES:
            return self._look_up(ticks)
        initial = DEFAULT_MICROSECONDS + int(self._changes[self._ticks == 0].sum())
        scaled = ticks * initial
        for tick, change in zip(self._ticks.tolist(), self._changes.tolist(), strict=True):
            if tick:
                scaled += np.maximum(ticks - tick, 0) * change
        return scaled

    def _look_up(self, ticks: np.ndarray) -> np.ndarray:
        """As `scaled_microseconds`; its time does not grow with the number of changes."""
        begins = np.concatenate([np.zeros(1, np.int64), self._ticks])
        microseconds = np.concatenate([np.full(1, DEFAULT_MICROSECONDS), self._microseconds])
        scaled = np.concatenate([np.zeros(1, np.int64), np.cumsum(np.diff(begins) * microseconds[:-1])])
        change = begins.searchsorted(ticks, side="right") - 1
        return scaled[change] + (ticks - begins[change]) * microseconds[change]


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
