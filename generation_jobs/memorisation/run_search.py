"""The longest run that a string shares with many others, found exactly and without comparing it to all of them.

A suffix array holds the positions of the corpus, sorted by the symbols that follow. Those that begin like a given
position of a piece are adjacent, so two binary searches find them. Only intervals are sorted, since times agree only
approximately (and not transitively: no order groups all times that agree). Each candidate is then followed note by
note, including times.

Sorting stops at `DEPTH` symbols (`suffix_sort`). A longer run still begins with a position that has `DEPTH` symbols in
common, so nothing is lost.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from generation_jobs.memorisation.note_strings import END, steps_agree
from generation_jobs.memorisation.suffix_sort import DEPTH

_CHUNK = 1 << 17  # pairs followed at once
_BLOCK = 8  # steps followed at once


@dataclasses.dataclass(frozen=True, eq=False)
class Text:
    """Symbols and steps with padding, so that windows of DEPTH may extend beyond the end."""

    symbol: np.ndarray  # [total + DEPTH] uint16
    step: np.ndarray  # [total + DEPTH] int32
    time_base: str

    @classmethod
    def of_query(cls, symbol: np.ndarray, step: np.ndarray, time_base: str) -> Text:
        """Its padding and boundaries are END, never equal to BOUNDARY, the padding of an index."""
        symbol = np.concatenate([symbol, np.full(DEPTH, END, np.uint16)])
        return cls(np.minimum(symbol, np.uint16(END)), np.concatenate([step, np.zeros(DEPTH, np.int32)]), time_base)

    def __len__(self) -> int:
        return len(self.symbol) - DEPTH


@dataclasses.dataclass(frozen=True)
class Run:
    """Steps that agree, and where they begin; `num_steps` is 0 if nothing agrees."""

    num_steps: int = 0
    at: int = 0  # entry of the query
    found: int = 0  # entry of the corpus


def longest_common(
    query: Text,
    corpus: Text,
    order: np.ndarray,
    *,
    bounds: np.ndarray | None = None,
    excluded: tuple[int, int] = (0, 0),
) -> Run:
    """The longest run of agreeing steps; of equally long runs the first in the query, then in the corpus.

    Args:
      order: the positions of the corpus, sorted.
      bounds: `[len(query)]`, upper bounds for how many symbols each position of the query has in common with any
        position of the corpus that counts, at most DEPTH; None: they are computed.
      excluded: first and one past the last entry of the corpus that do not count.
    """
    places = np.flatnonzero(query.symbol[: len(query)] < END)
    if bounds is None:
        bounds = np.zeros(len(query), np.int64)
        bounds[places] = _common_with_neighbours(query, corpus, order, places)
    best = Run()
    length = int(bounds.max(initial=0))
    # few positions have much in common, and the longest run is usually among them: try the longest prefixes first
    while length:
        chosen = places[bounds[places] >= length]
        best = _follow_all(query, corpus, order, chosen, length, excluded)
        if best.num_steps >= length:
            break
        length = max(best.num_steps, length * 3 // 4)
    return best


def _follow_all(
    query: Text, corpus: Text, order: np.ndarray, places: np.ndarray, length: int, excluded: tuple[int, int]
) -> Run:
    """The longest of the runs that begin with `length` equal symbols or more; shorter ones may be missed."""
    low = _search(query, corpus, order, places, length, after_equal=False)
    high = _search(query, corpus, order, places, length, after_equal=True)
    ends = np.cumsum(high - low)
    best = Run()
    for begin in range(0, int(ends[-1]) if len(ends) else 0, _CHUNK):
        pairs = np.arange(begin, min(begin + _CHUNK, ends[-1]))
        row = np.searchsorted(ends, pairs, "right")
        at, found = places[row], order[high[row] - (ends[row] - pairs)].astype(np.int64)
        counts = (found < excluded[0]) | (found >= excluded[1])
        counts &= ~_agree(query, corpus, at - 1, found - 1)  # otherwise the run begins earlier, and is found there
        at, found = at[counts], found[counts]
        if len(at):
            lengths = _follow(query, corpus, at, found)
            first = np.lexsort([found, at, -lengths])[0]
            run = Run(int(lengths[first]), int(at[first]), int(found[first]))
            best = min(best, run, key=lambda one: (-one.num_steps, one.at, one.found))
    return best


def _agree(query: Text, corpus: Text, at: np.ndarray, found: np.ndarray) -> np.ndarray:
    same = query.symbol[at] == corpus.symbol[found]
    return same & steps_agree(query.step[at], corpus.step[found], query.time_base)


def _follow(query: Text, corpus: Text, at: np.ndarray, found: np.ndarray) -> np.ndarray:
    """How many steps agree from each pair of positions on."""
    lengths = np.zeros(len(at), np.int64)
    going = np.arange(len(at))
    ahead = np.arange(_BLOCK)
    while len(going):
        further = lengths[going, None] + ahead
        same = _agree(query, corpus, at[going, None] + further, found[going, None] + further)
        counts = np.where(same.all(axis=1), _BLOCK, same.argmin(axis=1))
        lengths[going] += counts
        going = going[counts == _BLOCK]
    return lengths


def _common_with_neighbours(query: Text, corpus: Text, order: np.ndarray, places: np.ndarray) -> np.ndarray:
    """The most symbols, up to DEPTH, in common with any position of the corpus: its neighbours in sorted order."""
    if not len(order):
        return np.zeros(len(places), np.int64)
    after = _search(query, corpus, order, places, DEPTH, after_equal=False)
    return np.maximum(
        common_symbols(query, corpus, places, order[np.maximum(after - 1, 0)]),
        common_symbols(query, corpus, places, order[np.minimum(after, len(order) - 1)]),
    )


def common_symbols(query: Text, corpus: Text, at: np.ndarray, found: np.ndarray) -> np.ndarray:
    """`[pairs]`: how many symbols are equal from each pair of positions on, up to DEPTH."""
    ahead = np.arange(DEPTH)
    same = query.symbol[at[:, None] + ahead] == corpus.symbol[found[:, None].astype(np.int64) + ahead]
    return np.where(same.all(axis=1), DEPTH, same.argmin(axis=1))


def _search(
    query: Text, corpus: Text, order: np.ndarray, places: np.ndarray, length: int, *, after_equal: bool
) -> np.ndarray:
    """`[places]`: where each would be inserted, by `length` symbols, before or after its equals: binary searches."""
    wanted = query.symbol[places[:, None] + np.arange(length)]
    low, high = np.zeros(len(places), np.int64), np.full(len(places), len(order), np.int64)
    rows = np.arange(len(places))
    for _ in range(len(order).bit_length()):
        middle = (low + high) // 2
        is_open = low < high
        suffix = order[np.minimum(middle, len(order) - 1)].astype(np.int64)
        theirs = corpus.symbol[suffix[:, None] + np.arange(length)]
        first = (theirs != wanted).argmax(axis=1)  # 0 if all symbols are equal, and then the first ones are equal too
        theirs, ours = theirs[rows, first], wanted[rows, first]
        goes_right = (theirs <= ours if after_equal else theirs < ours) & is_open
        low = np.where(goes_right, middle + 1, low)
        high = np.where(goes_right | ~is_open, high, middle)
    return low
