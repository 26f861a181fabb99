"""Finds pairs of fingerprints that agree in so many bins that the pieces are the same music.

Two pieces are compared only if they share a bucket: a band is two bins, and pieces that agree in both share a bucket of
that band. A bucket may be large, so its rows are sorted with similar ones together, and each is compared only with the
few after it: the work grows with the number of pieces, not with its square. Groups are connected components of pairs,
so the copies in a large bucket need not all be compared with one another.

Fingerprints stay in a temporary file, from which the search reads one band at a time.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from beam_pipelines.encoding.fingerprints import DTYPE, EMPTY, NUM_VALUES
from beam_pipelines.planning import digests
from job_runtime.spool import ROWS_AT_ONCE, ArraySpool

NUM_BANDS = NUM_VALUES // 2  # band b is the bins b and b + NUM_BANDS
NUM_COMPARED = 8  # rows after each, in a bucket
LEAST_PERCENT = 15  # of the bins must agree where all are filled; up to twice that where few are
SIGNATURE = np.dtype((DTYPE, (NUM_VALUES,)))
PAIR = np.dtype([("first", digests.DTYPE), ("second", digests.DTYPE)])  # ids, the smaller first

_ROWS_AT_ONCE = 1 << 12
_PAIRS_AT_ONCE = 1 << 16
_PLACES_AT_ONCE = 1 << 20  # in a sorted band


def find_pairs(signatures: np.ndarray, ids: np.ndarray, bands: Iterable[int] = range(NUM_BANDS)) -> np.ndarray:
    """The pairs of a corpus that is in memory.

    Args:
      signatures: `[n, NUM_VALUES]` from fingerprints.of_batch.
      ids: `[n]` S32, the piece_ids. They decide the order in buckets, so that the order of rows does not matter.
      bands: the bands to search; the pairs of all bands are the union of the pairs of each band.

    Returns:
      `[m, 2]` int64 rows, the one with the smaller id first, ascending by ids; no pair twice.

    Raises:
      ValueError: two ids are equal.
    """
    order = np.argsort(ids, kind="stable")
    if (ids[order[1:]] == ids[order[:-1]]).any():
        raise ValueError("ids hold one piece_id twice, want distinct pieces")
    spool = ArraySpool(SIGNATURE)
    spool.append(signatures)
    search = Search(spool, order)
    return order[search.places[search.pairs(bands)]]


class Search:
    """The pieces that have a fingerprint, numbered in the order of their ids.

    Attributes:
      places: `[n]` int64, the index of each into the given rows.
    """

    def __init__(self, signatures: ArraySpool, rows: np.ndarray):
        """`rows`: of distinct pieces, by id, which decides the order in buckets."""
        self._signatures = signatures
        self._bins = ArraySpool(np.uint32)  # both bins of a band in one number; a block of rows band by band
        self._column: tuple[int, np.ndarray] = (-1, np.zeros(0, np.uint32))
        is_filled = np.zeros(len(signatures), bool)
        for begin in range(0, len(signatures), ROWS_AT_ONCE):
            block = signatures.take(slice(begin, begin + ROWS_AT_ONCE))
            is_filled[begin : begin + len(block)] = (block != EMPTY).any(axis=1)
            self._bins.append(bands_of(fill(block)).T)
        self.places = np.flatnonzero(is_filled[rows])
        self._rows = rows[self.places]

    def __len__(self) -> int:
        return len(self._rows)

    def pairs(self, bands: Iterable[int] = range(NUM_BANDS)) -> np.ndarray:
        """`[m, 2]` int64 numbers, ascending, the smaller first: all pairs of these bands, no pair twice."""
        num = max(len(self), 1)
        found = np.zeros(0, np.int64)  # the first * num + the second
        for band in bands:
            for pairs in self._candidates(band):
                codes = np.setdiff1d(pairs[:, 0] * num + pairs[:, 1], found, assume_unique=True)
                codes = codes[self._are_same(np.stack(np.divmod(codes, num), axis=1))]
                found = np.union1d(found, codes)
        return np.stack(np.divmod(found, num), axis=1)

    def components(self) -> np.ndarray:
        """`[n]` as `components` of all pairs. What is connected already is not compared."""
        root = np.arange(len(self))
        for band in range(NUM_BANDS):
            for pairs in self._candidates(band):
                pairs = pairs[root[pairs[:, 0]] != root[pairs[:, 1]]]
                connect(root, pairs[self._are_same(pairs)])
        return root

    def _candidates(self, band: int) -> Iterator[np.ndarray]:
        return candidates(band_keys(self._read(band), self._read((band + 1) % NUM_BANDS)))

    def _read(self, band: int) -> np.ndarray:
        """The bins of a band. The last column that was read is kept: it is the first of the next band."""
        if self._column[0] != band:
            num_rows = len(self._signatures)
            column = np.empty(num_rows, np.uint32)
            for begin in range(0, num_rows, ROWS_AT_ONCE):
                num = min(ROWS_AT_ONCE, num_rows - begin)
                at = begin * NUM_BANDS + band * num
                column[begin : begin + num] = self._bins.take(slice(at, at + num))
            self._column = band, column[self._rows]
        return self._column[1]

    def _are_same(self, pairs: np.ndarray) -> np.ndarray:
        same = np.zeros(len(pairs), bool)
        for begin in range(0, len(pairs), _PAIRS_AT_ONCE):
            some = self._rows[pairs[begin : begin + _PAIRS_AT_ONCE]]
            left, right = self._signatures.take(some[:, 0]), self._signatures.take(some[:, 1])
            same[begin : begin + len(some)] = are_same(left, right)
        return same


def fill(signatures: np.ndarray) -> np.ndarray:
    """`[n, NUM_VALUES]`: an empty bin takes the value of the next filled one, so that short pieces share buckets too.

    Args:
      signatures: `[n, NUM_VALUES]`, none of them all empty.
    """
    filled = np.empty_like(signatures)
    bins = np.arange(2 * NUM_VALUES, dtype=np.int16)
    for begin in range(0, len(signatures), _ROWS_AT_ONCE):
        rows = signatures[begin : begin + _ROWS_AT_ONCE]
        twice = np.concatenate([rows, rows], axis=1)
        source = np.where(twice != EMPTY, bins, bins[-1])
        source = np.minimum.accumulate(source[:, ::-1], axis=1)[:, ::-1]
        filled[begin : begin + len(rows)] = np.take_along_axis(twice, source[:, :NUM_VALUES].astype(np.int64), axis=1)
    return filled


def bands_of(filled: np.ndarray) -> np.ndarray:
    """`[n, NUM_BANDS]` uint32: the two bins of each band."""
    return filled[:, :NUM_BANDS].astype(np.uint32) << np.uint32(16) | filled[:, NUM_BANDS:]


def band_keys(bins: np.ndarray, following: np.ndarray) -> np.ndarray:
    """`[n]` uint64: the bucket in the upper 32 bits; the next band's bins below, by which a bucket is sorted."""
    return bins.astype(np.uint64) << np.uint64(32) | following


