"""What does not fit into memory, in temporary files without a name: they are gone when the process is.

They lie in the folder for temporary files (`TMPDIR`). Pages that were read stay in the page cache, not in the process.
"""

from __future__ import annotations

import itertools
import mmap
import os
import pickle
import tempfile
from collections.abc import Iterator, Sequence
from typing import Any, Generic, TypeVar

import numpy as np

T = TypeVar("T")
ROWS_AT_ONCE = 1 << 16
_PAGES_AT_ONCE = 1 << 13
_ENCODING = ("utf-8", "surrogatepass")


class Spool(Generic[T]):
    """Objects, in order: append, then iterate, as often as wanted."""

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 (closed with the object)
        self._size = 0

    def __len__(self) -> int:
        return self._size

    def append(self, item: T) -> None:
        pickle.dump(item, self._file, pickle.HIGHEST_PROTOCOL)
        self._size += 1

    def __iter__(self) -> Iterator[T]:
        self._file.seek(0)
        for _ in range(self._size):
            yield pickle.load(self._file)
        self._file.seek(0, 2)


class _Bytes:
    """A file that grows."""

    def __init__(self) -> None:
        self.size = 0
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 (closed with the object)
        self._mapped = mmap.mmap(-1, 1)
        self._is_flushed = True

    def append(self, data: bytes) -> None:
        self._file.write(data)
        self.size += len(data)
        self._is_flushed = False

    def read(self, begin: int, end: int) -> bytes:
        self._flush()
        return os.pread(self._file.fileno(), end - begin, begin)

    def map(self) -> mmap.mmap:
        """The whole file, for reading a little here and there."""
        self._flush()
        if self.size and len(self._mapped) != self.size:
            self._mapped = mmap.mmap(self._file.fileno(), self.size, access=mmap.ACCESS_READ)
            self._mapped.madvise(mmap.MADV_RANDOM)
        return self._mapped

    def release(self) -> None:
        """The process lets go of the pages that it has read."""
        self._mapped.madvise(mmap.MADV_DONTNEED)

    def _flush(self) -> None:
        if not self._is_flushed:
            self._file.flush()
            self._is_flushed = True


class ArraySpool:
    """Rows of one dtype, such as `(np.uint16, (128,))`: append arrays, then read blocks, or rows in any order."""

    def __init__(self, dtype: Any) -> None:
        self.dtype = np.dtype(dtype)
        self._bytes = _Bytes()

    def __len__(self) -> int:
        return self._bytes.size // self.dtype.itemsize

    def append(self, rows: np.ndarray) -> None:
        array = np.ascontiguousarray(rows, self.dtype.base)
        self._bytes.append(array.tobytes())

    def blocks(self, begin: int = 0, end: int | None = None) -> Iterator[np.ndarray]:
        """The rows from `begin` to `end`, ROWS_AT_ONCE at a time."""
        end = len(self) if end is None else end
        for first in range(begin, end, ROWS_AT_ONCE):
            yield self.take(slice(first, min(first + ROWS_AT_ONCE, end)))

    def take(self, rows: np.ndarray | slice) -> np.ndarray:
        """A copy of some rows."""
        if isinstance(rows, slice):
            begin, end, _ = rows.indices(len(self))
            size = self.dtype.itemsize
            return np.frombuffer(self._bytes.read(begin * size, end * size), self.dtype).copy()
        chosen = np.empty(len(rows), self.dtype)
        for begin in range(0, len(rows), _PAGES_AT_ONCE):
            some = slice(begin, begin + _PAGES_AT_ONCE)
            chosen[some] = np.frombuffer(self._bytes.map(), self.dtype)[rows[some]]
            self._bytes.release()
        return chosen

    def column(self, name: str) -> np.ndarray:
        """One field of all rows."""
        column = np.empty(len(self), self.dtype[name])
        for begin, block in zip(itertools.count(0, ROWS_AT_ONCE), self.blocks()):  # noqa: B905 (endless)
            column[begin : begin + len(block)] = block[name]
        return column


class TextSpool:
    """Texts: append some, then iterate, or take some in any order."""

    def __init__(self) -> None:
        self._text = _Bytes()
        self._ends = ArraySpool(np.int64)

    def __len__(self) -> int:
        return len(self._ends)

    def append(self, texts: Sequence[str]) -> None:
        encoded = [text.encode(*_ENCODING) for text in texts]
        self._ends.append(self._text.size + np.cumsum(np.array([len(data) for data in encoded], np.int64)))
        self._text.append(b"".join(encoded))

    def __iter__(self) -> Iterator[str]:
        return self.read(0, len(self))

    def read(self, begin: int, end: int) -> Iterator[str]:
        """The texts from `begin` to `end`."""
        for first in range(begin, end, ROWS_AT_ONCE):
            yield from self.take(np.arange(first, min(first + ROWS_AT_ONCE, end)))

    def take(self, rows: np.ndarray) -> list[str]:
        """Some of the texts; all of them are objects at a time."""
        rows = np.asarray(rows, np.int64)
        begins = np.where(rows > 0, self._ends.take(np.maximum(rows - 1, 0)), 0).tolist()
        ends = self._ends.take(rows).tolist()
        texts = []
        for first in range(0, len(rows), _PAGES_AT_ONCE):
            places = zip(begins[first : first + _PAGES_AT_ONCE], ends[first : first + _PAGES_AT_ONCE], strict=True)
            mapped = self._text.map()
            texts += [mapped[begin:end].decode(*_ENCODING) for begin, end in places]
            self._text.release()
        return texts


def in_blocks(rows: np.ndarray) -> Iterator[np.ndarray]:
    """The array, ROWS_AT_ONCE at a time."""
    for begin in range(0, len(rows), ROWS_AT_ONCE):
        yield rows[begin : begin + ROWS_AT_ONCE]
