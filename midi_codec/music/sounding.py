"""What sounds as each note begins: for notes in the order of their starts, which may belong to several pieces if the
times of one piece never reach those of the next."""

from __future__ import annotations

import numpy as np


def sounding_at_onsets(start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """`[n]` int64: how many notes sound right after each onset; a note that ends there no longer sounds."""
    if not len(start):
        return np.zeros(0, np.int64)
    after_chord = np.flatnonzero(np.append(start[1:] != start[:-1], True)) + 1  # one past the last note of each onset
    started = np.repeat(after_chord, np.diff(after_chord, prepend=0))
    return started - np.searchsorted(np.sort(end, kind="stable"), start, "right")


def silences(start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """`[n]` int64 ticks: the silence before each onset; 0 before the first."""
    gaps = np.zeros(len(start), np.int64)
    np.subtract(start[1:], np.maximum.accumulate(end)[:-1], out=gaps[1:])
    return np.maximum(gaps, 0)
