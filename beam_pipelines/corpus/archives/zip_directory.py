"""The members of a .zip, without keeping an object for each.

The format: https://pkware.cachefly.net/webdocs/casestudies/APPNOTE.TXT. `zipfile` is not used, because it keeps about
700 bytes per member, reads the directory again each time it is opened, and gives up on an archive without its end.
"""

from __future__ import annotations

import stat
import struct
import zlib
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

STORED, DEFLATED = 0, 8

_LOCAL = struct.Struct("<4s5H3I2H")
_CENTRAL = struct.Struct("<4s6H3I5H2I")
_END = struct.Struct("<4s4H2IH")
_LOCATOR_64 = struct.Struct("<4sIQI")
_END_64 = struct.Struct("<4sQ2H2I4Q")
_ENCRYPTED = 0x1 | 0x40 | 0x2000
_HAS_DESCRIPTOR = 0x8
_UTF_8 = 0x800
_FULL_16, _FULL_32 = 0xFFFF, 0xFFFFFFFF
_PIECE = 1 << 16


class DamagedZipError(ValueError):
    """The directory cannot be read; the message says why."""


class Member(NamedTuple):
    """One entry, with its declared sizes."""

    name: str
    size: int
    packed: int
    offset: int  # of its local header
    method: int
    crc: int
    is_encrypted: bool
    is_file: bool  # neither folder nor link

    @property
    def end(self) -> int:
        """The earliest possible end of it."""
        return self.offset + _LOCAL.size + self.packed


def read_directory(file: BinaryIO, file_size: int) -> Iterator[Member]:
    """The members in the directory at the end of the archive.

    Raises:
      DamagedZipError: there is no directory, or it is cut or overwritten.
    """
    count, size, offset, shift = _find_directory(file, file_size)
    if shift < 0 or offset + shift < 0 or count * _CENTRAL.size > size:
        raise DamagedZipError("its directory is not where its end record says")
    file.seek(offset + shift)
    for _ in range(count):
        fields = _read(file, _CENTRAL)
        (signature, made_by, _, flags, method, _, _, crc, packed, size, name_length, extra_length) = fields[:12]
        comment_length, _, _, attributes, header_offset = fields[12:]
        if signature != b"PK\1\2":
            raise DamagedZipError("its directory is damaged")
        name = _read_exactly(file, name_length)
        extra = _read_exactly(file, extra_length)
        _read_exactly(file, comment_length)
        size, packed, header_offset = _with_zip64(extra, size, packed, header_offset)
        is_link = made_by >> 8 == 3 and stat.S_ISLNK(attributes >> 16)  # 3: its attributes are Unix's
        text = _decode(name, flags)
        yield Member(
            text,
            size,
            packed,
            header_offset + shift,
            method,
            crc,
            bool(flags & _ENCRYPTED),
            not text.endswith("/") and not is_link,
        )


def _find_directory(file: BinaryIO, file_size: int) -> tuple[int, int, int, int]:
    """(members, bytes, declared offset, bytes before the archive)."""
    tail_length = min(file_size, _END.size + _FULL_16)
    file.seek(file_size - tail_length)
    tail = _read_exactly(file, tail_length)
    position = tail.rfind(b"PK\5\6", 0, tail_length - _END.size + 4)
    if position < 0:
        raise DamagedZipError("it has no directory at its end")
    _, _, _, _, count, size, offset, _ = _END.unpack_from(tail, position)
    end = file_size - tail_length + position
    if count == _FULL_16 or size == _FULL_32 or offset == _FULL_32:
        file.seek(max(end - _LOCATOR_64.size, 0))
        signature, _, offset_64, _ = _read(file, _LOCATOR_64)
        if signature == b"PK\6\7":
            end = end - _LOCATOR_64.size - _END_64.size
            for end_64 in (offset_64, end):  # where it is declared; or where it is if something precedes the archive
                file.seek(max(min(end_64, file_size), 0))
                signature, *_, count, size, offset = _read(file, _END_64)
                if signature == b"PK\6\6":
                    end = end_64
                    break
            else:
                raise DamagedZipError("its directory is not where its end record says")
    return count, size, offset, end - size - offset


