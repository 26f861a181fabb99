"""How diverse a set of pieces is: the share of its short patterns that are distinct.

A pattern is eight consecutive notes of one program as their seven intervals, in any key; drums are left out. Large sets
repeat more, so sets are compared by equally many of their patterns, drawn at random.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from midi_codec.measures.music_measures import Part
from midi_codec.music.notes import DRUM_PROGRAM

NOTES = 8
NUM_INTERVALS = 255
DECIMALS = 6


class Patterns:
    """The patterns of some pieces, those of their primers left out: eight bytes each."""

    def __init__(self, parts: Iterable[Part] = ()) -> None:
        self._found: list[np.ndarray] = [np.zeros(0, np.uint64)]
        for part in parts:
            self.add(part)

    def add(self, part: Part) -> None:
        new = part.notes.take(slice(part.num_given, None))
        for program in np.unique(new.program[new.program != DRUM_PROGRAM]):
            intervals = np.diff(new.pitch[new.program == program].astype(np.int64)) + NUM_INTERVALS // 2
            if len(intervals) >= NOTES - 1:
                windows = np.lib.stride_tricks.sliding_window_view(intervals, NOTES - 1)
                self._found.append((windows @ NUM_INTERVALS ** np.arange(NOTES - 1)).astype(np.uint64))

    def __len__(self) -> int:
        return sum(map(len, self._found))

    def distinct(self, count: int) -> float | None:
        """The share of distinct ones among so many, drawn with a fixed seed; None of none."""
        found = np.concatenate(self._found)
        drawn = np.random.default_rng(0).choice(found, count, replace=False)
        return round(len(np.unique(drawn)) / count, DECIMALS) if count else None


def compare(generated: Patterns, train: Iterable[Part]) -> dict[str, float | int | None]:
    """The shares of the generated pieces and of training pieces that are cut like them."""
    corpus = Patterns(train)
    count = min(len(generated), len(corpus))
    return {"patterns": count, "generated": generated.distinct(count), "train": corpus.distinct(count)}


def lines(found: Mapping[str, Any]) -> Iterator[str]:
    """Text for people."""
    if found["patterns"]:
        yield (
            f"distinct among {found['patterns']:,} patterns of {NOTES} notes: {100 * found['generated']:.1f} % of the"
            f" generated ones, {100 * found['train']:.1f} % of train's"
        )
