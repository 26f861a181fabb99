"""Seek points in a .tar.gz, so that a chunk is read from the middle. The work folder keeps them, with the members.

`indexed_gzip` makes them: every 8 MiB it keeps the preceding 32 KiB, from which unpacking can continue. It returns to
such a point for each read, so it is read in large blocks. It drops a whole block that holds damage, so Python's own
`gzip` reads damaged archives.
"""

from __future__ import annotations

import contextlib
import dataclasses
import gzip
import hashlib
import io
import json
import zlib
from typing import TYPE_CHECKING, BinaryIO, cast

from beam_pipelines.corpus.chunks import PackedInputs
from job_runtime import storage
from job_runtime.storage import Entry

if TYPE_CHECKING:
    import indexed_gzip

SMALL_BYTES = 4 << 20  # a smaller .tar.gz is unpacked from its start sooner than its seek points are fetched
_SPACING_BYTES = 8 << 20
_MOST_AT_ONCE = 32 << 20
_DAMAGE = (OSError, EOFError, ValueError, zlib.error)
_FORMAT = 1  # of what is kept; a new number whenever its meaning changes


@dataclasses.dataclass(frozen=True)
class Kept:
    """Paths in the work folder; "" where there is none."""

    index: str
    members: str


def paths_for(entry: Entry, source: str, work_folder: str) -> Kept:
    """Where the data on this archive is kept. The names are hidden, so that an output folder's check ignores them."""
    if not work_folder:
        return Kept("", "")
    told_apart_by = f"{_FORMAT} {entry.size} {entry.version} {entry.path}\0{source}"
    key = hashlib.sha256(told_apart_by.encode("utf-8", "surrogateescape")).hexdigest()[:32]
    return Kept(storage.join(work_folder, f".{key}.gzidx"), storage.join(work_folder, f".{key}.members"))


def load_members(kept: Kept) -> tuple[PackedInputs, int] | None:
    """The inputs of an archive and how many other files it has, as a run before this one saw them."""
    if not kept.members:
        return None
    try:
        head, _, blocks = storage.read_bytes(kept.members).partition(b"\n")
        num_others, lengths = json.loads(head)
        return PackedInputs.from_blocks(blocks, lengths), num_others
    except (FileNotFoundError, PermissionError, ValueError):
        return None


def to_keep(
    kept: Kept, unpacked: indexed_gzip.IndexedGzipFile, inputs: PackedInputs, num_others: int
) -> dict[str, bytes]:
    """The data by the path to write it to, once the work folder may be written."""
    if not kept.index:
        return {}
    index = io.BytesIO()
    unpacked.export_index(fileobj=index)
    blocks, lengths = inputs.to_blocks()
    head = json.dumps([num_others, lengths]).encode()
    return {kept.index: index.getvalue(), kept.members: head + b"\n" + blocks}


def is_one_stream(file: BinaryIO, num_bytes: int) -> bool:
    """Whether the file is one stream of this many unpacked bytes: `indexed_gzip` ignores what follows the first."""
    position = file.tell()
    file.seek(-4, io.SEEK_END)
    declared = int.from_bytes(file.read(4), "little")
    file.seek(position)
    return declared == num_bytes & 0xFFFFFFFF


def open_in_order(file: BinaryIO) -> BinaryIO:
    """The unpacked archive, to be read from its beginning, up to the exact position of any damage."""
    file.seek(0)
    return cast(BinaryIO, gzip.GzipFile(fileobj=file))


def open_to_index(file: BinaryIO, at_once: int = _MOST_AT_ONCE) -> indexed_gzip.IndexedGzipFile:
    """The unpacked archive, read in blocks of `at_once` bytes; reading it makes seek points."""
    import indexed_gzip  # not before there is such an archive

    return indexed_gzip.IndexedGzipFile(fileobj=_WithoutDescriptor(file), spacing=_SPACING_BYTES, buffer_size=at_once)


class _WithoutDescriptor:
    """A file that hides its descriptor from `indexed_gzip`, which would bypass Python's buffer."""

    def __init__(self, file: BinaryIO):
        self.read, self.seek, self.tell = file.read, file.seek, file.tell


class MemberReader:
    """Reads ranges of the unpacked archive, fastest in their order."""

    def __init__(self, file: BinaryIO, index_path: str, *, span: int):
        """`span`: bytes from the first range to the last, which are best unpacked together."""
        self._file = file
        self._indexed = None
        if index_path:
            with contextlib.suppress(FileNotFoundError, PermissionError, *_DAMAGE):
                index = io.BytesIO(storage.read_bytes(index_path))
                self._indexed = open_to_index(file, min(max(span, 1 << 16), _MOST_AT_ONCE))
                self._indexed.import_index(fileobj=index)
        self._unpacked = self._indexed or open_in_order(file)

    def read_at(self, offset: int, length: int) -> bytes:
        """Some bytes; fewer where the archive ends.

        Raises:
          OSError, EOFError, ValueError, zlib.error: the archive is damaged before the end of this range.
        """
        if self._unpacked is self._indexed:
            try:
                return self._read(offset, length)
            except _DAMAGE:
                self._unpacked = open_in_order(self._file)
        return self._read(offset, length)

    def _read(self, offset: int, length: int) -> bytes:
        self._unpacked.seek(offset)
        return self._unpacked.read(length)
