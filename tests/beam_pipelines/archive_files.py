"""Archives for tests: as tools write them, and as nobody should."""

from __future__ import annotations

import io
import tarfile
import zipfile
from collections.abc import Mapping


def make_tar(members: Mapping[str, bytes], *, packing: str = "", format: int = tarfile.GNU_FORMAT) -> bytes:
    out = io.BytesIO()
    with tarfile.open(None, f"w:{packing}", out, format=format) as tar:  # type: ignore[call-overload]
        for name, data in members.items():
            add_to_tar(tar, name, data)
    return out.getvalue()


def add_to_tar(tar: tarfile.TarFile, name: str, data: bytes = b"", **fields) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(data)
    for field, value in fields.items():
        setattr(info, field, value)
    tar.addfile(info, io.BytesIO(data))


def make_zip(members: Mapping[str, bytes], *, method: int = zipfile.ZIP_DEFLATED) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return out.getvalue()


class Unseekable(io.RawIOBase):
    """What makes `zipfile` write sizes after the data instead of before it."""

    def __init__(self) -> None:
        super().__init__()
        self.data = b""

    def writable(self) -> bool:
        return True

    def write(self, data) -> int:
        self.data += bytes(data)
        return len(data)


def make_streamed_zip(members: Mapping[str, bytes]) -> bytes:
    out = Unseekable()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return out.data
