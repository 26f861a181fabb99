import io
import os
import random
import tarfile
import warnings
import zipfile
import zlib
from pathlib import Path

import pytest

from beam_pipelines.corpus import chunk_reader, inputs
from beam_pipelines.corpus.archives import archive_listing, archive_reader, gzip_index, tar_directory
from job_runtime import storage
from job_runtime.problem_report import UserError
from job_runtime.storage import seekable_file
from tests.beam_pipelines.archive_files import add_to_tar, make_streamed_zip, make_tar, make_zip
from tests.beam_pipelines.corpora import write_files

FILES = {
    "a.mid": b"first",
    "B/Ü.MIDI": b"second" * 1000,
    "B/c.kar": b"",
    "B/readme.txt": b"no input",
    "d.RMI": b"fourth",
    "inner.zip": b"PK\3\4",
}
INPUTS = {name: data for name, data in FILES.items() if name not in ("B/readme.txt", "inner.zip")}
MANY = {f"{number % 7}/{number}.mid": random.Random(number).randbytes(300) + bytes(200) for number in range(300)}
PACKERS = {
    "x.zip": make_zip,
    "x.tar": make_tar,
    "x.tar.gz": lambda members: make_tar(members, packing="gz"),
    "x.TGZ": lambda members: make_tar(members, packing="gz", format=tarfile.PAX_FORMAT),
}


def find(folder, **options):
    return inputs.find([str(folder)], **options)


def read(found, max_bytes=1 << 20):
    """source -> bytes, or the reason why there are none; every input once."""
    items = [item for chunk in found.chunks for item in chunk_reader.read(chunk, max_bytes=max_bytes)]
    assert len({item.source for item in items}) == len(items) == found.num_inputs
    assert [item.source for item in items] == list(found.sources())
    return {item.source: item.reason if item.data is None else item.data for item in items}


def read_one(tmp_path, name, data, **options):
    write_files(tmp_path / "one", {name: data})
    return read(find(tmp_path / "one"), **options)


@pytest.fixture
def small_archives_have_indexes(monkeypatch):
    monkeypatch.setattr(gzip_index, "SMALL_BYTES", 0)


@pytest.mark.parametrize("name", PACKERS)
def test_members_are_inputs_of_their_own(tmp_path, name):
    folder = write_files(tmp_path, {f"deep/{name}": PACKERS[name](FILES), "z.mid": b"z", "z.txt": b""})
    found = find(folder)
    assert read(found) == {**{f"deep/{name}!{member}": data for member, data in INPUTS.items()}, "z.mid": b"z"}
    assert found.other_files == 3
    assert read(find(f"{folder}/deep/{name}")) == {f"{name}!{member}": data for member, data in INPUTS.items()}
    assert read(find(f"{folder}/deep/*{Path(name).suffix.lower()}")).keys() == {f"{name}!{each}" for each in INPUTS}


@pytest.mark.parametrize("scheme", ["gs", "s3"])
@pytest.mark.parametrize("name", PACKERS)
def test_archives_in_buckets(scheme, name, request, monkeypatch):
    monkeypatch.setattr(seekable_file, "BLOCK_BYTES", 1000)  # so that members lie across blocks
    bucket = request.getfixturevalue(f"{scheme}_bucket")
    storage.write_bytes(f"{bucket}/in/{name}", PACKERS[name](FILES))
    found = find(f"{bucket}/in", work_folder=f"{bucket}/out/work")
    assert read(found) == {f"{name}!{member}": data for member, data in INPUTS.items()}
    assert found.hash == read_hash_without_bucket(name, request)


def read_hash_without_bucket(name, request):
    folder = request.getfixturevalue("tmp_path")
    return find(write_files(folder, {name: PACKERS[name](FILES)})).hash


def test_an_archive_called_by_the_wrong_name(tmp_path):
    assert read_one(tmp_path, "x.tar", make_tar(FILES, packing="gz")).keys() == {f"x.tar!{name}" for name in INPUTS}
    assert read_one(tmp_path / "2", "x.tgz", make_tar(FILES)).keys() == {f"x.tgz!{name}" for name in INPUTS}


