"""From MIDI ticks to the grid of `Notes`, exactly.

A tick lasts (microseconds a quarter note) / division microseconds, so time multiplied by the division is
a whole number of microseconds: below 2^31 ticks of 2^24 microseconds it fits int64, and no float is
needed anywhere. Halves round up.
"""

from __future__ import annotations

import numpy as np

from midi_codec import notes

DEFAULT_MICROSECONDS = 500_000  # a quarter note until the first tempo event
MICROSECONDS_PER_TICK = 1_000_000 // notes.TICKS_PER_SECOND  # of the milliseconds grid


class TempoMap:
    """Tempo over time. `ticks` ascend; of several changes at one tick the last counts."""

    def __init__(self, ticks: np.ndarray, microseconds: np.ndarray, division: int):
        self.division = division
        meant = microseconds > 0  # a tempo of 0 would stop time: such an event says nothing
        self.ticks = np.concatenate([[0], ticks[meant]]).astype(np.int64)
        self.microseconds = np.concatenate([[DEFAULT_MICROSECONDS], microseconds[meant]]).astype(np.int64)
        self._starts = np.concatenate([[0], np.cumsum(np.diff(self.ticks) * self.microseconds[:-1])])

    def _change(self, ticks: np.ndarray) -> np.ndarray:
        """`[n]` the tempo change each tick stands under."""
        return np.searchsorted(self.ticks, ticks, side="right") - 1

    def tempo_at(self, tick: int) -> float:
        """Quarter notes a minute in force at the tick, a change at that very tick included."""
        return notes.canonical_tempo(int(self.microseconds[self._change(np.array([tick]))[0]]))

    def scaled_microseconds(self, ticks: np.ndarray) -> np.ndarray:
        """`[n]` int64, microseconds times the division since tick 0."""
        ticks = ticks.astype(np.int64)
        if len(self.ticks) == 1:
            return ticks * self.microseconds[0]
        change = self._change(ticks)
        return self._starts[change] + (ticks - self.ticks[change]) * self.microseconds[change]

    def seconds_at(self, tick: int) -> float:
        return float(self.scaled_microseconds(np.array([tick]))[0]) / self.division / 1e6

    def to_grid(self, ticks: np.ndarray, time_base: str) -> np.ndarray:
        """`[n]` int64, ticks of the grid, halves rounded up."""
        if time_base == notes.BEATS:
            return (ticks.astype(np.int64) * (2 * notes.TICKS_PER_BEAT) + self.division) // (2 * self.division)
        unit = self.division * MICROSECONDS_PER_TICK
        return (self.scaled_microseconds(ticks) + unit // 2) // unit
