"""Protobuf's base-128 varints, a column at a time.

A value's low seven bits come first; every byte but a value's last has its top bit set. Negative numbers,
which protobuf writes in ten bytes, do not occur in our columns and are refused. Places are picked with
`flatnonzero` and `take`, several times faster than a boolean mask where long and short values mix.
"""

from __future__ import annotations

import numpy as np

MAX_BYTES = 9  # of a value below 2**63
_ONE_BYTE = [bytes([value]) for value in range(0x80)]


def encode_one(value: int) -> bytes:
    """One value; for lengths and tags."""
    if value < 0x80:
        return _ONE_BYTE[value]
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def decode_one(data: bytes | memoryview, position: int) -> tuple[int, int]:
    """The value at `position` and the position behind it.

    Raises:
      ValueError: the data end inside the value, or it does not fit 63 bits.
    """
    if position < len(data) and data[position] < 0x80:
        return data[position], position + 1
    value = 0
    for count in range(MAX_BYTES):
        if position + count >= len(data):
            raise ValueError(f"the data end inside a number, at byte {len(data)}")
        byte = data[position + count]
        value |= (byte & 0x7F) << 7 * count
        if byte < 0x80:
            return value, position + count + 1
    raise ValueError(f"a number at byte {position} is longer than {MAX_BYTES} bytes")


def encode(values: np.ndarray) -> bytes:
    """A column of integers, one after the other.

    Args:
      values: `[n]`, any integer dtype, none negative.

    Raises:
      ValueError: a value is negative.
    """
    if not values.size:
        return b""
    if values.dtype.kind != "u" and values.min() < 0:
        raise ValueError(f"values[{int(np.argmin(values))}] is {values.min()}, want 0 or more")
    largest = int(values.max())
    if largest < 1 << 7:
        return values.astype(np.uint8).tobytes()
    if largest < 1 << 14:
        return _encode_short(values.astype(np.uint16))
    return _encode_long(values.astype(np.uint64), (largest.bit_length() + 6) // 7)


def _encode_short(values: np.ndarray) -> bytes:
    """Values below 2**14, nearly all that music has: each in one 16-bit word, of which one byte or two are kept."""
    more = values > 0x7F
    words = values + (values & 0x3F80)  # moves the upper seven bits into the second byte
    words |= more.view(np.uint8).astype(np.uint16) << 7
    used = np.ones((len(values), 2), bool)
    used[:, 1] = more
    return words.astype("<u2", copy=False).view(np.uint8).take(np.flatnonzero(used)).tobytes()


def _encode_long(values: np.ndarray, width: int) -> bytes:
    grid = np.empty((len(values), width), np.uint8)  # one row a value, one column a group of seven bits
    used = np.ones((len(values), width), bool)
    for column in range(width):
        grid[:, column] = values & 0x7F
        values = values >> 7
        more = values != 0
        grid[:, column] |= more.view(np.uint8) << 7
        if column + 1 < width:
            used[:, column + 1] = more
    return grid.take(np.flatnonzero(used)).tobytes()


def decode(data: bytes | memoryview) -> np.ndarray:
    """`[n]` int64, all values in `data`.

    Raises:
      ValueError: the data end inside a value, or a value does not fit 63 bits.
    """
    packed = np.frombuffer(data, np.uint8)
    if not packed.size:
        return np.zeros(0, np.int64)
    if packed.max() < 0x80:
        return packed.astype(np.int64)
    if packed[-1] >= 0x80:
        raise ValueError(f"the data end inside a number, at byte {packed.size}")
    last = np.flatnonzero(packed < 0x80)  # where each value ends: its highest bits
    before = packed[last - 1]  # before the first byte comes the very last one, which ends a value too
    more = before >> 7
    values = packed[last].astype(np.int64) << more * 7 | before & more * 0x7F
    rows, back = np.flatnonzero(more), 1
    while True:  # few values of music are longer than two bytes
        back += 1
        before = packed[last[rows] - back]
        longer = np.flatnonzero(before >= 0x80)
        if not longer.size:
            return values
        rows = rows[longer]
        if back >= MAX_BYTES:
            raise ValueError(f"number {rows[0]} is longer than {MAX_BYTES} bytes")
        values[rows] = values[rows] << 7 | before[longer] & 0x7F
