"""Archives as folders: the members of .zip, .tar, .tar.gz and .tgz are inputs of their own, listed and read in place.

Nothing that an archive declares is trusted: a name only becomes part of a source, a size only avoids reading what is
too large anyway, and unpacked bytes are counted as they arrive. An archive inside an archive is one of its other files.
"""

from __future__ import annotations

import array
import collections
import dataclasses
import hashlib
import itertools
import math
import re
from collections.abc import Iterator
from typing import BinaryIO

import numpy as np

from beam_pipelines.corpus import chunks
from beam_pipelines.corpus.archives import gzip_index, tar_directory, zip_directory
from beam_pipelines.corpus.archives.tar_directory import BombError, DamagedTarError
from beam_pipelines.corpus.archives.zip_directory import DamagedZipError
from beam_pipelines.corpus.chunks import Container, PackedInputs, Row
from job_runtime import io_errors
from job_runtime.storage import Entry
from job_runtime.storage.seekable_file import open_file, raise_network_error
from midi_codec.listing.glob_pattern import MIDI_EXTENSIONS

ZIP, TAR, TAR_GZ = "zip", "tar", "tar.gz"
MOST_RATIO = 200  # MIDI packs to a third or a tenth; deflate can unpack to 1,032 times as much
FREE_BYTES = 64 << 20  # that an archive may unpack to at any ratio

_UNSAFE = re.compile(r"^[/\\]|^[A-Za-z]:|(?:^|[/\\])\.\.(?:[/\\]|$)|\0")


@dataclasses.dataclass
class Archive:
    """The content of an archive."""

    inputs: PackedInputs
    num_others: int = 0
    indexes: dict[str, bytes] = dataclasses.field(default_factory=dict)  # path -> data to be kept there


def list_archive(entry: Entry, source: str, work_folder: str) -> Archive:
    """The members of an archive as inputs, in the order of the archive.

    A damaged archive gives the members before the damage, and itself as one input that cannot be used. An archive that
    would unpack to an absurd size, or whose members overlap, gives only itself.

    Args:
      source: of the archive; a member's is this, `!`, and its name.
      work_folder: where seek points may be; "" for none.

    Raises:
      OSError: the archive cannot be read, perhaps only for now.
    """
    try:
        with open_file(entry.path, entry.size) as file:
            try:
                return _list_opened(file, entry, source, work_folder)
            except BombError as error:
                return _refused(entry, source, "archive_bomb", f"the archive is refused: {error}")
            finally:
                raise_network_error(file)
    except OSError as error:
        if not io_errors.is_of_one_file(error):
            raise
        return _refused(entry, source, "unreadable", f"the archive cannot be read: {io_errors.reason(error)}")


def _list_opened(file: BinaryIO, entry: Entry, source: str, work_folder: str) -> Archive:
    if entry.path.lower().endswith(".zip"):
        return _list_zip(file, entry, source)
    is_gzip = file.read(2) == b"\x1f\x8b"  # some are called .tar.gz and are not, or the other way round
    file.seek(0)
    if not is_gzip:
        return _list_tar(file, entry, Container(TAR, entry.path, f"{source}!", entry.version, entry.size))[0]
    return _list_tar_gz(file, entry, source, work_folder)


def _refused(entry: Entry, source: str, reason: str, message: str) -> Archive:
    archive = Archive(PackedInputs())
    _add_refusal(archive, entry, source, reason, message)
    return archive


def _add_refusal(archive: Archive, entry: Entry, source: str, reason: str, message: str) -> None:
    """Adds the archive itself, as an input that cannot be used."""
    folder, _, name = entry.path.rpartition("/")
    container = Container(chunks.FOLDER, f"{folder}/", source.removesuffix(name))
    archive.inputs.add(container, Row(name, entry.size, entry.version, reason=reason, message=message))


class _Collector:
    """Collects the members of one archive: inputs, and a count of other files."""

    def __init__(self, container: Container):
        self.archive = Archive(PackedInputs())
        self._container = container
        self._keys = array.array("Q")

    def add(self, row: Row, *, is_file: bool = True) -> None:
        if not is_file or not row.name.lower().endswith(MIDI_EXTENSIONS):
            self.archive.num_others += 1
            return
        if not row.reason and _UNSAFE.search(row.name):
            message = f"the member is called {row.name!r}, want a name below the archive"
            row = row._replace(reason="unsafe_name", message=message)
        self.archive.inputs.add(self._container, row)
        self._keys.append(_key(row.name))

    def build(self) -> Archive:
        """The archive; every member has a unique name."""
        keys, counts = np.unique(np.frombuffer(self._keys, np.uint64), return_counts=True)
        if (counts > 1).any():
            repeated = set(keys[counts > 1].tolist())
            self.archive.inputs = _with_own_names(self.archive.inputs, set(keys.tolist()), repeated)
        return self.archive


def _key(name: str) -> int:
    return int.from_bytes(hashlib.blake2b(name.encode("utf-8", "surrogateescape"), digest_size=8).digest(), "little")