@pytest.mark.parametrize("name", ["x.tar", "x.tar.gz"])
def test_members_called_from_a_dot_on(tmp_path, name):
    data = make_tar({"./a.mid": b"1", "././b.mid": b"2"}, packing="gz" if name.endswith("gz") else "")
    assert read_one(tmp_path, name, data) == {f"{name}!a.mid": b"1", f"{name}!b.mid": b"2"}


def test_a_zip_of_other_tools(tmp_path):
    assert read_one(tmp_path, "x.zip", make_streamed_zip(INPUTS)) == {f"x.zip!{k}": v for k, v in INPUTS.items()}
    before = b"#!/bin/sh\n" * 10 + make_zip(INPUTS)  # unpacks itself
    assert read_one(tmp_path / "2", "x.zip", before) == {f"x.zip!{k}": v for k, v in INPUTS.items()}
    stored = make_zip(INPUTS, method=zipfile.ZIP_STORED)
    assert read_one(tmp_path / "3", "x.zip", stored) == {f"x.zip!{k}": v for k, v in INPUTS.items()}
    assert read_one(tmp_path / "4", "x.zip", make_zip({"a.mid": b"1"}, method=zipfile.ZIP_LZMA)) == {
        "x.zip!a.mid": "unreadable"
    }


def test_a_zip_of_more_than_32_bits_fields(tmp_path):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for number in range(70_000):  # one more than the old end of the directory can count
            archive.writestr(zipfile.ZipInfo(f"{number}.txt"), b"")
        with archive.open("a.mid", "w", force_zip64=True) as member:
            member.write(b"big")
    write_files(tmp_path, {"x.zip": out.getvalue()})
    found = find(tmp_path)
    assert (read(found), found.other_files) == ({"x.zip!a.mid": b"big"}, 70_000)


@pytest.mark.parametrize("pack", [make_tar, make_zip])
@pytest.mark.parametrize(
    ("member", "is_refused"),
    [
        ("/etc/a.mid", True),
        ("../a.mid", True),
        ("b/../../a.mid", True),
        ("b/..", False),  # no MIDI extension, so it is only counted
        ("..\\a.mid", True),
        ("b\\..\\a.mid", True),
        ("\\\\host\\a.mid", True),
        ("C:\\a.mid", True),
        ("c:a.mid", True),
        ("b\\a.mid", False),
        ("b/..a.mid", False),
        ("...mid", False),
    ],
)
def test_names_that_lead_elsewhere_are_refused(tmp_path, pack, member, is_refused):
    name = "x.zip" if pack is make_zip else "x.tar"
    got = read_one(tmp_path, name, pack({member: b"1", "ok.mid": b"2"}))
    want = {f"{name}!ok.mid": b"2"}
    if member.endswith(".mid"):
        want[f"{name}!{member}"] = "unsafe_name" if is_refused else b"1"
    assert got == want


def test_links_and_devices_are_not_followed(tmp_path):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE):
            add_to_tar(tar, f"{kind.decode()}.mid", type=kind, linkname="/etc/passwd")
        add_to_tar(tar, "folder.mid", type=tarfile.DIRTYPE)
        add_to_tar(tar, "a.mid", b"1")
    link = zipfile.ZipInfo("link.mid")
    link.create_system, link.external_attr = 3, 0o120777 << 16
    zipped = io.BytesIO()
    with zipfile.ZipFile(zipped, "w") as archive:
        archive.writestr(link, b"/etc/passwd")
        archive.writestr("a.mid", b"1")
    write_files(tmp_path, {"x.tar": out.getvalue(), "y.zip": zipped.getvalue()})
    found = find(tmp_path)
    assert (read(found), found.other_files) == ({"x.tar!a.mid": b"1", "y.zip!a.mid": b"1"}, 5)


