"""Named arrays in one `.npz` file, read and written through `midi_codec.storage`."""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from collections.abc import Mapping

import numpy as np

from midi_codec import storage

# What zipfile and NumPy raise for bytes that are no whole archive; RuntimeError is for flags and methods they lack.
_DAMAGE = (zipfile.BadZipFile, zlib.error, struct.error, EOFError, KeyError, RuntimeError, ValueError)


def write(path: str, arrays: Mapping[str, np.ndarray]) -> None:
    """Writes the file, whole or not at all."""
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    storage.write_bytes(path, buffer.getvalue())


def read(path: str) -> dict[str, np.ndarray]:
    """All arrays of a file.

    Raises:
      ValueError: the file is damaged; every byte of the arrays is checked before NumPy believes a size.
      OSError: there is no file, or it cannot be read.
    """
    data = storage.read_bytes(path)
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            damaged = archive.testzip()
        if damaged is not None:
            raise ValueError(f"the checksum of {damaged} is wrong")
        with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files}
    except _DAMAGE as error:
        raise ValueError(f"{type(error).__name__}: {error}") from error
