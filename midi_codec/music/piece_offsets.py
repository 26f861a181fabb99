"""Columns of several pieces, one after the other: piece i is `offsets[i]` to `offsets[i + 1]`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def offsets_of(lengths: Sequence[int] | np.ndarray) -> np.ndarray:
    """`[pieces + 1]` int64: where pieces of these lengths begin, and where the last one ends."""
    offsets = np.zeros(len(lengths) + 1, np.int64)
    np.cumsum(lengths, out=offsets[1:])
    return offsets


def join_slices(column: np.ndarray, offsets: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """The pieces `rows` of a `[..., total]` column, one after the other."""
    slices = [column[..., begin:stop] for begin, stop in zip(offsets[rows], offsets[rows + 1], strict=True)]
    return np.concatenate([column[..., :0], *slices], axis=-1)


def reduce_pieces(reduce: np.ufunc, column: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """`[pieces]` in the column's dtype, such as the `np.maximum` of each piece; 0 for a piece of length 0."""
    values = np.zeros(len(offsets) - 1, column.dtype)
    filled = np.flatnonzero(np.diff(offsets))
    if filled.size:
        values[filled] = reduce.reduceat(column, offsets[filled])
    return values
