"""A seekable file in any storage, for reading archives without fetching them whole."""

from __future__ import annotations

import collections
import io
from typing import TYPE_CHECKING, BinaryIO, cast

from job_runtime import storage
from job_runtime.storage import local

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

BLOCK_BYTES = 4 << 20  # some 80 MB per second at 50 ms per request; few members of archives are larger
_NUM_BLOCKS = 4


def open_file(path: str, size: int) -> BinaryIO:
    """Opens for reading; `size` is that of the listing.

    Raises:
      OSError: as `storage.read_bytes`.
    """
    if not storage.is_remote(path):
        return local.open_regular(path)
    file = RangeFile(path, size)
    if size <= BLOCK_BYTES:
        file.peek()
    else:
        storage.read_range(path, 0, 1)  # only checks that it can be read: its first block may not be needed
    return cast(BinaryIO, file)


def raise_network_error(file: BinaryIO) -> None:
    """Raises the original error of a fetch, which a library in between may have hidden; the content is not at fault."""
    error = getattr(file, "error", None)
    if error is not None:
        raise error


class RangeFile(io.RawIOBase):
    """A file that is read in blocks by range requests; keeps the last few blocks.

    An error while reading is also kept in `error`, for callers of a library that swallows it.
    """

    def __init__(self, path: str, size: int):
        super().__init__()
        self.error: Exception | None = None
        self._path = path
        self._size = size
        self._position = 0
        self._blocks: collections.OrderedDict[int, bytes] = collections.OrderedDict()

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        if start + offset < 0:
            raise ValueError(f"position is {start + offset}, want at least 0")
        self._position = start + offset
        return self._position

    def readinto(self, buffer: WriteableBuffer) -> int:
        """Fills `buffer`, up to the end of the file; no short reads before it."""
        view = memoryview(buffer).cast("B")
        done = 0
        while done < len(view) and self._position < self._size:
            number, skip = divmod(self._position, BLOCK_BYTES)
            piece = self._block(number)[skip : skip + len(view) - done]
            if not piece:  # shorter than the listing said
                break
            view[done : done + len(piece)] = piece
            done += len(piece)
            self._position += len(piece)
        return done

    def peek(self) -> None:
        """Fetches the first block."""
        if self._size:
            self._block(0)

    def _block(self, number: int) -> bytes:
        if number in self._blocks:
            self._blocks.move_to_end(number)
            return self._blocks[number]
        offset = number * BLOCK_BYTES
        try:
            block = storage.read_range(self._path, offset, min(BLOCK_BYTES, self._size - offset))
        except Exception as error:
            self.error = error
            raise
        self._blocks[number] = block
        if len(self._blocks) > _NUM_BLOCKS:
            self._blocks.popitem(last=False)
        return block
