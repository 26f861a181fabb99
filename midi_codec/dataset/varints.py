"""Protobuf's base-128 varints, one column at a time.

The low seven bits of a value come first; every byte but the last has its top bit set. Negative numbers, which protobuf
writes in ten bytes, do not occur in our columns and are refused. `flatnonzero` and `take` select elements several times
faster than a boolean mask where long and short values mix.
"""

from __future__ import annotations

import numpy as np

from midi_codec.music.piece_offsets import join_slices, offsets_of, reduce_pieces

MAX_BYTES = 9  # of a value below 2**63
_ONE_BYTE = [bytes([value]) for value in range(0x80)]


def encode_one(value: int) -> bytes:
    """One value; for lengths and tags."""
    if value < 0x80:
        return _ONE_BYTE[value]
    if value < 0x4000:
        return bytes((value & 0x7F | 0x80, value >> 7))
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def decode_one(data: bytes | memoryview, position: int) -> tuple[int, int]:
    """The value at `position`, and the position after it.

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
    return encode_pieces(values, np.array([0, len(values)]))[0]


def encode_pieces(values: np.ndarray, offsets: np.ndarray) -> list[bytes]:
    """`encode` of each piece; piece i is `offsets[i]` to `offsets[i + 1]`.

    Raises:
      ValueError: a value is negative.
    """
    if values.size and values.dtype.kind != "u" and values.min() < 0:
        raise ValueError(f"values[{int(np.argmin(values))}] is {values.min()}, want 0 or more")
    largest = reduce_pieces(np.maximum, values, offsets)
    width = np.searchsorted([1 << 7, 1 << 14], largest, side="right")
    encoded = [b""] * len(largest)
    for wanted, encoder in enumerate((_encode_tiny, _encode_short, _encode_long)):
        rows = np.flatnonzero(width == wanted)  # one long note does not slow down the other pieces
        if not rows.size:
            continue
        is_all = len(rows) == len(encoded)
        chosen = values if is_all else join_slices(values, offsets, rows)
        packed, bounds = encoder(chosen, offsets if is_all else offsets_of(np.diff(offsets)[rows]))
        for row, begin, stop in zip(rows.tolist(), bounds.tolist(), bounds[1:].tolist(), strict=False):
            encoded[row] = packed[begin:stop]
    return encoded


def _encode_tiny(values: np.ndarray, offsets: np.ndarray) -> tuple[bytes, np.ndarray]:
    """Values below 2**7, and where the pieces begin in the bytes."""
    return values.astype(np.uint8, copy=False).tobytes(), offsets


def _encode_short(values: np.ndarray, offsets: np.ndarray) -> tuple[bytes, np.ndarray]:
    """Values below 2**14, nearly all in music: each in a 16-bit word, of which one or two bytes are used."""
    values = values.astype(np.uint16)
    more = values > 0x7F
    words = values + (values & 0x3F80)  # moves the upper seven bits into the second byte
    words |= more.view(np.uint8).astype(np.uint16) << 7
    used = np.ones((len(values), 2), bool)
    used[:, 1] = more
    return _keep(words.astype("<u2", copy=False).view(np.uint8), used, offsets)


def _encode_long(values: np.ndarray, offsets: np.ndarray) -> tuple[bytes, np.ndarray]:
    values = values.astype(np.uint64)
    width = (int(values.max()).bit_length() + 6) // 7
    grid = np.empty((len(values), width), np.uint8)  # one row per value, one column per group of seven bits
    used = np.ones((len(values), width), bool)
    for column in range(width):
        grid[:, column] = values & 0x7F
        values = values >> 7
        more = values != 0
        grid[:, column] |= more.view(np.uint8) << 7
        if column + 1 < width:
            used[:, column + 1] = more
    return _keep(grid.ravel(), used, offsets)


def _keep(octets: np.ndarray, used: np.ndarray, offsets: np.ndarray) -> tuple[bytes, np.ndarray]:
    """The bytes of a grid `[values, width]` that are used, and where the pieces begin in them."""
    kept = np.flatnonzero(used)
    return octets.take(kept).tobytes(), kept.searchsorted(offsets * used.shape[1])


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
    last = np.flatnonzero(packed < 0x80)  # index of each value's last byte, with its highest bits
    before = packed[last - 1]  # before the first byte this wraps to the last one, which ends a value too
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
