"""Many kinds of damage to MIDI files, reproducible by key."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence

import numpy as np

MAX_MUTATIONS = 4
MAX_RANGE = 64  # bytes
HUGE_DELTA = b"\xff\xff\xff\x7f"
ODD_LENGTHS = (0, 1, 5, 0x7F, 0x80, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF)
ODD_FIELDS = (0, 1, 2, 3, 9, 0x60, 0x7FFF, 0x8000, 0xE728, 0xE250, 0xFFFF)
ODD_EVENTS = (
    b"\xff\x51\x03\x00\x00\x00",  # a tempo of 0
    b"\xff\x51\x03\xff\xff\xff",  # the slowest
    b"\xff\x51\x02\x07\xa1",
    b"\xff\x2f\x00",
    b"\xff\x01\xff\xff\xff\x7f",  # a text of 256 MB
    b"\xf0\x81\x00",
    b"\xf7\x03\x90\x3c\x40",
    b"\xf4",
    b"\xfe",
    b"\xb0\x40\x7f",
    b"MTrk\x00\x00\x00\x08",
    b"MThd\x00\x00\x00\x06",
)
Mutator = Callable[[bytearray, Sequence[bytes], np.random.Generator], None]


def mutated(files: Sequence[bytes], key: Sequence[int]) -> bytes:
    """One of the files with one to four mutations."""
    random = np.random.Generator(np.random.Philox(np.random.SeedSequence(key)))
    data = bytearray(files[random.integers(len(files))])
    for _ in range(random.integers(1, MAX_MUTATIONS + 1)):
        if data:
            MUTATORS[random.integers(len(MUTATORS))](data, files, random)
    return bytes(data)


def _flip_bits(data: bytearray, _: Sequence[bytes], random: np.random.Generator) -> None:
    for position in random.integers(len(data), size=random.integers(1, 9)):
        data[position] ^= 1 << int(random.integers(8))


def _set_bytes(data: bytearray, _: Sequence[bytes], random: np.random.Generator) -> None:
    for position in random.integers(len(data), size=random.integers(1, 5)):
        data[position] = int(random.choice([0, 0x7F, 0x80, 0x90, 0xF0, 0xF7, 0xFF, int(random.integers(256))]))


def _truncate(data: bytearray, _: Sequence[bytes], random: np.random.Generator) -> None:
    del data[int(random.integers(len(data))) :]


def _change_chunk_length(data: bytearray, _: Sequence[bytes], random: np.random.Generator) -> None:
    chunks = [position for position in _positions(data, b"MTrk") if position + 8 <= len(data)]
    if chunks:
        position = chunks[random.integers(len(chunks))] + 4
        (length,) = struct.unpack_from(">I", data, position)
        near = max(0, length + int(random.integers(-9, 10)))
        data[position : position + 4] = struct.pack(">I", int(random.choice([near, near, *ODD_LENGTHS])))


def _change_header(data: bytearray, _: Sequence[bytes], random: np.random.Generator) -> None:
    position = max(0, data.find(b"MThd")) + int(random.choice([4, 6, 8, 10, 12]))
    data[position : position + 2] = struct.pack(">H", int(random.choice(ODD_FIELDS)))


def _delete(data: bytearray, _: Sequence[bytes], random: np.random.Generator) -> None:
    begin = int(random.integers(len(data)))
    del data[begin : begin + int(random.integers(1, MAX_RANGE))]


def _insert(data: bytearray, _: Sequence[bytes], random: np.random.Generator) -> None:
    begin = int(random.integers(len(data) + 1))
    data[begin:begin] = random.bytes(int(random.integers(1, MAX_RANGE)))


def _insert_event(data: bytearray, _: Sequence[bytes], random: np.random.Generator) -> None:
    begin = int(random.integers(len(data) + 1))
    delta = HUGE_DELTA if random.random() < 0.5 else b"\x00"
    data[begin:begin] = (delta + ODD_EVENTS[random.integers(len(ODD_EVENTS))]) * int(random.choice([1, 2, 100]))


def _huge_deltas(data: bytearray, _: Sequence[bytes], random: np.random.Generator) -> None:
    for begin in sorted(random.integers(len(data), size=random.integers(1, 40)).tolist(), reverse=True):
        data[begin:begin] = HUGE_DELTA[int(random.integers(4)) :]


def _duplicate(data: bytearray, _: Sequence[bytes], random: np.random.Generator) -> None:
    begin = int(random.integers(len(data)))
    part = data[begin : begin + int(random.integers(1, 8 * MAX_RANGE))]
    data[begin:begin] = part * int(random.choice([1, 1, 2, 50]))


def _splice(data: bytearray, files: Sequence[bytes], random: np.random.Generator) -> None:
    other = files[random.integers(len(files))]
    del data[int(random.integers(len(data))) :]
    data += other[int(random.integers(len(other))) :]


def _copy_range(data: bytearray, files: Sequence[bytes], random: np.random.Generator) -> None:
    other = files[random.integers(len(files))]
    begin, source = int(random.integers(len(data))), int(random.integers(len(other)))
    size = int(random.integers(1, MAX_RANGE))
    data[begin : begin + size] = other[source : source + size]


def _wrap(data: bytearray, _: Sequence[bytes], random: np.random.Generator) -> None:
    kind = random.integers(3)
    if kind == 0:
        data[:0] = b"RIFF" + struct.pack("<I", len(data) + 12) + b"RMIDdata" + struct.pack("<I", len(data))
    elif kind == 1:
        data[:0] = random.bytes(128)
    else:
        data[:] = data.replace(b"\n", b"\r\n")


def _positions(data: bytearray, what: bytes) -> list[int]:
    positions, position = [], data.find(what)
    while position >= 0:
        positions.append(position)
        position = data.find(what, position + 1)
    return positions


MUTATORS: tuple[Mutator, ...] = (
    _flip_bits,
    _set_bytes,
    _truncate,
    _change_chunk_length,
    _change_header,
    _delete,
    _insert,
    _insert_event,
    _huge_deltas,
    _duplicate,
    _splice,
    _copy_range,
    _wrap,
)
