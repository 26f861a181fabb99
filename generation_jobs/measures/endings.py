"""How pieces end: measures of whole pieces, which a piece that was cut does not have.

    long_last     the longest note of the last chord lasts at least twice as long as the piece's median note
    whole_beats   the last chord begins a whole number of beats after the first note; on the grid of beats alone
    short         fewer notes than all but 2 % of the corpus's training pieces; a share of all pieces, cut ones included

Each is a share of pieces. A dataset does not say where bars begin: a piece begins with its first note.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from generation_jobs.memorisation.note_strings import CHORD_TICKS
from midi_codec.music.notes import BEATS, TICKS_PER_BEAT, Notes

LONG = 2  # times the median
SHORT_QUANTILE = 0.02


def shortest(corpus: Iterable[Notes]) -> int:
    """The notes that a piece needs so as not to be short; 0 without a corpus."""
    lengths = [len(notes) for notes in corpus]
    return int(np.quantile(lengths, SHORT_QUANTILE, method="higher")) if lengths else 0


def shares(pieces: Sequence[Notes], least: int, *, num_cut: int = 0) -> dict[str, float | None]:
    """The shares of the pieces that have notes; None without one.

    Args:
      pieces: that ended.
      least: what `shortest` gives.
      num_cut: how many others there are, which were cut.
    """
    pieces = [notes for notes in pieces if len(notes)]
    columns = {
        "long_last": [_is_last_long(notes) for notes in pieces],
        "whole_beats": [_is_on_a_beat(notes) for notes in pieces if notes.time_base == BEATS],
        "short": [len(notes) < least for notes in pieces] + [False] * num_cut,
    }
    return {name: float(np.mean(column)) if column else None for name, column in columns.items()}


def _is_last_long(notes: Notes) -> bool:
    last = notes.start >= notes.start[-1] - CHORD_TICKS[notes.time_base]
    return bool(notes.duration[last].max() >= LONG * np.median(notes.duration))


def _is_on_a_beat(notes: Notes) -> bool:
    return bool((notes.start[-1] - notes.start[0]) % TICKS_PER_BEAT == 0)
