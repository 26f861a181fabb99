"""Protobuf's base-128 varints, a column at a time.

A value's low seven bits come first; every byte but a value's last has its top bit set. Negative numbers,
which protobuf writes in ten bytes, do not occur in our columns and are refused.
"""

from __future__ import annotations

import numpy as np

MAX_BYTES = 9  # of a value below 2**63


def encode_one(value: int) -> bytes:
    """One value; for lengths and tags."""
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
    largest = int(values.max())
    if values.dtype.kind != "u" and values.min() < 0:
        raise ValueError(f"values[{int(np.argmin(values))}] is {values.min()}, want 0 or more")
    if largest < 0x80:
        return values.astype(np.uint8).tobytes()
    width = (largest.bit_length() + 6) // 7
    grid = np.empty((len(values), width), np.uint8)  # one row a value, one column a group of seven bits
    used = np.empty((len(values), width), bool)
    used[:, 0] = True
    rest: np.ndarray = values.astype(np.uint64 if width > 4 else np.uint32)
    for column in range(width):
        grid[:, column] = rest & 0x7F
        rest = rest >> 7
        if column + 1 < width:
            more = rest != 0
            grid[:, column] |= more.view(np.uint8) << 7
            used[:, column + 1] = more
    return grid[used].tobytes()


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
    length = np.diff(last, prepend=-1)
    if length.max() > MAX_BYTES:
        index = int(np.argmax(length))
        raise ValueError(f"number {index} is {length[index]} bytes long, want at most {MAX_BYTES}")
    values = packed[last].astype(np.int64)
    rows = np.arange(len(values))
    for back in range(1, int(length.max())):
        rows = rows[length[rows] > back]
        values[rows] = values[rows] << 7 | (packed[last[rows] - back] & 0x7F)
    return values
