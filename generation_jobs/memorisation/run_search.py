"""The longest run that a string shares with many others, found exactly and without looking at all of them.

A suffix array: all places of the corpus, sorted by the symbols that follow. Those that begin like a given place of a
piece stand together, so two binary searches find them. Intervals alone are sorted, since times agree only about (and
not transitively: no order puts together what agrees). What is found is then followed note by note, times included.

Sorting stops at `DEPTH` symbols, which takes five sorts by NumPy whatever repeats there are. A run that is longer still
begins with a place that has `DEPTH` symbols in common, so nothing is lost.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from generation_jobs.memorisation.note_strings import BOUNDARY, END, steps_agree

DEPTH = 32  # symbols that suffixes are sorted by
_CHUNK = 1 << 17  # pairs followed at once
_BLOCK = 8  # steps followed at once


@dataclasses.dataclass(frozen=True, eq=False)
class Text:
    """Symbols and steps with room behind them, so that windows of DEPTH may reach over the end."""

    symbol: np.ndarray  # [total + DEPTH] uint16
    step: np.ndarray  # [total + DEPTH] int32
    time_base: str

    @classmethod
    def of(cls, symbol: np.ndarray, step: np.ndarray, time_base: str, *, padding: int) -> Text:
        """`padding`: BOUNDARY between and behind the pieces of a corpus, END round what is looked for; never equal."""
        symbol = np.concatenate([symbol, np.full(DEPTH, padding, np.uint16)])
        symbol[symbol == BOUNDARY] = padding
        return cls(symbol, np.concatenate([step, np.zeros(DEPTH, np.int32)]), time_base)

    def __len__(self) -> int:
        return len(self.symbol) - DEPTH


@dataclasses.dataclass(frozen=True)
class Run:
    """Steps that agree, and where they begin; `num_steps` is 0 where nothing does."""

    num_steps: int = 0
    at: int = 0  # entry of what was looked for
    found: int = 0  # entry of the corpus


def sort_suffixes(symbol: np.ndarray) -> np.ndarray:
    """`[total]` int32: places in the order of the `DEPTH` symbols from each on; equal ones in the order of places.

    Prefix doubling (Manber and Myers 1993): the rank of 2 k symbols from the ranks of k here and of k further on.
    """
    total = len(symbol)
    rank = symbol.astype(np.int64)
    length = 1
    order = np.argsort(rank, kind="stable")
    while length < DEPTH and total:
        highest = int(rank.max()) + 2
        later = np.full(total, highest - 1)  # behind the end comes last, as BOUNDARY does
        later[:-length] = rank[length:]
        key = rank * highest + later
        length *= 2
        order = np.argsort(key, kind="stable")
        key = key[order]
        rank = np.empty(total, np.int64)
        rank[order] = np.cumsum(np.diff(key, prepend=key[:1]) != 0)
    return order.astype(np.int32)


def longest_common(
    query: Text,
    corpus: Text,
    order: np.ndarray,
    *,
    bounds: np.ndarray | None = None,
    excluded: tuple[int, int] = (0, 0),
) -> Run:
    """The longest run of agreeing steps; of equally long ones the first of the query, then of the corpus.

    Args:
      order: `sort_suffixes` of the corpus.
      bounds: `[len(query)]`, at least how many symbols each place of the query has in common with any of the corpus
        that counts, at most DEPTH; None finds them.
      excluded: entries of the corpus, from and to, that do not count.
    """
    places = np.flatnonzero(query.symbol[: len(query)] < END)
    if bounds is None:
        bounds = np.zeros(len(query), np.int64)
        bounds[places] = _common_with_neighbours(query, corpus, order, places)
    best = Run()
    length = int(bounds.max(initial=0))
    # Few places have much in common, and the longest run is mostly among them: from the longest prefixes down
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
        counts &= ~_agree(query, corpus, at - 1, found - 1)  # or the run begins further left, and is found there
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
    """How many steps agree from each pair of places on."""
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
    """The most symbols, up to DEPTH, in common with any place of the corpus: those sorted next to it have them."""
    if not len(order):
        return np.zeros(len(places), np.int64)
    after = _search(query, corpus, order, places, DEPTH, after_equal=False)
    return np.maximum(
        common_symbols(query, corpus, places, order[np.maximum(after - 1, 0)]),
        common_symbols(query, corpus, places, order[np.minimum(after, len(order) - 1)]),
    )


def common_symbols(query: Text, corpus: Text, at: np.ndarray, found: np.ndarray) -> np.ndarray:
    """`[pairs]` symbols that are the same from each pair of places on, up to DEPTH."""
    ahead = np.arange(DEPTH)
    same = query.symbol[at[:, None] + ahead] == corpus.symbol[found[:, None].astype(np.int64) + ahead]
    return np.where(same.all(axis=1), DEPTH, same.argmin(axis=1))


def _search(
    query: Text, corpus: Text, order: np.ndarray, places: np.ndarray, length: int, *, after_equal: bool
) -> np.ndarray:
    """`[places]` where each would be sorted in, by `length` symbols, before or after its equals: binary searches."""
    wanted = query.symbol[places[:, None] + np.arange(length)]
    low, high = np.zeros(len(places), np.int64), np.full(len(places), len(order), np.int64)
    rows = np.arange(len(places))
    for _ in range(len(order).bit_length()):
        middle = (low + high) // 2
        is_open = low < high
        suffix = order[np.minimum(middle, len(order) - 1)].astype(np.int64)
        theirs = corpus.symbol[suffix[:, None] + np.arange(length)]
        first = (theirs != wanted).argmax(axis=1)  # 0 where all are the same, and so are the first ones
        theirs, ours = theirs[rows, first], wanted[rows, first]
        goes_right = (theirs <= ours if after_equal else theirs < ours) & is_open
        low = np.where(goes_right, middle + 1, low)
        high = np.where(goes_right | ~is_open, high, middle)
    return low
