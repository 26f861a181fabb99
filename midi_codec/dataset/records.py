"""Pieces as `tf.train.Example` records in TFRecord files: the writer and the reader, side by side.

An example holds one value each of `piece_id`, `group_id`, `source` (bytes) and `tempo` (float), and the
int64 lists `step`, `pitch`, `duration`, `velocity`, `program`, all of one length. END is not stored.
A piece whose signatures are known has `time_signatures` and `key_signatures` (bytes, as `signatures` writes them), and
a generated piece may have `provenance` (bytes): what it was made from, as JSON. A piece with labels has `labels`
(bytes, as `labels` writes them).

The wire format is packed here with NumPy, as importing TensorFlow costs a worker seconds and hundreds of megabytes.
The bytes are those of `tf.train.Example.SerializeToString(deterministic=True)`: map entries are in the order of their
keys, and int64 lists are packed varints. Layout, outermost first:

    Example   1: Features                       Features  1: map entry, one per feature
    map entry 1: key, 2: Feature                Feature   1: BytesList, 2: FloatList, 3: Int64List
    each list 1: its values, packed if they are numbers

Sources: protobuf's encoding guide and tensorflow/core/example/feature.proto.
"""

from __future__ import annotations

import dataclasses
import functools
import lzma
import math
import struct
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from job_runtime import storage
from midi_codec.dataset import labels as labels_lib
from midi_codec.dataset import varints
from midi_codec.dataset.tfrecord_framing import read_records, write_records
from midi_codec.music.note_batch import NoteBatch
from midi_codec.music.notes import COLUMN_DTYPES, COLUMN_RANGES, Notes, ticks_per_quarter
from midi_codec.music.signatures import Signatures

if TYPE_CHECKING:
    import tensorflow as tf

__all__ = ["Piece", "deserialize_example", "parse_example", "read_pieces", "read_records", "serialize_example"]
__all__ += [
    "PROVENANCE",
    "decode_column",
    "serialize_batch",
    "serialize_columns",
    "set_group",
    "split_features",
    "write_records",
]

BYTES_FEATURES = ("piece_id", "group_id", "source")
NOTE_FEATURES = ("step", "pitch", "duration", "velocity", "program")
FEATURES = tuple(sorted((*BYTES_FEATURES, "tempo", *NOTE_FEATURES)))  # the order on the wire
PROVENANCE, TIMES, KEYS, LABELS = "provenance", "time_signatures", "key_signatures", "labels"
OPTIONAL_FEATURES = (PROVENANCE, TIMES, KEYS, LABELS)  # that an example may lack

_BYTES_LIST, _FLOAT_LIST, _INT64_LIST = 1, 2, 3  # field numbers of Feature
_KINDS = {name: _BYTES_LIST for name in BYTES_FEATURES} | {name: _INT64_LIST for name in NOTE_FEATURES}
_KINDS |= {"tempo": _FLOAT_LIST} | {name: _BYTES_LIST for name in OPTIONAL_FEATURES}
_LENGTH_DELIMITED = 2  # the only wire type in this format
_TAGS = {number: number << 3 | _LENGTH_DELIMITED for number in (1, 2, 3)}
_FIELD = {number: bytes([tag]) for number, tag in _TAGS.items()}
_KEYS = {name: _FIELD[1] + bytes([len(name)]) + name.encode() for name in _KINDS}
_FLOAT = struct.Struct("<f")


@dataclasses.dataclass(frozen=True, eq=False)
class Piece:
    """One example: a piece's notes, their source, and the group that decides their split.

    `notes.start[0]` is 0: records begin at the first onset.
    """

    piece_id: str
    group_id: str
    source: str
    notes: Notes
    labels: labels_lib.Labels = dataclasses.field(default_factory=dict)


def serialize_example(piece: Piece) -> bytes:
    """Packs one piece. `deserialize_example` and `parse_example` are its inverses: change all three together.

    Raises:
      ValueError: the first note does not start at tick 0.
    """
    notes = piece.notes
    if len(notes) and notes.start[0] != 0:
        raise ValueError(f"start[0] is {notes.start[0]}, want 0: records begin at the first onset")
    return serialize_columns(
        piece_id=piece.piece_id, group_id=piece.group_id, source=piece.source, notes=notes, labels=piece.labels
    )


def serialize_columns(
    *,
    piece_id: str,
    group_id: str,
    source: str,
    notes: Notes,
    provenance: str | None = None,
    labels: labels_lib.Labels = MappingProxyType({}),
) -> bytes:
    """`serialize_example` without a Piece; silence before the first onset is dropped, because only steps are stored."""
    batch = NoteBatch.from_notes([notes], notes.time_base)
    more = {PROVENANCE: [(provenance or "").encode()], LABELS: [labels_lib.serialize(labels)]}
    return _serialize(batch, piece_ids=[piece_id], group_ids=[group_id], sources=[source], more=more)[0]


