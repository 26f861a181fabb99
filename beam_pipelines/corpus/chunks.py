"""A chunk: some inputs as bytes with everything needed to read them, on any machine that can reach the files.

An input is in a folder, below which it has a path, or in an archive, in which it has an offset; both are containers. A
chunk is the inputs of a few containers, packed by columns. The same inputs always give the same bytes, so a hash of a
chunk names its result.
"""

from __future__ import annotations

import collections
import dataclasses
import itertools
import json
import zlib
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

FOLDER = "folder"


@dataclasses.dataclass(frozen=True)
class Container:
    """A folder or archive that holds inputs, and the beginning of their sources."""

    kind: str  # FOLDER, or the kind of archive
    path: str  # of the archive; or of the folder, with the slash at its end
    prefix: str  # source = prefix + name
    version: str = ""  # of the archive
    size: int = 0  # of the archive, bytes
    index: str = ""  # path of its seek points, if there are any


class Row(NamedTuple):
    """One input: its path below the folder, or its position in the archive."""

    name: str
    size: int  # bytes, according to the listing
    version: str = ""  # of a file
    offset: int = 0  # of a member: where its header (zip) or its data (tar) begins
    packed: int = 0  # compressed bytes of a zip's member
    method: int = 0  # compression of a zip's member
    crc: int = 0  # of a zip's member, unpacked
    reason: str = ""  # why it is not read: a reject's slug
    message: str = ""


Input = tuple[Container, Row]


def pack(inputs: Iterable[Input], *, level: int = 6) -> bytes:
    """The inputs as a chunk; inputs of one container should be neighbours."""
    segments = []
    for container, run in itertools.groupby(inputs, key=lambda each: each[0]):
        columns = zip(*(row for _, row in run), strict=True)
        segments.append([dataclasses.astuple(container), *columns])
    return zlib.compress(json.dumps(segments, separators=(",", ":")).encode(), level)


def unpack(chunk: bytes) -> Iterator[Input]:
    """The inputs of a chunk, in order."""
    for container_values, *columns in json.loads(zlib.decompress(chunk)):
        container = Container(*container_values)
        for values in zip(*columns, strict=True):
            yield container, Row(*values)


class Item(NamedTuple):
    """An input that was read, or was not."""

    source: str
    data: bytes | None
    size: int  # bytes, if known; else storage.UNKNOWN_SIZE
    reason: str | None = None  # a fixed slug, if there is no data
    message: str | None = None


def too_large(size: int, max_bytes: int) -> tuple[str, str]:
    """Reason and message of a file above the limit. A size of one byte more may mean that reading stopped there."""
    if size == max_bytes + 1:
        return "too_large", f"the file has more than {max_bytes:,} bytes"
    return "too_large", f"the file has {size:,} bytes, want at most {max_bytes:,}"


def source_of(container: Container, row: Row) -> str:
    """What an input is called in ledgers and records."""
    return container.prefix + row.name


class PackedInputs:
    """Many inputs, held as bytes: about 30 per input for files of a folder."""

    _BLOCK = 1_000

    def __init__(self) -> None:
        self._blocks: collections.deque[bytes] = collections.deque()
        self._open: list[Input] = []
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def add(self, container: Container, row: Row) -> None:
        self._open.append((container, row))
        self._count += 1
        if len(self._open) == self._BLOCK:
            self._close()

    def extend(self, other: PackedInputs) -> None:
        self._close()
        other._close()
        self._blocks += other._blocks
        self._count += len(other)

    def __iter__(self) -> Iterator[Input]:
        self._close()
        for block in self._blocks:
            yield from unpack(block)

    def drain(self) -> Iterator[Input]:
        """The inputs; each block is released once it is unpacked."""
        self._close()
        while self._blocks:
            yield from unpack(self._blocks.popleft())

    def to_blocks(self) -> tuple[bytes, list[int]]:
        """The packed inputs, concatenated, and the lengths that separate them."""
        self._close()
        return b"".join(self._blocks), [len(self), *map(len, self._blocks)]

    @classmethod
    def from_blocks(cls, blocks: bytes, lengths: Sequence[int]) -> PackedInputs:
        """The inverse of `to_blocks`.

        Raises:
          ValueError: some of the bytes are missing.
        """
        packed = cls()
        packed._count, *rest = lengths
        ends = list(itertools.accumulate(rest, initial=0))
        if ends[-1] != len(blocks):
            raise ValueError(f"{len(blocks)} bytes, want {ends[-1]}")
        packed._blocks.extend(blocks[begin:end] for begin, end in itertools.pairwise(ends))
        return packed

    def _close(self) -> None:
        if self._open:
            self._blocks.append(pack(self._open, level=1))
            self._open = []
