"""TFRecord files: a sequence of records, each with its length and checksums.

    8 bytes length | 4 bytes masked CRC-32C of the length | the record | 4 bytes masked CRC-32C of the record

All numbers are little-endian. Source: tensorflow/core/lib/io/record_writer.h.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator

import google_crc32c

_HEAD = struct.Struct("<QI")  # length, masked CRC of the length
_TAIL = struct.Struct("<I")  # masked CRC of the data


def write_records(records: Iterable[bytes]) -> bytes:
    """The bytes of a TFRecord file: each record with its length and the masked CRC-32C of both."""
    parts: list[bytes] = []
    for record in records:
        length = len(record).to_bytes(8, "little")
        parts += (length, _masked_crc(length), record, _masked_crc(record))
    return b"".join(parts)


def read_records(data: bytes) -> Iterator[bytes]:
    """The records of a TFRecord file, each checked.

    Raises:
      ValueError: the file is truncated or damaged; the message names the offset of the record.
    """
    position = 0
    while position < len(data):
        head = data[position : position + _HEAD.size]
        if len(head) < _HEAD.size:
            raise ValueError(f"the record at byte {position} is cut off: the file ends at byte {len(data)}")
        length, _ = _HEAD.unpack(head)
        if head[8:] != _masked_crc(head[:8]):
            raise ValueError(f"the record at byte {position} is damaged: its length has a wrong checksum")
        begin = position + _HEAD.size
        end = begin + length
        record, tail = data[begin:end], data[end : end + _TAIL.size]
        if len(tail) < _TAIL.size:
            raise ValueError(f"the record at byte {position} is cut off: the file ends at byte {len(data)}")
        if tail != _masked_crc(record):
            raise ValueError(f"the record at byte {position} is damaged: its data have a wrong checksum")
        yield record
        position = end + _TAIL.size


def _masked_crc(data: bytes) -> bytes:
    crc = google_crc32c.value(data)
    return _TAIL.pack(((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)
