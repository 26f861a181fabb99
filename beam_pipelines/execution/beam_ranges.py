"""Data between workers: packed in arrays, divided by ranges of digests, which are spread evenly.

A Python object per piece or pair costs a runner more than the work itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import apache_beam as beam
import numpy as np
from apache_beam.transforms.window import GlobalWindow
from apache_beam.utils.windowed_value import WindowedValue

from beam_pipelines.planning import digests

MOST_ROWS = 1 << 13  # in a packed element: a few MB, since runners want small elements


class PackFn(beam.DoFn):
    """Joins small arrays, or other objects with a length that `join` makes one of."""

    def __init__(self, join: Callable[[Sequence[Any]], Any] = np.concatenate):
        self._join = join

    def start_bundle(self) -> None:
        self._arrays: list[Any] = []

    def process(self, array: Any) -> Iterator[Any]:
        self._arrays.append(array)
        if sum(map(len, self._arrays)) >= MOST_ROWS:
            yield self._pack()

    def finish_bundle(self) -> Iterator[WindowedValue]:
        if self._arrays:
            window = GlobalWindow()
            yield WindowedValue(self._pack(), window.max_timestamp(), [window])

    def _pack(self) -> Any:
        arrays, self._arrays = self._arrays, []
        return self._join(arrays)


def by_digest(table: Any, column: np.ndarray, num_ranges: int) -> Iterator[tuple[int, Any]]:
    """The rows by range of the digests in a column of theirs."""
    ids = np.ascontiguousarray(column).view(np.uint8).reshape(-1, digests.DTYPE.itemsize)
    return divide(table, ids[:, 0].astype(np.int64) << 8 | ids[:, 1], 1 << 16, num_ranges)


def by_name(array: np.ndarray, name: str, num_ranges: int) -> Iterator[tuple[int, np.ndarray]]:
    """As `by_digest`, by the field of a name."""
    return by_digest(array, array[name], num_ranges)


def divide(table: Any, values: np.ndarray, num_values: int, num_ranges: int) -> Iterator[tuple[int, Any]]:
    """Rows by the range that their value is in: (range, rows)."""
    ranges = values.astype(np.uint64) * np.uint64(num_ranges) // np.uint64(num_values)
    for number in np.unique(ranges).tolist():
        yield number, table[ranges == number]
