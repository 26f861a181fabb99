"""How pieces end: measures of whole pieces, which a piece that was cut does not have.

    long_last     the longest note of the last chord lasts at least twice as long as the piece's median note
    whole_beats   the last chord begins a whole number of beats after the first note; on the grid of beats alone
    short         fewer notes than all but 2 % of the corpus's training pieces; a share of all pieces, cut ones included

Each is a share of pieces. A dataset does not say where bars begin: a piece begins with its first note.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from midi_codec.measures.note_strings import CHORD_TICKS
from midi_codec.music.notes import BEATS, TICKS_PER_BEAT, Notes

LONG = 2  # times the median
SHORT_QUANTILE = 0.02


def shortest(corpus: Iterable[Notes]) -> int:
    """The notes that a piece needs so as not to be short; 0 without a corpus."""
    lengths = [len(notes) for notes in corpus]
    return int(np.quantile(lengths, SHORT_QUANTILE, method="higher")) if lengths else 0


class Endings:
    """Counts endings; each piece is added if it ended, or as one that was cut.

    Args:
      least: what `shortest` gives.
    """

    def __init__(self, least: int, ended: Iterable[Notes] = ()) -> None:
        self.least = least
        self._counts = {name: [0, 0] for name in ("long_last", "whole_beats", "short")}  # those that are so, and all
        for notes in ended:
            self.add(notes)

    def add(self, notes: Notes) -> None:
        if not len(notes):
            return
        self._count("long_last", _is_last_long(notes))
        if notes.time_base == BEATS:
            self._count("whole_beats", _is_on_a_beat(notes))
        self._count("short", len(notes) < self.least)

    def add_cut(self) -> None:
        self._count("short", False)

    def _count(self, name: str, is_so: bool) -> None:
        self._counts[name][0] += is_so
        self._counts[name][1] += 1

    def shares(self) -> dict[str, float | None]:
        """Of the pieces that have notes; None without one."""
        return {name: count / total if total else None for name, (count, total) in self._counts.items()}


def _is_last_long(notes: Notes) -> bool:
    last = notes.start >= notes.start[-1] - CHORD_TICKS[notes.time_base]
    return bool(notes.duration[last].max() >= LONG * np.median(notes.duration))


def _is_on_a_beat(notes: Notes) -> bool:
    return bool((notes.start[-1] - notes.start[0]) % TICKS_PER_BEAT == 0)