def serialize_batch(
    batch: NoteBatch, *, piece_ids: Sequence[str], sources: Sequence[str], labels: Sequence[bytes] | None = None
) -> list[bytes]:
    """`serialize_columns` of every piece; each is in the group named after its own `piece_id`.

    Args:
      labels: as `labels.serialize` gives them; None for none.
    """
    more = {} if labels is None else {LABELS: labels}
    return _serialize(batch, piece_ids=piece_ids, group_ids=piece_ids, sources=sources, more=more)


def _serialize(
    batch: NoteBatch,
    *,
    piece_ids: Sequence[str],
    group_ids: Sequence[str],
    sources: Sequence[str],
    more: Mapping[str, Sequence[bytes]],
) -> list[bytes]:
    columns: dict[str, Sequence[bytes]] = {
        "piece_id": [piece_id.encode() for piece_id in piece_ids],
        "group_id": [group_id.encode() for group_id in group_ids],
        "source": [source.encode("utf-8", "surrogateescape") for source in sources],
        "tempo": [_FLOAT.pack(tempo) for tempo in batch.tempo.tolist()],
        "step": varints.encode_pieces(batch.step, batch.offsets),
    }
    for name in ("pitch", "duration", "velocity", "program"):
        columns[name] = varints.encode_pieces(getattr(batch, name), batch.offsets)
    columns |= more
    columns |= _signature_columns(batch)
    names = sorted(columns)
    records = []
    for payloads in zip(*(columns[name] for name in names), strict=True):
        parts: list[bytes] = []
        for name, payload in zip(names, payloads, strict=True):
            if payload or name not in OPTIONAL_FEATURES:
                parts += (_before_payload(name, len(payload)), payload)
        length = varints.encode_one(sum(map(len, parts)))
        records.append(b"".join((_FIELD[1], length, *parts)))
    return records


def _signature_columns(batch: NoteBatch) -> dict[str, list[bytes]]:
    """As text, from the first onset on; empty where they are unknown."""
    quarters = [ticks_per_quarter(batch.time_base, tempo) for tempo in batch.tempo.tolist()]
    pieces = zip(batch.signatures, batch.first_onsets.tolist(), quarters, strict=True)
    moved = [signatures.counted_from(first, quarter) for signatures, first, quarter in pieces]
    return {TIMES: [each.times_text.encode() for each in moved], KEYS: [each.keys_text.encode() for each in moved]}


def set_group(record: bytes, group_id: str) -> bytes:
    """The record with another `group_id` of the same length.

    Raises:
      ValueError: not a record of this format, or the new name has another length.
    """
    begin, end = _find_group(record)
    if len(group_id) != end - begin:
        raise ValueError(f"group_id is {group_id!r}, want {end - begin} characters as in the record")
    return b"".join((record[:begin], group_id.encode("ascii"), record[end:]))


def _find_group(record: bytes) -> tuple[int, int]:
    """First byte and end of the `group_id`, which is the second entry of a record."""
    position, end = _enter(record, 0, len(record), 1)
    _, position = _enter(record, position, end, 1)
    position, end = _enter(record, position, end, 1)
    if not record.startswith(_KEYS["group_id"], position):
        raise ValueError(f"the record is damaged at byte {position}: want the feature group_id there")
    position += len(_KEYS["group_id"])
    for field in (2, _BYTES_LIST, 1):
        position, end = _enter(record, position, end, field)
    return position, end


@functools.lru_cache(maxsize=4096)
def _before_payload(name: str, payload_length: int) -> bytes:
    """The bytes of one feature before its values: on each level, the length of everything that follows."""
    encode_one = varints.encode_one
    values = b""
    if payload_length or _KINDS[name] == _BYTES_LIST:  # proto3 omits empty packed lists
        values = _FIELD[1] + encode_one(payload_length)
    kind = _FIELD[_KINDS[name]] + encode_one(len(values) + payload_length) + values
    feature = _FIELD[2] + encode_one(len(kind) + payload_length) + kind
    return _FIELD[1] + encode_one(len(_KEYS[name]) + len(feature) + payload_length) + _KEYS[name] + feature


