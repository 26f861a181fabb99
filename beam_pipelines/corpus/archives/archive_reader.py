"""Reads members of an archive in their order, each up to its limit."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Sequence
from typing import BinaryIO

from beam_pipelines.corpus import chunks
from beam_pipelines.corpus.archives import archive_listing, gzip_index, zip_directory
from beam_pipelines.corpus.archives.zip_directory import DamagedZipError
from beam_pipelines.corpus.chunks import Container, Item, Row, too_large
from job_runtime import io_errors
from job_runtime.storage.seekable_file import open_file, raise_network_error

_SLACK_BYTES = 1 << 16  # that deflate may add to data that does not compress


class _MemberError(Exception):
    """The member cannot be read; reason and message of its reject."""


def open_archive(container: Container) -> BinaryIO | OSError:
    """The archive, or why all its members are rejects."""
    try:
        return open_file(container.path, container.size)
    except OSError as error:
        if not io_errors.is_of_one_file(error):
            raise
        return error


def read_members(file: BinaryIO | OSError, container: Container, rows: Sequence[Row], max_bytes: int) -> Iterator[Item]:
    """Each member once; no more than `max_bytes` of it is unpacked. Closes the archive."""
    if isinstance(file, OSError):
        for row in rows:
            yield _refused(container, row, "unreadable", f"the archive cannot be read: {io_errors.reason(file)}")
        return
    with file:
        read = _READERS[container.kind](file, container, rows, max_bytes)
        for row in rows:
            try:
                data = _read(read, row, max_bytes)
            except _MemberError as error:
                yield _refused(container, row, *error.args)
            except OSError as error:
                if not io_errors.is_of_one_file(error):
                    raise
                reason = io_errors.reason(error)
                yield _refused(container, row, "unreadable", f"the archive cannot be read: {reason}")
            else:
                yield Item(chunks.source_of(container, row), data, len(data))
            finally:
                raise_network_error(file)


def _refused(container: Container, row: Row, reason: str, message: str) -> Item:
    return Item(chunks.source_of(container, row), None, row.size, reason, message)


def _read(read: Callable[[Row], bytes], row: Row, max_bytes: int) -> bytes:
    if row.reason:
        raise _MemberError(row.reason, row.message)
    if row.size > max_bytes:
        raise _MemberError(*too_large(row.size, max_bytes))
    return read(row)


def _zip_reader(file: BinaryIO, container: Container, rows: Sequence[Row], max_bytes: int) -> Callable[[Row], bytes]:
    def read(row: Row) -> bytes:
        if row.packed > max_bytes + _SLACK_BYTES:
            raise _MemberError(*too_large(row.packed, max_bytes))
        try:
            zip_directory.skip_local_header(file, row.offset)
            data = _unpack(file.read(row.packed), row.method, max_bytes)
        except (DamagedZipError, zlib.error) as error:
            raise _MemberError("unreadable", f"the member is damaged: {error}") from error
        if len(data) > max_bytes:
            raise _MemberError(*too_large(len(data), max_bytes))
        if zlib.crc32(data) != row.crc:
            raise _MemberError("unreadable", "the member is damaged: its checksum does not match")
        return data

    return read


def _tar_reader(file: BinaryIO, container: Container, rows: Sequence[Row], max_bytes: int) -> Callable[[Row], bytes]:
    def read(row: Row) -> bytes:
        file.seek(row.offset)
        return _whole(file.read(row.size), row)

    return read


def _tar_gz_reader(file: BinaryIO, container: Container, rows: Sequence[Row], max_bytes: int) -> Callable[[Row], bytes]:
    span = rows[-1].offset + min(rows[-1].size, max_bytes) - rows[0].offset
    members = gzip_index.MemberReader(file, container.index, span=span)

    def read(row: Row) -> bytes:
        try:
            return _whole(members.read_at(row.offset, row.size), row)
        except (OSError, EOFError, ValueError, zlib.error) as error:  # all errors that damaged gzip can raise
            raise _MemberError("unreadable", "the archive is damaged before the end of its member") from error

    return read


def _whole(data: bytes, row: Row) -> bytes:
    if len(data) < row.size:
        raise _MemberError("unreadable", "the archive ends before its member does")
    return data


def _unpack(packed: bytes, method: int, max_bytes: int) -> bytes:
    if method == zip_directory.STORED:
        return packed
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    return inflater.decompress(packed, max_bytes + 1)


_READERS = {archive_listing.ZIP: _zip_reader, archive_listing.TAR: _tar_reader, archive_listing.TAR_GZ: _tar_gz_reader}
