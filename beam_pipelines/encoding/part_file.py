"""Parts: the result of a chunk of inputs, kept in the work folder until the shards are written.

    16 bytes name and version | crc-32c of the header | bytes of the header | bytes of the whole file
    header: a line of JSON (arrays' dtypes and shapes, sources, rejects, ...), then the arrays, one after the other
    the records, framed as in a TFRecord file, in the order of the rows: by shard

A part is a cache. Its name is a hash of its chunk, of the settings that determine its content and of our code, so a
killed run that is started again finds what it has parsed, and no other run does. It is written without waiting for
the disk; its size and checksums reveal one that a crash left damaged, and it is made again.
"""

from __future__ import annotations

import dataclasses
import json
import struct
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import google_crc32c
import numpy as np

from beam_pipelines.encoding.ledger import Reject, Salvaged
from beam_pipelines.encoding.value_counts import Counts
from job_runtime import storage
from midi_codec.dataset.dataset_info import COLUMNS, SPLITS

MAGIC = b"encode part 1\n\0\0"
_FRAME = struct.Struct("<16sIQQ")
_FIRST_READ = 1 << 17  # holds the header of most parts

ROW = np.dtype(
    [
        ("piece_id", "S32"),
        ("path_group", "S32"),  # a hash of what --group-regex reads from the source; empty for none
        ("group_id", "S32"),  # of a piece that an older dataset holds already; empty for a newcomer
        ("split", "u1"),  # index into SPLITS: an old piece's own; else the split that the piece alone would get
        ("shard", "u4"),
        ("num_notes", "u4"),
        ("seconds", "f8"),
        ("offset", "u8"),  # of the framed record, in the part
        ("length", "u4"),
    ]
)
"""What the later steps of an encode need to know about a piece."""


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Part:
    """Everything except the records.

    Attributes:
      rows: `[n]` of ROW, one per piece, by shard.
      sources: `[n]`, of the same pieces.
      signatures: `[n, K]`, fingerprints.
      contents: `[m, 2]` uint64, a hash of source and bytes of each input that was read.
      counts: of the notes, by the rows' splits.
      num_inputs: examples, duplicates and rejects that this part gives.
      num_listed: inputs of the chunk, including those that the older dataset accounts for; 0 for a shard of it.
      found_again: sources of inputs that the older dataset lists as unreadable, although it has them.
      num_bytes: of the files that were read.
      labels: `[n]`, of the same pieces, as `labels.serialize` gives them; empty if no piece has any.
    """

    rows: np.ndarray
    sources: Sequence[str]
    signatures: np.ndarray
    contents: np.ndarray
    counts: Mapping[str, Mapping[str, Counts]]
    rejects: Sequence[Reject]
    salvaged: Sequence[Salvaged]
    num_inputs: int
    num_listed: int = 0
    found_again: Sequence[str] = ()
    num_bytes: int = 0
    labels: Sequence[str] = ()

    def examined(self) -> Iterator[str]:
        """The sources of inputs of a chunk, whatever came of them; nothing of a shard of the older dataset."""
        if self.num_listed:
            yield from self.sources
        yield from self.found_again
        yield from (reject.path for reject in self.rejects)


class DamagedPartError(ValueError):
    """The file is not a complete part."""


def pack(part: Part, records: bytes) -> tuple[Part, bytes]:
    """The part with the offsets of its records in the file, and the file's bytes; `read_header` reads the part back."""
    arrays = {
        "rows": part.rows,
        "signatures": part.signatures,
        "contents": part.contents,
        "counts": _counts_to_array(part.counts),
    }
    described = {
        "arrays": {name: ["" if name == "rows" else array.dtype.str, array.shape] for name, array in arrays.items()},
        "sources": list(part.sources),
        "rejects": [dataclasses.astuple(reject) for reject in part.rejects],
        "salvaged": [dataclasses.astuple(line) for line in part.salvaged],
        "num_inputs": part.num_inputs,
        "num_listed": part.num_listed,
        "found_again": list(part.found_again),
        "num_bytes": part.num_bytes,
        "labels": list(part.labels),
    }
    line = json.dumps(described).encode() + b"\n"
    header_length = len(line) + sum(array.nbytes for array in arrays.values())
    rows = arrays["rows"] = np.array(part.rows)
    rows["offset"] += _FRAME.size + header_length
    header = b"".join([line, *(np.ascontiguousarray(array).tobytes() for array in arrays.values())])
    frame = _FRAME.pack(MAGIC, google_crc32c.value(header), len(header), _FRAME.size + len(header) + len(records))
    return dataclasses.replace(part, rows=rows), b"".join([frame, header, records])


def read_header(path: str, *, size: int | None = None) -> Part:
    """Reads a part without its records.

    Args:
      size: of the file, if a listing has given it.

    Raises:
      FileNotFoundError: there is no such part. DamagedPartError: it is not complete.
    """
    start = storage.read_range(path, 0, _FIRST_READ)
    if len(start) < _FRAME.size:
        raise DamagedPartError(f"{path} has {len(start)} bytes")
    magic, crc, header_length, whole_length = _FRAME.unpack_from(start)
    if magic != MAGIC or (size is not None and size != whole_length):
        raise DamagedPartError(f"{path} is not a whole part")
    end = _FRAME.size + header_length
    if end > len(start):
        start += storage.read_range(path, len(start), end - len(start))
    header = start[_FRAME.size : end]
    if len(header) != header_length or google_crc32c.value(header) != crc:
        raise DamagedPartError(f"{path} is damaged")
    return _unpack_header(header)


def _unpack_header(header: bytes) -> Part:
    position = header.index(b"\n") + 1
    described: dict[str, Any] = json.loads(header[:position])
    arrays = {}
    for name, (dtype, shape) in described["arrays"].items():
        kind = np.dtype(dtype) if dtype else ROW
        count = int(np.prod(shape, dtype=np.int64))
        # Copied: a view would keep the whole header in memory, with the counts of every part, as long as the rows.
        arrays[name] = np.frombuffer(header, kind, count, position).reshape(shape).copy()
        position += count * kind.itemsize
    return Part(
        rows=arrays["rows"],
        sources=described["sources"],
        signatures=arrays["signatures"],
        contents=arrays["contents"],
        counts=_counts_from_array(arrays["counts"]),
        rejects=[Reject(*fields) for fields in described["rejects"]],
        salvaged=[Salvaged(*fields) for fields in described["salvaged"]],
        num_inputs=described["num_inputs"],
        num_listed=described["num_listed"],
        found_again=described["found_again"],
        num_bytes=described["num_bytes"],
        labels=described["labels"],
    )


def _counts_to_array(counts: Mapping[str, Mapping[str, Counts]]) -> np.ndarray:
    """`[n, 3]` int64: which split and column, a value, and how many notes have it."""
    table = [np.zeros((0, 3), np.int64)]
    for key, (split, name) in enumerate((split, name) for split in SPLITS for name in COLUMNS):
        values, numbers = counts[split][name]
        table.append(np.stack([np.full(len(values), key), values, numbers], axis=1))
    return np.concatenate(table)


def _counts_from_array(table: np.ndarray) -> dict[str, dict[str, Counts]]:
    counts: dict[str, dict[str, Counts]] = {}
    keys = table[:, 0]
    for key, (split, name) in enumerate((split, name) for split in SPLITS for name in COLUMNS):
        part = table[keys.searchsorted(key) : keys.searchsorted(key, side="right")]
        counts.setdefault(split, {})[name] = (part[:, 1], part[:, 2])
    return counts