def candidates(keys: np.ndarray) -> Iterator[np.ndarray]:
    """`[m, 2]` int64 indexes to be compared, the smaller first, some at a time; no pair twice.

    Args:
      keys: `[n]` uint64 from `band_keys`, of rows in the order of their ids.
    """
    half = np.uint64(32)
    order = np.sort(keys >> half << half | np.arange(len(keys), dtype=np.uint64))
    is_next = order[1:] >> half == order[:-1] >> half
    shared = np.zeros(len(keys), bool)
    shared[1:] = is_next
    shared[:-1] |= is_next
    order = (order[shared] & np.uint64(0xFFFFFFFF)).astype(np.int64)  # as a rule, few rows share a bucket
    order = order[np.argsort(keys[order], kind="stable")]
    buckets = keys[order] >> half
    for begin in range(0, len(order), _PLACES_AT_ONCE):
        at = np.arange(begin, min(begin + _PLACES_AT_ONCE, len(order)))
        found = []
        for step in range(1, NUM_COMPARED + 1):
            at = at[at + step < len(order)]
            at = at[buckets[at] == buckets[at + step]]
            found.append(np.stack([order[at], order[at + step]], axis=1))
        yield np.sort(np.concatenate(found), axis=1)


def are_same(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """`[m]` bool: which rows of two arrays `[m, NUM_VALUES]` are the same music.

    Of the bins that either fills, LEAST_PERCENT must agree if these are all bins, and more the fewer there are: short
    pieces of one style agree in more bins by chance.
    """
    agreeing = np.count_nonzero((left == right) & (left != EMPTY), axis=1)
    used = np.count_nonzero(left | right, axis=1)
    return (agreeing > 0) & (agreeing * (100 * NUM_VALUES) >= LEAST_PERCENT * used * (2 * NUM_VALUES - used))


def components(num: int, pairs: np.ndarray) -> np.ndarray:
    """`[num]` int64: the smallest number in the connected component of each of 0 to num - 1.

    Args:
      pairs: `[m, 2]` of numbers that are connected directly.
    """
    root = np.arange(num)
    connect(root, pairs)
    return root


def connect(root: np.ndarray, pairs: np.ndarray) -> None:
    """Adds pairs to what `components` returned, in place."""
    first, second = np.asarray(pairs, np.int64).reshape(-1, 2).T
    while len(first):
        left, right = root[first], root[second]
        is_open = left != right
        if not is_open.any():
            return
        first, second, left, right = first[is_open], second[is_open], left[is_open], right[is_open]
        np.minimum.at(root, np.maximum(left, right), np.minimum(left, right))
        while not np.array_equal(above := root[root], root):
            root[:] = above
