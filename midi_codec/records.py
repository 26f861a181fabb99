"""Pieces as `tf.train.Example` records in TFRecord files: the writer and the reader, side by side.

An example holds one value each of `piece_id`, `group_id`, `source` (bytes) and `tempo` (float), and the
int64 lists `step`, `pitch`, `duration`, `velocity`, `program`, all of one length. END is not stored.

The wire format is packed here with NumPy, because importing TensorFlow costs a worker seconds and
hundreds of megabytes. The bytes are those of `tf.train.Example.SerializeToString(deterministic=True)`:
map entries stand in the order of their keys, int64 lists are packed varints. Layout, outermost first:

    Example   1: Features                       Features  1: map entry, one a feature
    map entry 1: key, 2: Feature                Feature   1: BytesList, 2: FloatList, 3: Int64List
    each list 1: its values, packed where they are numbers

Sources: protobuf's encoding guide, tensorflow/core/example/feature.proto, and the TFRecord framing
described in tensorflow/core/lib/io/record_writer.h.
"""

from __future__ import annotations

import dataclasses
import struct
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import google_crc32c
import numpy as np

from midi_codec import storage, varints
from midi_codec.notes import COLUMN_DTYPES, COLUMN_RANGES, Notes

if TYPE_CHECKING:
    import tensorflow as tf

BYTES_FEATURES = ("piece_id", "group_id", "source")
NOTE_FEATURES = ("step", "pitch", "duration", "velocity", "program")
FEATURES = tuple(sorted((*BYTES_FEATURES, "tempo", *NOTE_FEATURES)))  # the order on the wire

_BYTES_LIST, _FLOAT_LIST, _INT64_LIST = 1, 2, 3  # field numbers of Feature
_KINDS = {name: _BYTES_LIST for name in BYTES_FEATURES} | {name: _INT64_LIST for name in NOTE_FEATURES}
_KINDS["tempo"] = _FLOAT_LIST
_LENGTH_DELIMITED = 2  # wire type
_FRAME_HEAD = struct.Struct("<QI")  # length, masked CRC of the length
_FRAME_TAIL = struct.Struct("<I")  # masked CRC of the data


@dataclasses.dataclass(frozen=True, eq=False)
class Piece:
    """One example: a piece's notes, where they came from, and which group decides their split.

    `notes.start[0]` is 0: records keep music from its first onset on.
    """

    piece_id: str
    group_id: str
    source: str
    notes: Notes


# ---------------------------------------------------------------------------------------------- examples


def serialize_example(piece: Piece) -> bytes:
    """Packs one piece; `deserialize_example` and `parse_example` are its inverses, change them together.

    Raises:
      ValueError: the first note does not start at tick 0.
    """
    notes = piece.notes
    if len(notes) and notes.start[0] != 0:
        raise ValueError(f"start[0] is {notes.start[0]}, want 0: records begin at the first onset")
    return serialize_columns(piece.piece_id, piece.group_id, piece.source, notes)


def serialize_columns(piece_id: str, group_id: str, source: str, notes: Notes) -> bytes:
    """`serialize_example` without a Piece: `step` makes the leading silence vanish by itself."""
    parts = {
        "piece_id": _delimited(1, piece_id.encode()),
        "group_id": _delimited(1, group_id.encode()),
        "source": _delimited(1, source.encode("utf-8", "surrogateescape")),
        "tempo": _delimited(1, struct.pack("<f", notes.tempo)),
    }
    for name in NOTE_FEATURES:
        payload = varints.encode(getattr(notes, name))
        parts[name] = _delimited(1, payload) if payload else b""  # proto3 leaves out empty packed lists
    entries = []
    for name in FEATURES:
        feature = _delimited(_KINDS[name], parts[name])
        entries.append(_delimited(1, _delimited(1, name.encode()) + _delimited(2, feature)))
    return _delimited(1, b"".join(entries))


def _delimited(field: int, payload: bytes) -> bytes:
    return bytes([field << 3 | _LENGTH_DELIMITED]) + varints.encode_one(len(payload)) + payload


def deserialize_example(data: bytes, *, time_base: str) -> Piece:
    """Unpacks one example without TensorFlow.

    `time_base` is the dataset's; the record itself does not say it.

    Raises:
      ValueError: not an example of this format; names the feature and what is wrong with it.
    """
    payloads = split_features(data)
    columns = {name: decode_column(name, payloads[name]) for name in NOTE_FEATURES}
    lengths = {name: len(column) for name, column in columns.items()}
    if len(set(lengths.values())) != 1:
        raise ValueError(f"the note features differ in length: {lengths}")
    step = columns.pop("step")
    if len(step) and step[0] != 0:
        raise ValueError(f"step[0] is {step[0]}, want 0")
    start = np.cumsum(step)
    if len(start) and start[-1] > COLUMN_RANGES["start"][1]:
        raise ValueError(f"the steps add up to {start[-1]}, want at most {COLUMN_RANGES['start'][1]}")
    columns["start"] = start
    if len(payloads["tempo"]) != 4:
        raise ValueError(f"tempo has {len(payloads['tempo'])} bytes, want one float of 4")
    (tempo,) = struct.unpack("<f", payloads["tempo"])
    columns = {name: columns[name].astype(dtype) for name, dtype in COLUMN_DTYPES.items()}
    texts = {name: bytes(payloads[name]).decode("utf-8", "surrogateescape") for name in BYTES_FEATURES}
    return Piece(**texts, notes=Notes(**columns, tempo=tempo, time_base=time_base))


