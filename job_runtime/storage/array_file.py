"""Named arrays in one `.npz` file, uncompressed, read and written through `job_runtime.storage`."""

from __future__ import annotations

import io
import math
import zipfile
import zlib
from collections.abc import Iterator, Mapping

import numpy as np

from job_runtime import storage

_SUFFIX = ".npy"
# What zipfile and NumPy raise for damaged archives. RuntimeError stands for flags and methods they do not support and,
# like MemoryError, for deep nesting.
_DAMAGE = (zipfile.BadZipFile, zlib.error, EOFError, KeyError, MemoryError, OverflowError, RuntimeError, ValueError)


def write(path: str, arrays: Mapping[str, np.ndarray]) -> None:
    """Writes the file, whole or not at all."""
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    storage.write_bytes(path, buffer.getvalue())


def read(path: str) -> dict[str, np.ndarray]:
    """All arrays of a file.

    Raises:
      ValueError: as `parse`. OSError: the file does not exist or cannot be read.
    """
    return parse(storage.read_bytes(path))


def parse(data: bytes) -> dict[str, np.ndarray]:
    """All arrays of an archive; allocates no more than the size of the archive, whatever its headers claim.

    Raises:
      ValueError: the archive is damaged or compressed, holds Python objects or something that is not an array, or the
        size of an array does not match its shape.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            if problems := list(_problems(archive.infolist(), len(data))):
                raise ValueError("; ".join(problems))
            read = archive.read  # verifies the checksum
            return {entry.filename.removesuffix(_SUFFIX): _parse(entry, read(entry)) for entry in archive.infolist()}
    except _DAMAGE as error:
        raise ValueError(str(error) or type(error).__name__) from error


def parse_array(data: bytes) -> np.ndarray:
    """The array of a `.npy` file; writable.

    Raises:
      ValueError: it is not an array, holds Python objects, or its size does not match its shape.
    """
    file = io.BytesIO(data)
    try:
        version = np.lib.format.read_magic(file)
        if version not in ((1, 0), (2, 0)):
            raise ValueError(f"format version is {version}, want 1.0 or 2.0")
        read_header = np.lib.format.read_array_header_1_0 if version[0] == 1 else np.lib.format.read_array_header_2_0
        shape, is_fortran, dtype = read_header(file)
    except ValueError:
        raise
    except Exception as error:  # NumPy parses the header as Python source, which can fail in many ways
        raise ValueError(f"the header is not that of an array: {type(error).__name__}") from error
    if dtype.hasobject:
        raise ValueError("holds Python objects, want numbers or text")
    if not dtype.itemsize or any(isinstance(size, bool) or size < 0 for size in shape):
        raise ValueError(f"the header says {dtype} of the shape {shape}, want an array with bytes in it")
    there, wanted = len(data) - file.tell(), math.prod(shape) * dtype.itemsize
    if there != wanted:
        raise ValueError(f"{dtype} of the shape {shape} takes {wanted:,} bytes, there are {there:,}")
    flat = np.frombuffer(data, dtype, math.prod(shape), file.tell())
    return flat.reshape(shape, order="F" if is_fortran else "C").copy()


def _problems(entries: list[zipfile.ZipInfo], size: int) -> Iterator[str]:
    names = [entry.filename for entry in entries]
    for entry in entries:
        if entry.compress_type != zipfile.ZIP_STORED:
            yield f"{_name(entry)} is compressed, want arrays as numpy.savez writes them"
        if not entry.filename.endswith(_SUFFIX):
            yield f"{_name(entry)} is not an array"
        if entry.flag_bits & 1:
            yield f"{_name(entry)} is encrypted"
    if len(set(names)) < len(names):
        yield "it holds an array twice"
    if sum(entry.file_size for entry in entries) > size:
        yield f"the arrays are said to be larger than the file, which has {size:,} bytes"


def _parse(entry: zipfile.ZipInfo, data: bytes) -> np.ndarray:
    try:
        return parse_array(data)
    except ValueError as error:
        raise ValueError(f"{_name(entry)}: {error}") from error


def _name(entry: zipfile.ZipInfo) -> str:
    name = entry.filename.removesuffix(_SUFFIX)
    return name if len(name) <= 80 else f"{name[:77]}..."