def test_encrypted_members_are_refused(tmp_path):
    data = bytearray(make_zip({"a.mid": b"1", "b.mid": b"2"}))
    data[data.index(b"PK\1\2") + 8] |= 1
    assert read_one(tmp_path, "x.zip", bytes(data)) == {"x.zip!a.mid": "encrypted", "x.zip!b.mid": b"2"}


@pytest.mark.parametrize("name", PACKERS)
def test_two_members_of_one_name(tmp_path, name):
    members = {"a.mid": b"1", "a.mid#2": b"x", "b.mid": b"2"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        data = twice(name, list(members.items()) + [("a.mid", b"3"), ("a.mid", b"4")])
    got = read_one(tmp_path, name, data)
    assert got == {f"{name}!a.mid": b"1", f"{name}!b.mid": b"2", f"{name}!a.mid#2": b"3", f"{name}!a.mid#3": b"4"}


def twice(name, members):
    out = io.BytesIO()
    if name.endswith("zip"):
        with zipfile.ZipFile(out, "w") as archive:
            for member, data in members:
                archive.writestr(member, data)
    else:
        with tarfile.open(fileobj=out, mode="w" if name.endswith("tar") else "w:gz") as tar:
            for member, data in members:
                add_to_tar(tar, member, data)
    return out.getvalue()


def test_a_number_that_makes_the_name_of_another_member_is_left_out(tmp_path):
    data = twice("x.tar", [("a.mid", b"1"), ("a.mid", b"2"), ("a.mid#2.mid", b"3"), ("b#2.mid", b"4")])
    assert read_one(tmp_path, "x.tar", data) == {
        "x.tar!a.mid": b"1",
        "x.tar!a.mid#2": b"2",
        "x.tar!a.mid#2.mid": b"3",
        "x.tar!b#2.mid": b"4",
    }


def test_a_file_that_is_called_like_a_member(tmp_path):
    write_files(tmp_path, {"x.zip": make_zip({"a.mid": b"1"}), "x.zip!a.mid": b"2", "y.zip!a.mid": b"3"})
    with pytest.raises(UserError, match=r"x\.zip!a\.mid is named like a member of the archive beside it") as error:
        find(tmp_path)
    assert len(error.value.problems) == 1


# ---------------------------------------------------------------------------------------------------------- damage


@pytest.mark.parametrize("name", PACKERS)
def test_what_lies_before_a_damage_is_kept(tmp_path, name):
    data = PACKERS[name](MANY)
    got = read_one(tmp_path, name, data[: len(data) // 2])
    assert got.pop(name) == "damaged_archive"
    cut = [source for source, found in got.items() if isinstance(found, str)]
    assert len(cut) <= 1 and {got.pop(source) for source in cut} <= {"unreadable"}
    assert got == {f"{name}!{member}": MANY[member] for member in list(MANY)[: len(got)]}
    assert 140 <= len(got) <= 200


@pytest.mark.parametrize("name", ["x.zip", "x.tar", "x.tar.gz"])
@pytest.mark.parametrize("data", [b"", b"no archive" * 100, bytes(100)])
def test_what_is_no_archive_is_one_input_that_cannot_be_used(tmp_path, name, data):
    if name.startswith("x.tar") and data == bytes(100):
        data = b"\x1f\x8b"
    assert read_one(tmp_path, name, data) == {name: "damaged_archive"}


def test_a_zip_that_lost_its_directory(tmp_path):
    for number, data in enumerate((make_zip(MANY), make_streamed_zip(MANY))):
        got = read_one(tmp_path / str(number), "x.zip", data[: data.index(b"PK\1\2")])
        assert got == {**{f"x.zip!{member}": found for member, found in MANY.items()}, "x.zip": "damaged_archive"}


def test_a_zip_whose_directory_is_damaged(tmp_path):
    data = bytearray(make_zip(MANY))
    place = data.rindex(b"PK\1\2")
    data[place] = 0
    got = read_one(tmp_path, "x.zip", bytes(data))
    assert got == {**{f"x.zip!{member}": found for member, found in MANY.items()}, "x.zip": "damaged_archive"}


def test_a_damaged_member_of_a_zip(tmp_path):
    data = bytearray(make_zip({"a.mid": b"some music" * 9, "b.mid": b"2"}, method=zipfile.ZIP_STORED))
    data[data.index(b"some")] ^= 1
    assert read_one(tmp_path, "x.zip", bytes(data)) == {"x.zip!a.mid": "unreadable", "x.zip!b.mid": b"2"}


def test_a_tar_gz_whose_checksum_is_another_one(tmp_path):
    data = bytearray(make_tar(INPUTS, packing="gz"))
    data[-8] ^= 1
    got = read_one(tmp_path, "x.tgz", bytes(data))
    assert got == {**{f"x.tgz!{name}": found for name, found in INPUTS.items()}, "x.tgz": "damaged_archive"}


# ----------------------------------------------------------------------------------------------------------- bombs


def test_a_member_larger_than_it_may_be(tmp_path):
    for name, pack in PACKERS.items():
        got = read_one(tmp_path / name, name, pack({"a.mid": bytes(101), "b.mid": bytes(100)}), max_bytes=100)
        assert got == {f"{name}!a.mid": "too_large", f"{name}!b.mid": bytes(100)}


def test_declared_sizes_are_not_believed(tmp_path):
    data = bytearray(make_zip({"a.mid": bytes(10 << 20)}))
    place = data.index(b"PK\1\2") + 24
    data[place : place + 4] = (5).to_bytes(4, "little")
    assert read_one(tmp_path, "x.zip", bytes(data), max_bytes=1000) == {"x.zip!a.mid": "too_large"}


def test_a_member_is_unpacked_no_further_than_it_may_go():
    packed = zlib.compress(bytes(10 << 20), wbits=-15)
    assert archive_reader._unpack(packed, zipfile.ZIP_DEFLATED, 1000) == bytes(1001)


def test_what_unpacks_to_absurdly_much_is_refused_as_a_whole(tmp_path, monkeypatch):
    monkeypatch.setattr(archive_listing, "FREE_BYTES", 1 << 20)
    members = {"a.mid": b"1", "b.bin": bytes(20 << 20), "c.mid": b"2"}
    for name in ("x.zip", "x.tar.gz"):
        assert read_one(tmp_path / name, name, PACKERS[name](members)) == {name: "archive_bomb"}
    assert read_one(tmp_path, "x.tar", make_tar(members)) == {"x.tar!a.mid": b"1", "x.tar!c.mid": b"2"}


def test_a_zip_whose_members_overlap_is_refused(tmp_path):
    data = bytearray(make_zip({"a.mid": bytes(9), "b.mid": bytes(9)}))
    second = data.rindex(b"PK\1\2") + 42
    data[second : second + 4] = bytes(4)  # both at offset 0
    assert read_one(tmp_path, "x.zip", bytes(data)) == {"x.zip": "archive_bomb"}


@pytest.mark.parametrize("packing", ["", "gz"])
def test_a_tar_of_impossible_headers(tmp_path, packing):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=f"w:{packing}") as tar:
        add_to_tar(tar, "a.mid", b"1")
        for size in (-512, 1 << 60):
            info = tarfile.TarInfo("x" if size < 0 else "y")
            info.size, info.type = size, tarfile.REGTYPE if size < 0 else tarfile.GNUTYPE_LONGNAME
            tar.fileobj.write(info.tobuf(tarfile.GNU_FORMAT))
    name = "x.tgz" if packing else "x.tar"
    assert read_one(tmp_path, name, out.getvalue()) == {f"{name}!a.mid": b"1", name: "damaged_archive"}


# ----------------------------------------------------------------------------------------------------------- seeks


@pytest.mark.usefixtures("small_archives_have_indexes")
def test_a_tar_gz_is_unpacked_once_and_then_read_from_its_seek_points(tmp_path, monkeypatch):
    monkeypatch.setattr(gzip_index, "_SPACING_BYTES", 1 << 16)
    folder, work = write_files(tmp_path / "in", {"x.tar.gz": PACKERS["x.tar.gz"](MANY)}), str(tmp_path / "out/work")
    want = {f"x.tar.gz!{member}": data for member, data in MANY.items()}
    found = find(folder, work_folder=work)
    assert len(found.chunks) == 6
    assert not (tmp_path / "out").exists()  # it may be anybody's
    assert read(found) == want
    found.save_indexes()
    assert all(name.startswith(".") for name in os.listdir(work))

    def fail(*_, **__):
        raise AssertionError("unpacked from its beginning")

    monkeypatch.setattr(tar_directory, "read_directory", fail)
    monkeypatch.setattr(gzip_index, "open_in_order", fail)
    again = find(folder, work_folder=work)
    assert again == found
    assert read(again) == want
    assert again.indexes == {}


@pytest.mark.usefixtures("small_archives_have_indexes")
def test_seek_points_of_a_damaged_archive(tmp_path):
    data = PACKERS["x.tar.gz"](MANY)
    folder = write_files(tmp_path / "in", {"x.tar.gz": data[: len(data) // 2]})
    found = find(folder, work_folder=str(tmp_path / "work"))
    before = read(found)
    found.save_indexes()
    assert read(find(folder, work_folder=str(tmp_path / "work"))) == before
    assert before["x.tar.gz"] == "damaged_archive"
    assert 140 <= len(before) <= 200


@pytest.mark.usefixtures("small_archives_have_indexes")
def test_seek_points_of_another_version_are_not_used(tmp_path):
    folder = write_files(tmp_path / "in", {"x.tar.gz": PACKERS["x.tar.gz"](MANY)})
    find(folder, work_folder=str(tmp_path / "work")).save_indexes()
    write_files(tmp_path / "in", {"x.tar.gz": PACKERS["x.tar.gz"](FILES)})
    os.utime(tmp_path / "in/x.tar.gz", (1, 1))
    assert read(find(folder, work_folder=str(tmp_path / "work"))).keys() == {f"x.tar.gz!{name}" for name in INPUTS}


@pytest.mark.parametrize("name", PACKERS)
def test_trouble_with_the_network_is_no_damage(s3_bucket, monkeypatch, name):
    storage.write_bytes(f"{s3_bucket}/{name}", PACKERS[name](MANY))
    monkeypatch.setattr(seekable_file, "BLOCK_BYTES", 10_000)
    found = find(f"{s3_bucket}/{name}")
    real = storage.read_range

    def break_off(path, offset, length):
        if offset >= 20_000:
            raise ConnectionError("gone")
        return real(path, offset, length)

    monkeypatch.setattr(storage, "read_range", break_off)
    with pytest.raises(ConnectionError):
        read(found)
    with pytest.raises(ConnectionError):
        find(f"{s3_bucket}/{name}")


def test_an_archive_that_must_not_be_read_is_one_input(tmp_path, monkeypatch):
    write_files(tmp_path, {"x.zip": make_zip(FILES), "a.mid": b"1"})

    def forbidden(path, size):
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr(archive_listing, "open_file", forbidden)
    assert read(find(tmp_path)) == {"x.zip": "unreadable", "a.mid": b"1"}


@pytest.mark.parametrize("size", [pytest.param(0, marks=pytest.mark.slow), 1 << 20])
def test_an_archive_that_went_away_costs_its_members(s3_bucket, monkeypatch, size):
    monkeypatch.setattr(chunk_reader, "FETCHED_AHEAD_BYTES", size)
    for number in range(70):
        storage.write_bytes(f"{s3_bucket}/{number:02}.zip", make_zip({"a.mid": bytes([number])}))
    found = find(s3_bucket)
    storage.delete(f"{s3_bucket}/33.zip")
    want = {f"{number:02}.zip!a.mid": bytes([number]) for number in range(70)}
    assert read(found) == {**want, "33.zip!a.mid": "unreadable"}


def test_an_archive_without_inputs_is_the_users_mistake(tmp_path):
    write_files(tmp_path, {"x.zip": make_zip({"a.txt": b""})})
    with pytest.raises(UserError, match="x.zip: none of 1 files has a MIDI extension"):
        find(tmp_path / "x.zip")
