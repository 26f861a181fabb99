"""The files of an index, in one folder: columns of plain numbers, little-endian, which are mapped into memory.

    INDEX/index.json      grid, dataset, and size and checksum of every column; written last: the index is whole
    INDEX/symbol, ...     one file per column
    INDEX/parts/...       while the index is being made (`index_build`)

A local index is mapped; one in a bucket is read whole. Opening checks the CRC-32C of everything, at some gigabytes per
second.
"""

from __future__ import annotations

import dataclasses
import json
import mmap
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated, Any, BinaryIO, TypedDict

import google_crc32c
import numpy as np

from generation_jobs.memorisation.suffix_sort import DEPTH
from job_runtime import json_text, storage
from job_runtime.problem_report import UserError
from midi_codec.music.notes import TIME_BASES
from midi_codec.music.piece_offsets import offsets_of

INDEX_FILE, PARTS_FOLDER = "index.json", "parts"
FORMAT_VERSION = 2
ORDER = "order"
TEXT: dict[str, np.dtype[Any]] = {
    "symbol": np.dtype("<u2"),  # [total + DEPTH], as `note_strings.Strings`; then BOUNDARY
    "step": np.dtype("<i4"),  # [total + DEPTH]; then 0
    "note": np.dtype("<i4"),  # [total]
    "pitch": np.dtype("u1"),  # [total]
    "length": np.dtype("<i4"),  # [pieces], entries of each
    "name_length": np.dtype("<i4"),  # [pieces], bytes of its name
    "name": np.dtype("u1"),  # the piece_id and the source of each, with a NUL between them
}
COLUMNS = {**TEXT, ORDER: np.dtype("<u4")}  # positions, sorted (`suffix_sort`)
MAX_ENTRIES = 1 << 32
_CHECKED_BYTES = 1 << 22  # at a time


class _Required(TypedDict):
    format_version: Annotated[int, json_text.Constraint(lambda value: value == FORMAT_VERSION, f"{FORMAT_VERSION}")]
    time_base: Annotated[str, json_text.Constraint(lambda value: value in TIME_BASES, " or ".join(TIME_BASES))]
    dataset: str
    files: dict[str, int]


class _Info(_Required, total=False):
    checksums: dict[str, int]  # an index of an earlier version has none


@dataclasses.dataclass(frozen=True, eq=False)
class Columns:
    """The arrays of an index, without the padding except of `symbol` and `step`."""

    symbol: np.ndarray
    step: np.ndarray
    note: np.ndarray
    pitch: np.ndarray
    order: np.ndarray
    offsets: np.ndarray  # [pieces + 1] int64, of entries
    name_offsets: np.ndarray  # [pieces + 1] int64
    name: np.ndarray
    time_base: str
    dataset: str  # hash

    def name_of(self, piece: int) -> tuple[str, str]:
        """The piece_id and the source."""
        text = self.name[self.name_offsets[piece] : self.name_offsets[piece + 1]].tobytes()
        piece_id, _, source = text.decode("utf-8", "surrogateescape").partition("\0")
        return piece_id, source


def write_info(
    folder: str, *, time_base: str, dataset: str, files: Mapping[str, int], checksums: Mapping[str, int]
) -> None:
    info: _Info = {
        "format_version": FORMAT_VERSION,
        "time_base": time_base,
        "dataset": dataset,
        "files": dict(files),
        "checksums": dict(checksums),
    }
    storage.write_bytes(storage.join(folder, INDEX_FILE), (json.dumps(info, indent=1) + "\n").encode())


def is_index(path: str) -> bool:
    """Whether there is a whole index, or a file, which may be one of an earlier version."""
    return storage.exists(storage.join(path, INDEX_FILE)) or storage.exists(path)


def read_info(folder: str) -> _Info:
    """Raises FileNotFoundError, or UserError: it is not an index."""
    return json_text.load(storage.join(folder, INDEX_FILE), _Info)


