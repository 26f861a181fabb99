"""Writes the Parquet files of a split as a stream of pieces.

In memory are one file, compressed, and the pieces of one row group. The same pieces give the same bytes with the same
version of pyarrow.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from job_runtime import storage
from midi_codec.parquet.columns import Column, Row, complete

if TYPE_CHECKING:
    import pyarrow as pa

FOLDER = "data"
NOTES_PER_FILE = 10_000_000  # some 40 MB
NOTES_PER_GROUP, ROWS_PER_GROUP = 1_000_000, 10_000


@dataclasses.dataclass(frozen=True)
class ParquetFile:
    name: str  # relative to the folder of the export
    size: int
    sha256: str


@dataclasses.dataclass
class Split:
    """What was written of a split; without pieces it has no files."""

    name: str
    num_pieces: int = 0
    num_notes: int = 0
    seconds: float = 0.0
    files: list[ParquetFile] = dataclasses.field(default_factory=list)


def pattern(split: str) -> str:
    """The glob of a split's files."""
    return f"{FOLDER}/{split}-*.parquet"


def write_split(
    root: str,
    split: str,
    rows: Iterator[Row],
    *,
    columns: Sequence[Column],
    num_notes: int,
    notes_per_file: int = NOTES_PER_FILE,
) -> Split:
    """Writes the pieces in their order, as files of about equal numbers of notes; `num_notes` is of all the pieces."""
    written = Split(split)
    row = next(rows, None)
    num_files = max(1, -(-num_notes // notes_per_file))
    for index in range(num_files if row else 0):
        buffer = _Buffer(columns, split)
        while row and (index == num_files - 1 or written.num_notes * num_files < (index + 1) * num_notes):
            buffer.add(row)
            written.num_pieces += 1
            written.num_notes += len(row.notes)
            written.seconds += row.notes.seconds
            row = next(rows, None)
        name, data = f"{FOLDER}/{split}-{index:05d}-of-{num_files:05d}.parquet", buffer.finish()
        storage.write_bytes(storage.join(root, name), data)
        written.files.append(ParquetFile(name, len(data), hashlib.sha256(data).hexdigest()))
    return written


def schema(columns: Sequence[Column]) -> pa.Schema:
    import pyarrow as pa

    return pa.schema([(column.name, _type(column)) for column in columns])


def _type(column: Column) -> pa.DataType:
    import pyarrow as pa

    kind = pa.type_for_alias(column.kind)
    return pa.list_(kind) if column.is_list else kind


class _Buffer:
    """One Parquet file in memory."""

    def __init__(self, columns: Sequence[Column], split: str) -> None:
        import pyarrow as pa
        from pyarrow import parquet

        self._columns, self._split = columns, split
        self._sink = pa.BufferOutputStream()
        self._writer = parquet.ParquetWriter(self._sink, schema(columns), compression="zstd")
        self._pending: list[dict[str, Any]] = []
        self._num_notes = 0

    def add(self, row: Row) -> None:
        self._pending.append(complete(row, self._split))
        self._num_notes += len(row.notes)
        if self._num_notes >= NOTES_PER_GROUP or len(self._pending) >= ROWS_PER_GROUP:
            self._write_group()

    def finish(self) -> bytes:
        self._write_group()
        self._writer.close()
        return self._sink.getvalue().to_pybytes()

    def _write_group(self) -> None:
        import pyarrow as pa

        if self._pending:
            arrays = [self._array(column) for column in self._columns]
            self._writer.write_table(pa.Table.from_arrays(arrays, schema=schema(self._columns)))
        self._pending, self._num_notes = [], 0

    def _array(self, column: Column) -> pa.Array:
        import pyarrow as pa

        values = [row[column.name] for row in self._pending]
        if not column.is_list:
            return pa.array(values, _type(column))
        offsets = np.cumsum([0, *map(len, values)], dtype=np.int32)
        return pa.ListArray.from_arrays(pa.array(offsets), pa.array(np.concatenate(values)))
