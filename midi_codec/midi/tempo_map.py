"""Tempo over time, for several files at once."""

from __future__ import annotations

import numpy as np

from midi_codec.music import notes
from midi_codec.music.piece_offsets import reduce_pieces

DEFAULT_MICROSECONDS = 500_000  # per quarter note, until the first tempo event


class TempoMaps:
    """The stretches of constant tempo of each file, one file after the other; each file has at least one.

    Within a stretch, microseconds times the division since tick 0 are `origins + tick * microseconds`.
    All values are exact in int64; they overflow only beyond the ticks that notes may have.
    """

    def __init__(self, ticks: np.ndarray, microseconds: np.ndarray, offsets: np.ndarray):
        """Takes the tempo columns of a `TickBatch`."""
        heads = offsets[:-1]
        begins = np.insert(ticks, heads, 0)
        microseconds = np.insert(microseconds, heads, DEFAULT_MICROSECONDS)
        files = np.repeat(np.arange(len(heads)), np.diff(offsets) + 1)
        self.slowest = reduce_pieces(np.maximum, microseconds, offsets + np.arange(len(offsets)))  # [files]
        kept = np.ones(len(files), bool)  # the last event at each tick
        kept[:-1] = (begins[1:] != begins[:-1]) | (files[1:] != files[:-1])
        begins, microseconds, files = begins[kept], microseconds[kept], files[kept]
        kept = np.ones(len(files), bool)  # the first of equal tempos: some programs repeat the tempo at every bar
        kept[1:] = (microseconds[1:] != microseconds[:-1]) | (files[1:] != files[:-1])
        self.begins, self.microseconds, files = begins[kept], microseconds[kept], files[kept]
        self.offsets = files.searchsorted(np.arange(len(heads) + 1))
        self.origins = self._add_up(files) - self.begins * self.microseconds

    def _add_up(self, files: np.ndarray) -> np.ndarray:
        """`[stretches]` microseconds times the division before each stretch."""
        lasted = np.zeros(len(files), np.int64)
        lasted[1:] = np.diff(self.begins) * self.microseconds[:-1]
        total = lasted.cumsum()  # over all files; the total before each file is subtracted
        return total - total[self.offsets[:-1]][files]

    def at(self, ticks: np.ndarray) -> np.ndarray:
        """`[files]` the stretch of each file that contains its tick; a stretch contains the tick at which it begins."""
        begun = self.begins <= np.repeat(ticks, np.diff(self.offsets))
        return self.offsets[:-1] + reduce_pieces(np.add, begun.astype(np.int64), self.offsets) - 1

    def tempo_at(self, ticks: np.ndarray) -> np.ndarray:
        """`[files]` float64, quarter notes per minute at one tick of each file."""
        return notes.canonical_tempos(self.microseconds[self.at(ticks)])

    def scaled_at(self, ticks: np.ndarray) -> np.ndarray:
        """`[files]` int64, microseconds times the division from tick 0 to one tick of each file."""
        stretch = self.at(ticks)
        return self.origins[stretch] + ticks * self.microseconds[stretch]

    def scale(self, ticks: np.ndarray, begin: int, stop: int) -> None:
        """Like `scaled_at`, in place, for any number of ticks of the one file with the stretches `begin` to `stop`."""
        if stop - begin == 1:
            ticks *= self.microseconds[begin]
            return
        stretch = self.begins[begin:stop].searchsorted(ticks, side="right")
        stretch += begin - 1
        ticks *= self.microseconds.take(stretch)
        ticks += self.origins.take(stretch)
