"""Headers that are read quickly give what `tarfile` gives."""

from __future__ import annotations

import io
import tarfile

import pytest

from beam_pipelines.corpus.archives import tar_directory
from beam_pipelines.corpus.archives.tar_directory import DamagedTarError

NAMES = ("a.mid", "b/Ü.mid", "n" * 99, "n" * 100, "p" * 90 + "/" + "q" * 60 + ".mid", "r" * 300, "folder/", "last.mid")


def make_tar(format: int) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=format) as archive:
        for number, name in enumerate(NAMES):
            if format == tarfile.USTAR_FORMAT and len(name) > 255:
                continue
            member = tarfile.TarInfo(name)
            member.type = tarfile.DIRTYPE if name.endswith("/") else tarfile.REGTYPE
            member.size = 0 if member.isdir() else 700 * number
            member.mtime, member.uid = 1_700_000_000 + number, number
            archive.addfile(member, io.BytesIO(bytes(member.size)))
    return file.getvalue()


def rows(members) -> list[tuple]:
    return [(each.name, each.size, each.offset_data, each.isreg(), each.isdir(), each.issparse()) for each in members]


@pytest.mark.parametrize("format", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_members_are_those_of_tarfile(format):
    data = make_tar(format)
    with tarfile.open(fileobj=io.BytesIO(data), encoding="utf-8") as archive:
        wanted = rows(archive.getmembers())
    assert rows(tar_directory.read_directory(io.BytesIO(data))) == wanted and len(wanted) >= 7


@pytest.mark.parametrize("at", [0, 99, 100, 124, 130, 148, 153, 156, 257, 345, 511])
def test_a_header_with_a_changed_byte_is_refused(at):
    data = bytearray(make_tar(tarfile.USTAR_FORMAT))
    begin = 512  # the second member's, after the header of the first, which is empty
    data[begin + at] = (data[begin + at] + 1) & 0xFF
    members = tar_directory.read_directory(io.BytesIO(bytes(data)))
    assert next(members).name == "a.mid"
    with pytest.raises(DamagedTarError):
        list(members)
