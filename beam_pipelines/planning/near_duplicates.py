"""Finds pairs of fingerprints that agree in so many bins that the pieces are the same music.

Two pieces are compared only if they share a bucket: a band is two bins, and pieces that agree in both share a bucket of
that band. A bucket may be large, so its rows are sorted with similar ones together, and each is compared only with the
few after it: the work grows with the number of pieces, not with its square. Groups are connected components of pairs,
so the copies in a large bucket need not all be compared with one another.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from beam_pipelines.encoding.fingerprints import EMPTY, NUM_VALUES

NUM_BANDS = NUM_VALUES // 2  # band b is the bins b and b + NUM_BANDS
NUM_COMPARED = 8  # rows after each, in a bucket
LEAST_PERCENT = 15  # of the bins must agree where all are filled; up to twice that where few are

_ROWS_AT_ONCE = 1 << 12
_PAIRS_AT_ONCE = 1 << 16


def find_pairs(signatures: np.ndarray, ids: np.ndarray, bands: Iterable[int] = range(NUM_BANDS)) -> np.ndarray:
    """The pairs of a corpus; memory grows with the number of pieces.

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
    order = order[(signatures[order] != EMPTY).any(axis=1)]
    num = len(order)
    chosen = signatures[order]
    filled = fill(chosen)
    found = np.zeros(0, np.int64)  # index of the first * num + index of the second
    for band in bands:
        candidate_pairs = candidates(band_keys(filled, band))
        codes = np.setdiff1d(candidate_pairs[:, 0] * num + candidate_pairs[:, 1], found, assume_unique=True)
        codes = codes[_are_same_in_turns(chosen, codes // num, codes % num)]
        found = np.union1d(found, codes)
    return order[np.stack(np.divmod(found, max(num, 1)), axis=1)]


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


def band_keys(filled: np.ndarray, band: int) -> np.ndarray:
    """`[n]` uint64: the bucket in the upper 32 bits; the next band's bins below, by which a bucket is sorted."""
    following = (band + 1) % NUM_BANDS
    keys = np.zeros(len(filled), np.uint64)
    for column in (band, band + NUM_BANDS, following, following + NUM_BANDS):
        keys = keys << np.uint64(16) | filled[:, column]
    return keys


def candidates(keys: np.ndarray) -> np.ndarray:
    """`[m, 2]` int64 indexes to be compared, the smaller first; no pair twice.

    Args:
      keys: `[n]` uint64 from `band_keys`, of rows in the order of their ids.
    """
    order = np.argsort(keys, kind="stable")
    buckets = keys[order] >> np.uint64(32)
    at = np.arange(len(keys))
    found = [np.zeros((0, 2), np.int64)]
    for step in range(1, NUM_COMPARED + 1):
        at = at[at + step < len(keys)]
        at = at[buckets[at] == buckets[at + step]]
        found.append(np.stack([order[at], order[at + step]], axis=1))
    return np.sort(np.concatenate(found), axis=1)


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
    first, second = np.asarray(pairs, np.int64).reshape(-1, 2).T
    while True:
        left, right = root[first], root[second]
        if (left == right).all():
            return root
        np.minimum.at(root, np.maximum(left, right), np.minimum(left, right))
        while (root[root] != root).any():
            root = root[root]


def _are_same_in_turns(signatures: np.ndarray, left: np.ndarray, right: np.ndarray) -> np.ndarray:
    same = np.zeros(len(left), bool)
    for begin in range(0, len(left), _PAIRS_AT_ONCE):
        end = begin + _PAIRS_AT_ONCE
        same[begin:end] = are_same(signatures[left[begin:end]], signatures[right[begin:end]])
    return same