def open_columns(folder: str) -> Columns:
    """Opens the columns of a whole index.

    Raises:
      UserError: it is missing, damaged, not an index, or of another version.
    """
    if storage.exists(folder):
        raise UserError(
            f"{folder!r} is a file, want the folder of an index; an earlier version wrote one file: make the index "
            "again with generation_jobs.memorisation"
        )
    try:
        info = read_info(folder)
        arrays = {name: _open(storage.join(folder, name), dtype) for name, dtype in COLUMNS.items()}
    except FileNotFoundError as error:
        raise UserError(f"{folder!r} holds no whole index, want one of generation_jobs.memorisation") from error
    except OSError as error:
        raise UserError(f"{folder!r} cannot be read: {error}") from error
    problems = list(_problems(arrays, info["files"])) or list(_damage(arrays, info.get("checksums", {})))
    if problems:
        raise UserError(f"{folder!r} is not a whole index of generation_jobs.memorisation: {'; '.join(problems)}")
    offsets, name_offsets = offsets_of(arrays.pop("length")), offsets_of(arrays.pop("name_length"))
    return Columns(
        **arrays, offsets=offsets, name_offsets=name_offsets, time_base=info["time_base"], dataset=info["dataset"]
    )


def mapped(parts: Iterable[bytes], dtype: np.dtype[Any]) -> np.ndarray:
    """One array of these parts, in a temporary file."""
    with storage.joined(parts) as file:
        return _mapped(file, dtype)


def temporary(size: int, dtype: type[np.generic]) -> np.ndarray:
    """Zeros in a temporary file."""
    if not size:
        return np.zeros(0, dtype)
    with tempfile.TemporaryFile() as file:
        return np.asarray(np.memmap(file, dtype, "w+", shape=size))


def _mapped(file: BinaryIO, dtype: np.dtype[Any]) -> np.ndarray:
    """The whole file; it may be deleted afterwards."""
    size = file.seek(0, 2)
    data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if size else b""
    return np.frombuffer(data, dtype, size // dtype.itemsize)


def crc(data: Any, checksum: int = 0) -> int:
    """The CRC-32C of contiguous data, after that of what came before."""
    octets = memoryview(data).cast("B")
    for begin in range(0, len(octets), _CHECKED_BYTES):
        checksum = google_crc32c.extend(checksum, bytes(octets[begin : begin + _CHECKED_BYTES]))
    return checksum


def _damage(arrays: Mapping[str, np.ndarray], checksums: Mapping[str, int]) -> Iterator[str]:
    for name, wanted in checksums.items():
        if name in arrays and (found := crc(arrays[name])) != wanted:
            yield f"the checksum of {name} is {found}, want {wanted}"


def _open(path: str, dtype: np.dtype[Any]) -> np.ndarray:
    if storage.is_remote(path):
        data = storage.read_bytes(path)
        return np.frombuffer(data, dtype, len(data) // dtype.itemsize)
    with open(path, "rb") as file:
        return _mapped(file, dtype)


def _problems(arrays: Mapping[str, np.ndarray], files: Mapping[str, int]) -> Iterator[str]:
    for name, array in arrays.items():
        if array.nbytes != files.get(name):
            yield f"{name} has {array.nbytes:,} bytes, want {files.get(name, 0):,}"
    total = int(arrays["length"].sum(dtype=np.int64))
    wanted = {"symbol": total + DEPTH, "step": total + DEPTH, "note": total, "pitch": total}
    wanted |= {"name": int(arrays["name_length"].sum(dtype=np.int64)), "name_length": len(arrays["length"])}
    for name, size in wanted.items():
        if len(arrays[name]) != size:
            yield f"{name} has {len(arrays[name]):,} values, want {size:,}"
    if len(arrays[ORDER]) > total:
        yield f"{ORDER} has {len(arrays[ORDER]):,} values, want at most {total:,}"
