"""Sorts the positions of a long string by the `DEPTH` symbols from each one on, a bucket at a time.

A bucket holds the positions whose first symbols are in one range, so the sorted buckets, one after another, are the
sorted positions. Symbols become codes of as few bits as there are different ones, and as many codes as fit become one
number of 64 bits; positions that agree in it are sorted by the next ones. So memory depends on the bucket alone.
Positions that begin with BOUNDARY are left out, because nothing agrees with them.
"""

from __future__ import annotations

import dataclasses
import itertools
import tempfile
from collections.abc import Callable, Collection, Iterator

import numpy as np

from midi_codec.measures.note_strings import BOUNDARY

DEPTH = 32  # symbols that positions are sorted by
BUCKET = 1 << 21  # positions, which take 80 bytes each; more where one beginning is very common
MAX_BUCKETS = 256
_CELL_BITS = 24  # at most, of the beginnings that are counted
_CHUNK = 1 << 20


@dataclasses.dataclass(frozen=True, eq=False)
class Buckets:
    """The buckets of a string.

    Attributes:
      symbol: `[total + DEPTH]` uint16.
      codes: `[65536]` uint64, of each symbol, in the same order.
      bits: of a code.
      num_first: the first symbols that decide the bucket.
      bucket_of: int16, of each number that these symbols' codes make.
      check: called every second or so; may raise an exception to stop.
    """

    symbol: np.ndarray
    codes: np.ndarray
    bits: int
    num_first: int
    bucket_of: np.ndarray
    check: Callable[[], None]

    @classmethod
    def of(cls, symbol: np.ndarray, check: Callable[[], None] = lambda: None) -> Buckets:
        total = len(symbol) - DEPTH
        is_used = np.zeros(BOUNDARY + 1, bool)
        for begin in range(0, len(symbol), _CHUNK):
            is_used[symbol[begin : begin + _CHUNK]] = True
        codes = (np.cumsum(is_used) - 1).astype(np.uint64)
        bits = max(1, int(is_used.sum() - 1).bit_length())
        num_first = max(1, min(_CELL_BITS, total.bit_length()) // bits)
        buckets = cls(symbol, codes, bits, num_first, np.zeros(0, np.int16), check)
        counts = np.zeros(1 << bits * num_first, np.int64)
        for positions in buckets._chunks():
            cells, number = np.unique(buckets._keys(positions, 0, num_first), return_counts=True)
            counts[cells.astype(np.int64)] += number
        size = max(BUCKET, -(-total // MAX_BUCKETS))
        before = np.minimum(np.cumsum(counts) - counts, max(counts.sum() - 1, 0))
        bucket_of = (before // size).astype(np.int16)
        return dataclasses.replace(buckets, bucket_of=bucket_of)

    def __len__(self) -> int:
        return int(self.bucket_of[-1]) + 1

    def sort(self, chosen: Collection[int]) -> Iterator[tuple[int, np.ndarray]]:
        """Each of the chosen buckets with its sorted positions, uint32; ties in the order of positions."""
        files = {bucket: tempfile.TemporaryFile() for bucket in sorted(chosen)}  # noqa: SIM115
        try:
            for positions in self._chunks():
                self._divide(positions, files)
            for bucket, file in files.items():
                file.seek(0)
                yield bucket, self._sort(np.frombuffer(file.read(), np.uint32))
        finally:
            for file in files.values():
                file.close()

    def _chunks(self) -> Iterator[np.ndarray]:
        """All positions that are sorted, ascending, int64."""
        total = len(self.symbol) - DEPTH
        for begin in range(0, total, _CHUNK):
            self.check()
            end = min(begin + _CHUNK, total)
            yield begin + np.flatnonzero(self.symbol[begin:end] != BOUNDARY)

    def _keys(self, positions: np.ndarray, first: int, count: int) -> np.ndarray:
        """`[positions]` uint64: `count` symbols from the `first` one on, as one number."""
        keys = np.zeros(len(positions), np.uint64)
        for ahead in range(first, first + count):
            keys = keys << np.uint64(self.bits) | self.codes[self.symbol[positions + ahead]]
        return keys

    def _divide(self, positions: np.ndarray, files: dict) -> None:
        """Appends the positions to the files of their buckets."""
        bucket = self.bucket_of[self._keys(positions, 0, self.num_first).astype(np.int64)]
        order = np.argsort(bucket, kind="stable")
        bucket, positions = bucket[order], positions[order].astype(np.uint32)
        begins = np.flatnonzero(np.diff(bucket, prepend=-1))
        for begin, end in itertools.pairwise([*begins, len(bucket)]):
            if file := files.get(int(bucket[begin])):
                file.write(positions[begin:end])

    def _sort(self, positions: np.ndarray) -> np.ndarray:
        order = positions.copy()
        count = 64 // self.bits
        tied = np.arange(len(order))  # places in `order` that are not decided
        group = np.zeros(len(order), np.int64)  # of each of them, ascending; places of a group are adjacent
        for first in range(0, DEPTH if len(order) else 0, count):
            keys = self._keys(order[tied].astype(np.int64), first, min(count, DEPTH - first))
            ranks = np.lexsort((keys, group)) if first else np.argsort(keys, kind="stable")
            order[tied], keys = order[tied][ranks], keys[ranks]
            is_new = np.append(True, (np.diff(group) != 0) | (keys[1:] != keys[:-1]))
            is_tied = ~(is_new & np.append(is_new[1:], True))
            tied, group = tied[is_tied], np.cumsum(is_new)[is_tied]
            if not len(tied):
                break
        return order