def scan(file: BinaryIO, file_size: int, *, max_bytes: int) -> Iterator[Member]:
    """The members before any damage, found by their own headers; for an archive without a directory.

    Args:
      max_bytes: what a member of unknown size may unpack to; a larger one counts as damage.
    """
    offset = 0
    while offset + _LOCAL.size <= file_size:
        file.seek(offset)
        signature, _, flags, method, _, _, crc, packed, size, name_length, extra_length = _read(file, _LOCAL)
        if signature != b"PK\3\4" or offset + _LOCAL.size + name_length + extra_length > file_size:
            return
        name = _decode(_read_exactly(file, name_length), flags)
        size, packed, _ = _with_zip64(_read_exactly(file, extra_length), size, packed, 0)
        start = offset + _LOCAL.size + name_length + extra_length
        end = start + packed
        if flags & _HAS_DESCRIPTOR and not packed:
            unpacked = _inflated_to_end(file, max_bytes) if method == DEFLATED else None
            if unpacked is None:
                return
            packed, size, crc = unpacked
            end = _after_descriptor(file, start + packed)
        yield Member(name, size, packed, offset, method, crc, bool(flags & _ENCRYPTED), not name.endswith("/"))
        offset = end


def _inflated_to_end(file: BinaryIO, max_bytes: int) -> tuple[int, int, int] | None:
    """(packed bytes, bytes, CRC) of the deflate stream that starts here; None if it does not end within the limit."""
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    packed = size = crc = 0
    pending = b""
    while not inflater.eof:
        pending = pending or file.read(_PIECE)
        if not pending or size > max_bytes:
            return None
        try:
            data = inflater.decompress(pending, _PIECE)
        except zlib.error:
            return None
        rest = inflater.unused_data if inflater.eof else inflater.unconsumed_tail
        packed += len(pending) - len(rest)
        pending = rest
        size += len(data)
        crc = zlib.crc32(data, crc)
    return packed, size, crc


def _after_descriptor(file: BinaryIO, end: int) -> int:
    """Where the next header is: a descriptor may have a signature, and fields of 32 or 64 bits."""
    file.seek(end)
    following = file.read(24 + 4)
    for length in (12, 16, 20, 24):
        if following[length : length + 4] in (b"PK\3\4", b"PK\1\2"):
            return end + length
    return end + 16


def _with_zip64(extra: bytes, size: int, packed: int, offset: int) -> tuple[int, int, int]:
    """Fields that do not fit 32 bits are in an extra field, in this order."""
    position = 0
    while position + 4 <= len(extra):
        kind, length = struct.unpack_from("<2H", extra, position)
        position += 4
        if kind == 1:
            values = iter(struct.unpack_from(f"<{min(length, len(extra) - position) // 8}Q", extra, position))
            size = next(values, size) if size == _FULL_32 else size
            packed = next(values, packed) if packed == _FULL_32 else packed
            offset = next(values, offset) if offset == _FULL_32 else offset
        position += length
    return size, packed, offset


def skip_local_header(file: BinaryIO, offset: int) -> None:
    """Moves to the data of the member whose header is at `offset`.

    Raises:
      DamagedZipError: there is no header.
    """
    file.seek(offset)
    signature, *_, name_length, extra_length = _read(file, _LOCAL)
    if signature != b"PK\3\4":
        raise DamagedZipError("the archive has no member where its directory says")
    file.seek(name_length + extra_length, 1)


def _decode(name: bytes, flags: int) -> str:
    return name.decode("utf-8", "surrogateescape") if flags & _UTF_8 else name.decode("cp437")


def _read(file: BinaryIO, fields: struct.Struct) -> tuple:
    return fields.unpack(_read_exactly(file, fields.size))


def _read_exactly(file: BinaryIO, length: int) -> bytes:
    data = file.read(length)
    if len(data) < length:
        raise DamagedZipError("it ends early")
    return data
