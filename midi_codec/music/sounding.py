"""What sounds as each note begins: for notes in the order of their starts, which may belong to several pieces if the
times of one piece never reach those of the next."""

from __future__ import annotations

import dataclasses

import numpy as np

from midi_codec.music.notes import Notes


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


def end_at_restrikes(notes: Notes, *, num_given: int) -> Notes:
    """The notes, those after the given ones no longer than until their pitch and program begin again."""
    order = np.lexsort((notes.start, notes.pitch, notes.program))
    start, pitch, program = (column[order] for column in (notes.start, notes.pitch, notes.program))
    is_same = (pitch[1:] == pitch[:-1]) & (program[1:] == program[:-1])
    is_last = np.append(~is_same | (start[1:] > start[:-1]), True)[: len(notes)]  # of those that begin together
    last = np.flatnonzero(is_last)[np.cumsum(is_last) - is_last]
    again = np.append(is_same, False)[last] & (order >= num_given)
    longest = np.where(again, np.append(start[1:], 0)[last] - start, notes.duration[order])
    duration = notes.duration.copy()
    duration[order] = np.minimum(duration[order], longest)
    return dataclasses.replace(notes, duration=duration)
