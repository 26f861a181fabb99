"""The longest run that each of some strings shares with many others, found exactly and without comparing all of them.

A suffix array holds the positions of the corpus, sorted by the symbols that follow. Those that begin like a given
position of a piece are adjacent, so two binary searches find them. Only intervals are sorted, since times agree only
approximately (and not transitively: no order groups all times that agree). Each candidate is then followed note by
note, including times.

Sorting stops at `DEPTH` symbols (`suffix_sort`). A longer run still begins with a position that has `DEPTH` symbols in
common, so nothing is lost.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import numpy as np

from generation_jobs.memorisation.suffix_sort import DEPTH
from midi_codec.measures.note_strings import END, steps_agree

ENTRIES_AT_ONCE = 1 << 15  # of the queries, as far as they are several
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
        """Its padding and boundaries are END, never equal to BOUNDARY, the padding of an index.

        It may hold several pieces, each of which begins with a boundary: no run goes beyond it.
        """
        symbol = np.concatenate([symbol, np.full(DEPTH, END, np.uint16)])
        return cls(np.minimum(symbol, np.uint16(END)), np.concatenate([step, np.zeros(DEPTH, np.int32)]), time_base)

    def __len__(self) -> int:
        return len(self.symbol) - DEPTH


@dataclasses.dataclass(frozen=True, eq=False)
class Runs:
    """`[pieces]` int64: steps that agree, and where they begin; `num_steps` is 0 where nothing agrees."""

    num_steps: np.ndarray
    at: np.ndarray  # entry of the query
    found: np.ndarray  # entry of the corpus

    def of(self, piece: int) -> tuple[int, int, int]:
        return int(self.num_steps[piece]), int(self.at[piece]), int(self.found[piece])


def together(offsets: np.ndarray) -> Iterator[tuple[int, int]]:
    """Where pieces are divided so that some of them together have about ENTRIES_AT_ONCE entries: first and past last.

    Args:
      offsets: `[pieces + 1]`, where each begins.
    """
    begin = 0
    while begin < len(offsets) - 1:
        end = int(np.searchsorted(offsets, offsets[begin] + ENTRIES_AT_ONCE, "right")) - 1
        yield begin, (begin := max(end, begin + 1))


def longest_common(
    query: Text,
    offsets: np.ndarray,
    corpus: Text,
    order: np.ndarray,
    *,
    bounds: np.ndarray | None = None,
    excluded: np.ndarray | None = None,
) -> Runs:
    """The longest run of agreeing steps of each piece; of equally long ones the first in the query, then in the corpus.

    Args:
      offsets: `[pieces + 1]`, where each piece of the query begins, and the end.
      order: the positions of the corpus, sorted.
      bounds: `[len(query)]`, upper bounds for how many symbols each position of the query has in common with any
        position of the corpus that counts, at most DEPTH; None: they are computed.
      excluded: `[pieces, 2]`, first and one past the last entry of the corpus that do not count; None: all count.
    """
    num = len(offsets) - 1
    places = np.flatnonzero(query.symbol[: len(query)] < END)
    bounds = _common_with_neighbours(query, corpus, order, places) if bounds is None else bounds[places]
    piece = np.repeat(np.arange(num), np.diff(offsets))[places]
    excluded = np.zeros((num, 2), np.int64) if excluded is None else excluded
    best = np.zeros((num, 3), np.int64)
    length = np.zeros(num, np.int64)
    np.maximum.at(length, piece, bounds)
    # few positions have much in common, and the longest run is usually among them: try the longest prefixes first
    while length.any():
        chosen = (length[piece] > 0) & (bounds >= length[piece])
        best[length > 0] = 0
        _follow_all(query, corpus, order, places[chosen], piece[chosen], length, excluded, best)
        found = best[:, 0]
        length = np.where((length > 0) & (found < length), np.maximum(found, length * 3 // 4), 0)
    return Runs(*best.T)


def _follow_all(
    query: Text,
    corpus: Text,
    order: np.ndarray,
    places: np.ndarray,
    piece: np.ndarray,
    length: np.ndarray,
    excluded: np.ndarray,
    best: np.ndarray,
) -> None:
    """Puts the longest of the runs that begin with `length` equal symbols or more into `best`; may miss shorter ones.

    Args:
      places, piece: where runs may begin in the query, and the piece of each. length, excluded, best: by piece.
    """
    low = _search(query, corpus, order, places, length[piece], after_equal=False)
    high = _search(query, corpus, order, places, length[piece], after_equal=True)
    ends = np.cumsum(high - low)
    for begin in range(0, int(ends[-1]) if len(ends) else 0, _CHUNK):
        pairs = np.arange(begin, min(begin + _CHUNK, ends[-1]))
        row = np.searchsorted(ends, pairs, "right")
        at, found, own = places[row], order[high[row] - (ends[row] - pairs)].astype(np.int64), piece[row]
        counts = (found < excluded[own, 0]) | (found >= excluded[own, 1])
        counts &= ~_agree(query, corpus, at - 1, found - 1)  # otherwise the run begins earlier, and is found there
        at, found, own = at[counts], found[counts], own[counts]
        known = np.flatnonzero(best[:, 0])  # in earlier chunks
        lengths = np.concatenate([_follow(query, corpus, at, found), best[known, 0]])
        at, found = np.concatenate([at, best[known, 1]]), np.concatenate([found, best[known, 2]])
        own = np.concatenate([own, known])
        ranked = np.lexsort([found, at, -lengths, own])
        first = ranked[np.diff(own[ranked], prepend=-1) != 0]
        best[own[first]] = np.stack([lengths[first], at[first], found[first]], axis=1)


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
    after = _search(query, corpus, order, places, np.full(len(places), DEPTH), after_equal=False)
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
    query: Text, corpus: Text, order: np.ndarray, places: np.ndarray, lengths: np.ndarray, *, after_equal: bool
) -> np.ndarray:
    """`[places]`: where each would be inserted, by `lengths` symbols, before or after its equals: binary searches."""
    low, high = np.zeros(len(places), np.int64), np.full(len(places), len(order), np.int64)
    for _ in range(len(order).bit_length()):
        rows = np.flatnonzero(low < high)
        middle = (low[rows] + high[rows]) // 2
        below, is_equal = _compare(query, corpus, places[rows], order[middle].astype(np.int64), lengths[rows])
        goes_right = below | is_equal if after_equal else below
        low[rows[goes_right]] = middle[goes_right] + 1
        high[rows[~goes_right]] = middle[~goes_right]
    return low


def _compare(
    query: Text, corpus: Text, at: np.ndarray, found: np.ndarray, lengths: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """`[pairs]` bool each: whether the corpus's `lengths` symbols come before the query's, and whether they are equal.

    The first few symbols decide as a rule.
    """
    below, is_equal = np.zeros(len(at), bool), np.zeros(len(at), bool)
    rows, begin = np.arange(len(at)), 0
    while len(rows):
        ahead = np.arange(begin, min(begin + _BLOCK, DEPTH))
        theirs, ours = corpus.symbol[found[rows, None] + ahead], query.symbol[at[rows, None] + ahead]
        differs = (theirs != ours) & (ahead < lengths[rows, None])
        first = differs.argmax(axis=1)
        is_decided = differs[np.arange(len(rows)), first]
        decided = np.flatnonzero(is_decided)
        below[rows[decided]] = theirs[decided, first[decided]] < ours[decided, first[decided]]
        begin += _BLOCK
        rows = rows[~is_decided]
        is_equal[rows] = lengths[rows] <= begin
        rows = rows[lengths[rows] > begin]
    return below, is_equal