def split_features(data: bytes) -> dict[str, memoryview]:
    """The values of each feature as they stand on the wire: text, 4 bytes of float, packed varints.

    Raises:
      ValueError: damaged, or not the features of this format.
    """
    payloads: dict[str, memoryview] = {}
    for entry in _fields(_only_field(memoryview(data), 1, "Example"), "Features"):
        if entry[0] != 1:
            raise ValueError(f"Features has field {entry[0]}, want map entries only")
        parts = dict(_fields(entry[1], "map entry"))
        if parts.keys() != {1, 2}:
            raise ValueError(f"a map entry has fields {sorted(parts)}, want 1 and 2")
        name = bytes(parts[1]).decode("utf-8", "replace")
        kind = _KINDS.get(name)
        if kind is None:
            raise ValueError(f"unknown feature {name!r}, want {', '.join(FEATURES)}")
        values = _only_field(parts[2], kind, f"feature {name}")
        if kind == _INT64_LIST and not values:
            payloads[name] = values
        else:
            payloads[name] = _only_field(values, 1, f"feature {name}")
    missing = [name for name in FEATURES if name not in payloads]
    if missing:
        raise ValueError(f"no feature {', '.join(missing)}")
    return payloads


def decode_column(name: str, payload: bytes | memoryview) -> np.ndarray:
    """`[n]` int64, one note feature from its packed varints; several payloads may be joined.

    Raises:
      ValueError: damaged, or a value lies outside the column's range.
    """
    try:
        values = varints.decode(payload)
    except ValueError as error:
        raise ValueError(f"feature {name}: {error}") from error
    low, high = COLUMN_RANGES.get(name, COLUMN_RANGES["start"])
    if values.size and (values.min() < low or values.max() > high):
        index = int(np.flatnonzero((values < low) | (values > high))[0])
        raise ValueError(f"{name}[{index}] is {values[index]}, want {low} to {high}")
    return values


def _only_field(data: memoryview, number: int, where: str) -> memoryview:
    fields = list(_fields(data, where))
    if len(fields) != 1 or fields[0][0] != number:
        raise ValueError(f"{where} has fields {[field for field, _ in fields]}, want one of number {number}")
    return fields[0][1]


def _fields(data: memoryview, where: str) -> Iterator[tuple[int, memoryview]]:
    """(field number, payload) of each length-delimited field; no other wire type is in this format."""
    position = 0
    while position < len(data):
        tag = data[position]
        length, begin = varints.decode_one(data, position + 1)
        position = begin + length
        if tag & 7 != _LENGTH_DELIMITED or tag > 0x7F or position > len(data):
            raise ValueError(f"{where} is damaged at byte {begin} of {len(data)}")
        yield tag >> 3, data[begin:position]


def parse_example(serialized: tf.Tensor) -> dict[str, tf.Tensor]:
    """Unpacks an example in a tf.data pipeline; the only place here that needs TensorFlow.

    Args:
      serialized: `[]` string, one record.

    Returns:
      `step`, `pitch`, `duration`, `velocity`, `program`: `[n]` int64; `tempo`: `[]` float32; `piece_id`,
      `group_id`, `source`: `[]` string.
    """
    import tensorflow as tf  # seconds to import, and an encode worker never comes here

    spec: dict[str, Any] = {name: tf.io.FixedLenFeature([], tf.string) for name in BYTES_FEATURES}
    spec["tempo"] = tf.io.FixedLenFeature([], tf.float32)
    for name in NOTE_FEATURES:
        spec[name] = tf.io.FixedLenSequenceFeature([], tf.int64, allow_missing=True)
    return tf.io.parse_single_example(serialized, spec)


# --------------------------------------------------------------------------------------- TFRecord framing


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
      ValueError: truncated or damaged; names the offset of the record.
    """
    position = 0
    while position < len(data):
        head = data[position : position + _FRAME_HEAD.size]
        if len(head) < _FRAME_HEAD.size:
            raise ValueError(f"the record at byte {position} is cut off: the file ends at byte {len(data)}")
        length, _ = _FRAME_HEAD.unpack(head)
        if head[8:] != _masked_crc(head[:8]):
            raise ValueError(f"the record at byte {position} is damaged: its length has a wrong checksum")
        begin = position + _FRAME_HEAD.size
        end = begin + length
        record, tail = data[begin:end], data[end : end + _FRAME_TAIL.size]
        if len(tail) < _FRAME_TAIL.size:
            raise ValueError(f"the record at byte {position} is cut off: the file ends at byte {len(data)}")
        if tail != _masked_crc(record):
            raise ValueError(f"the record at byte {position} is damaged: its data have a wrong checksum")
        yield record
        position = end + _FRAME_TAIL.size


def _masked_crc(data: bytes) -> bytes:
    crc = google_crc32c.value(data)
    return _FRAME_TAIL.pack(((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)


def read_pieces(path: str, *, time_base: str) -> Iterator[Piece]:
    """The pieces of one shard, in the order they are stored.

    Raises:
      ValueError: the shard is damaged; names the path and the place.
    """
    index = 0
    try:
        for record in read_records(storage.read_bytes(path)):
            yield deserialize_example(record, time_base=time_base)
            index += 1
    except ValueError as error:
        raise ValueError(f"{path}: record {index}: {error}") from error