def _with_own_names(inputs: PackedInputs, taken: set[int], repeated: set[int]) -> PackedInputs:
    """Calls the second member of a name `name#2`, and so on; skips a number if another member has that name."""
    counts: collections.Counter[str] = collections.Counter()
    renamed = PackedInputs()
    for container, row in inputs.drain():
        if _key(row.name) in repeated:
            name = row.name
            counts[name] += 1
            while counts[name] > 1 and _key(own := f"{name}#{counts[name]}") in taken:
                counts[name] += 1
            if counts[name] > 1:
                row = row._replace(name=own)
                taken.add(_key(own))
        renamed.add(container, row)
    return renamed


# ------------------------------------------------------------------------------------------------------------- zip


def _list_zip(file: BinaryIO, entry: Entry, source: str) -> Archive:
    container = Container(ZIP, entry.path, f"{source}!", entry.version, entry.size)
    try:
        return _collect_zip(zip_directory.read_directory(file, entry.size), entry, container)
    except DamagedZipError as error:
        scanned = zip_directory.scan(file, entry.size, max_bytes=most_unpacked(entry.size))
        intact = itertools.takewhile(lambda member: _is_within(member, entry), scanned)
        archive = _collect_zip(intact, entry, container)
        _add_refusal(archive, entry, source, "damaged_archive", f"the archive is damaged: {error}")
        return archive


def _collect_zip(members: Iterator[zip_directory.Member], entry: Entry, container: Container) -> Archive:
    collector = _Collector(container)
    begins, ends = array.array("Q"), array.array("Q")
    total = 0
    for member in members:
        if not _is_within(member, entry):
            raise DamagedZipError("a member extends beyond it")
        begins.append(max(member.offset, 0))
        ends.append(max(member.end, 0))
        total += member.size
        _check_total(total, entry.size)
        collector.add(_zip_row(member), is_file=member.is_file)
    order = np.argsort(np.frombuffer(begins, np.uint64), kind="stable")
    if (np.frombuffer(ends, np.uint64)[order][:-1] > np.frombuffer(begins, np.uint64)[order][1:]).any():
        raise BombError("its members overlap")
    return collector.build()


def _is_within(member: zip_directory.Member, entry: Entry) -> bool:
    """Whether a member may be in the archive, even in one that has lost its end; so offsets fit 64 bits."""
    return member.end <= 2 * entry.size + FREE_BYTES


def _check_total(total: int, packed: int) -> None:
    limit = most_unpacked(packed)
    if total > limit:
        raise BombError(f"{packed:,} bytes unpack to {total:,}, want at most {limit:,}")


def most_unpacked(packed: int) -> int:
    """The bytes that an archive of this size may unpack to before it is refused as a bomb."""
    return FREE_BYTES + MOST_RATIO * packed


def _zip_row(member: zip_directory.Member) -> Row:
    reason = message = ""
    if member.is_encrypted:
        reason, message = "encrypted", "the member is encrypted"
    elif member.method not in (zip_directory.STORED, zip_directory.DEFLATED):
        reason, message = "unreadable", f"the member is packed by method {member.method}, want 0 or 8 (deflate)"
    return Row(
        member.name,
        member.size,
        offset=member.offset,
        packed=member.packed,
        method=member.method,
        crc=member.crc,
        reason=reason,
        message=message,
    )


# ------------------------------------------------------------------------------------------------------------- tar


def _list_tar(file: BinaryIO, entry: Entry, container: Container, *, is_gzip: bool = False) -> tuple[Archive, bool]:
    """The content of the archive, and whether all of it could be read."""
    collector = _Collector(container)
    damage = None
    limit = most_unpacked(entry.size) if is_gzip else math.inf
    try:
        for member in tar_directory.read_directory(file, max_bytes=limit, check_end=is_gzip):
            if member.isdir():
                continue
            row = Row(_without_dots(member.name), member.size, offset=member.offset_data)
            if member.issparse():
                row = row._replace(reason="unreadable", message="the member is stored with holes (sparse)")
            collector.add(row, is_file=member.isreg())
    except DamagedTarError as error:
        damage = error
    archive = collector.build()
    if damage is not None:
        source = container.prefix.removesuffix("!")
        _add_refusal(archive, entry, source, "damaged_archive", f"the archive is damaged: {damage}")
    return archive, damage is None


def _without_dots(name: str) -> str:
    """The name without a leading `./`, which `tar c .` gives."""
    while name.startswith("./"):
        name = name[2:].lstrip("/")
    return name


def _list_tar_gz(file: BinaryIO, entry: Entry, source: str, work_folder: str) -> Archive:
    """Unpacks the archive once; the result is kept for later listings and reads."""
    kept = gzip_index.paths_for(entry, source, work_folder if entry.size >= gzip_index.SMALL_BYTES else "")
    container = Container(TAR_GZ, entry.path, f"{source}!", entry.version, entry.size, kept.index)
    if (known := gzip_index.load_members(kept)) is not None:
        return Archive(*known)
    if not kept.index:
        return _list_tar(gzip_index.open_in_order(file), entry, container, is_gzip=True)[0]
    with gzip_index.open_to_index(file) as unpacked:
        archive, is_whole = _list_tar(unpacked, entry, container, is_gzip=True)
        if not (is_whole and gzip_index.is_one_stream(file, unpacked.tell())):
            archive, _ = _list_tar(gzip_index.open_in_order(file), entry, container, is_gzip=True)
        archive.indexes = gzip_index.to_keep(kept, unpacked, archive.inputs, archive.num_others)
    return archive