def deserialize_example(data: bytes, *, time_base: str) -> Piece:
    """Unpacks one example without TensorFlow.

    `time_base` is that of the dataset, because the record does not contain it.

    Raises:
      ValueError: not an example of this format; the message names the feature and the problem.
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
    (tempo,) = _FLOAT.unpack(payloads["tempo"])
    if not 0 < tempo < math.inf:  # written so that NaN fails too
        raise ValueError(f"tempo is {tempo}, want quarter notes per minute above 0")
    typed: dict[str, Any] = {name: columns[name].astype(dtype) for name, dtype in COLUMN_DTYPES.items()}
    texts = {name: payloads[name].decode("utf-8", "surrogateescape") for name in BYTES_FEATURES}
    signatures = read_signatures(payloads)
    notes = Notes(**typed, tempo=tempo, time_base=time_base, signatures=signatures)
    return Piece(**texts, notes=notes, labels=labels_lib.parse(payloads.get(LABELS, b"")))


def read_signatures(payloads: Mapping[str, bytes]) -> Signatures:
    """The signatures of a piece from its features.

    Raises:
      ValueError: they are damaged.
    """
    return Signatures.parse(*(payloads.get(name, b"").decode("ascii", "replace") for name in (TIMES, KEYS)))


def split_features(data: bytes) -> dict[str, bytes]:
    """The values of each feature in wire format: text, 4 bytes of float, packed varints.

    Raises:
      ValueError: the example is damaged, or lacks features of this format.
    """
    payloads: dict[str, bytes] = {}
    position, end = _enter(data, 0, len(data), 1)
    _check_end(end, len(data))
    while position < end:
        begin, entry_end = _enter(data, position, end, 1)
        begin, key_end = _enter(data, begin, entry_end, 1)
        name = data[begin:key_end].decode("utf-8", "replace")
        kind = _KINDS.get(name)
        if kind is None:
            raise ValueError(f"unknown feature {name!r}, want {', '.join(FEATURES)}")
        begin, feature_end = _enter(data, key_end, entry_end, 2)
        begin, list_end = _enter(data, begin, feature_end, kind)
        if begin < list_end:
            begin, values_end = _enter(data, begin, list_end, 1)
            _check_end(values_end, list_end)
        _check_end(list_end, feature_end)
        _check_end(feature_end, entry_end)
        payloads[name] = data[begin:list_end]
        position = entry_end
    missing = [name for name in FEATURES if name not in payloads]
    if missing:
        raise ValueError(f"no feature {', '.join(missing)}")
    return payloads


def _enter(data: bytes, position: int, end: int, field: int) -> tuple[int, int]:
    """First byte and end of the field at `position`, which must have this number and fit before `end`."""
    if position < end and data[position] == _TAGS[field]:
        length, begin = varints.decode_one(data, position + 1)
        if begin + length <= end:
            return begin, begin + length
    raise ValueError(f"the example is damaged at byte {position} of {len(data)}")


def _check_end(position: int, wanted: int) -> None:
    if position != wanted:
        raise ValueError(f"the example is damaged at byte {position}: a field ends there, want byte {wanted}")


def decode_column(name: str, payload: bytes) -> np.ndarray:
    """`[n]` int64, one note feature from its packed varints; `payload` may be several payloads joined.

    Raises:
      ValueError: the data are damaged, or a value is outside the column's range.
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


def parse_example(serialized: tf.Tensor) -> dict[str, tf.Tensor]:
    """Unpacks an example in a tf.data pipeline; only this function needs TensorFlow.

    Args:
      serialized: `[]` string, one record.

    Returns:
      `step`, `pitch`, `duration`, `velocity`, `program`: `[n]` int64; `tempo`: `[]` float32; `piece_id`,
      `group_id`, `source`: `[]` string.
    """
    import tensorflow as tf  # takes seconds to import, and an encode worker never needs it

    spec: dict[str, Any] = {name: tf.io.FixedLenFeature([], tf.string) for name in BYTES_FEATURES}
    spec["tempo"] = tf.io.FixedLenFeature([], tf.float32)
    for name in NOTE_FEATURES:
        spec[name] = tf.io.FixedLenSequenceFeature([], tf.int64, allow_missing=True)
    return tf.io.parse_single_example(serialized, spec)


def read_shard(path: str) -> bytes:
    """The bytes of a shard: of the file with this path, or of one that ends in `.xz` as well, decompressed.

    Raises:
      ValueError: it is not compressed as it should be. OSError: it cannot be read.
    """
    if storage.exists(path) or not storage.exists(f"{path}.xz"):
        return storage.read_bytes(path)
    try:
        return lzma.decompress(storage.read_bytes(f"{path}.xz"), lzma.FORMAT_XZ, memlimit=1 << 30)
    except lzma.LZMAError as error:
        raise ValueError(f"{path}.xz: {error}") from error


def read_pieces(path: str, *, time_base: str, data: bytes | None = None) -> Iterator[Piece]:
    """The pieces of one shard, in the order they are stored.

    Args:
      data: what `read_shard` gives for the path, if it is read already.

    Raises:
      ValueError: the shard is damaged; the message names the path and the position.
    """
    index = 0
    try:
        for record in read_records(read_shard(path) if data is None else data):
            yield deserialize_example(record, time_base=time_base)
            index += 1
    except ValueError as error:
        raise ValueError(f"{path}: record {index}: {error}") from error
