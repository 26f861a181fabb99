"""Objects in a temporary file, in order: for what is made of many pieces before the result can be written."""

from __future__ import annotations

import pickle
import tempfile
from collections.abc import Iterator
from typing import Generic, TypeVar

T = TypeVar("T")


class Spool(Generic[T]):
    """Append, then iterate, as often as wanted. The file has no name, so it is gone when the process is."""

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
