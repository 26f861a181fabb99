"""The members of a .tar or .tar.gz: `tarfile` reads the headers, one at a time, through a guarded file.

`tarfile` reads a member's long name and similar headers whole, whatever length they declare, and recurses for each; in
some versions of Python it also accepts negative sizes. So it reads from a file object that refuses such reads.
"""

from __future__ import annotations

import io
import math
import re
import struct
import tarfile
import zlib
from collections.abc import Iterator
from typing import BinaryIO

_BLOCK, _PREFIX = 512, 345  # bytes; where the first part of a long name begins
_SIZE = re.compile(rb"([0-7]{11})[\0 ]")
_CHECKSUM = re.compile(rb"([0-7]{6})\0 0")  # and the type of a file
_MOST_HEADER_BYTES = 1 << 20  # of a long name or a pax header
_MOST_BYTES = 1 << 60  # that a member may declare: an exabyte; beyond it, offsets no longer fit 64 bits
_PIECE = 1 << 18
_DAMAGE = (EOFError, zlib.error, struct.error, ValueError, OverflowError, RecursionError, OSError)


def _shown(size: int) -> str:
    return f"{size:,}" if abs(size) <= _MOST_BYTES else f"{size:.1e}"


class DamagedTarError(ValueError):
    """What follows cannot be read; the message says why."""


class BombError(ValueError):
    """The archive unpacks to an absurd size."""


class _Headers(io.RawIOBase):
    """The unpacked archive as `tarfile` may read it: forwards, one header at a time, and not beyond `max_bytes`."""

    def __init__(self, file: BinaryIO, max_bytes: float):
        super().__init__()
        self.last = b""  # what was read last
        self._file = file
        self._max_bytes = max_bytes
        self._position = 0

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        if whence != io.SEEK_SET or offset < self._position:
            raise DamagedTarError("a member has an impossible size")
        self._check(offset)
        self._file.seek(offset)
        self._position = offset
        return offset

    def read(self, length: int = -1) -> bytes:
        if not 0 <= length <= _MOST_HEADER_BYTES:
            raise DamagedTarError("a header has an impossible size")
        self._check(self._position + length)
        self.last = self._file.read(length)
        self._position += len(self.last)
        return self.last

    def _check(self, position: int) -> None:
        if position > self._max_bytes:
            raise BombError(f"it unpacks to more than {self._max_bytes:,} bytes")


class _Member(tarfile.TarInfo):
    """Of a plain header of a file, only what a listing needs is read; `tarfile` itself reads the others."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> _Member:
        size, checksum = _SIZE.match(buf, 124), _CHECKSUM.match(buf, 148)
        is_plain = size and checksum and len(buf) == _BLOCK and not buf[_PREFIX]
        if not is_plain or sum(buf) - sum(buf[148:156]) + 8 * ord(" ") != int(checksum[1], 8):  # type: ignore[index]
            return super().frombuf(buf, encoding, errors)
        member = cls(buf[:100].partition(b"\0")[0].decode(encoding, errors))
        member.size = int(size[1], 8)  # type: ignore[index]
        return member


def read_directory(
    file: BinaryIO, *, max_bytes: float = math.inf, check_end: bool = False
) -> Iterator[tarfile.TarInfo]:
    """The members, in their order.

    Args:
      max_bytes: the largest size of the unpacked archive.
      check_end: continue to the end of the file, where its checksum is.

    Raises:
      DamagedTarError: what follows the last member cannot be read; some of that member may be missing too.
      BombError: the archive is larger than `max_bytes`; no more than that was unpacked.
    """
    headers = _Headers(file, max_bytes)
    try:
        with tarfile.TarFile(fileobj=headers, tarinfo=_Member, encoding="utf-8", errors="surrogateescape") as tar:
            while (member := tar.next()) is not None:
                if not (0 <= member.size <= _MOST_BYTES and 0 <= member.offset_data <= _MOST_BYTES):
                    raise DamagedTarError(f"a member says that it has {_shown(member.size)} bytes")
                yield member
                tar.members.clear()  # type: ignore[attr-defined]  # it would keep all of them
        if not headers.last:
            raise DamagedTarError("it lacks the blocks that mark its end")
        if headers.last.strip(b"\0") or len(headers.last) % _BLOCK:
            raise DamagedTarError("what follows a member is not a header")
        while check_end and headers.read(_PIECE):
            pass
    except (BombError, DamagedTarError):
        raise
    except tarfile.TarError as error:
        raise DamagedTarError(str(error)) from error
    except _DAMAGE as error:
        if isinstance(error, OSError) and error.errno is not None:  # of the disk; errors of unpacking have none
            raise
        raise DamagedTarError("it cannot be unpacked further, or a header makes no sense") from error
