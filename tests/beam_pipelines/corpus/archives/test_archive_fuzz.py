"""Archives made to break readers: every input is read or refused, nothing raises, whatever headers say."""

import gzip
import io
import random
import struct
import tarfile
import zipfile

import pytest

from beam_pipelines.corpus.archives import archive_listing, gzip_index
from tests.beam_pipelines.archive_files import add_to_tar, make_streamed_zip, make_tar
from tests.beam_pipelines.corpora import write_files
from tests.beam_pipelines.corpus.archives.test_archive_listing import find, read, read_one

GOOD = {f"{number}.mid": random.Random(number).randbytes(100) for number in range(4)}
SIZES = [b"\xff" * 12, b"\xff" * 11 + b"\xfb", b"\x80" + b"\xff" * 11, b"77777777777\0", b"-0000000005\0", b"\0" * 12]
TYPES = [tarfile.LNKTYPE, tarfile.SYMTYPE, tarfile.GNUTYPE_SPARSE, tarfile.FIFOTYPE, b"L", b"K", b"x", b"g", b"X", b"?"]
PAX_KEYS = [
    "size",
    "path",
    "GNU.sparse.size",
    "GNU.sparse.map",
    "GNU.sparse.major",
    "GNU.sparse.realsize",
    "hdrcharset",
]
PAX_VALUES = ["-5", "-1", "9" * 30, "9" * 5000, "1e9", "nan", "", "1,2,3", "0,5,-7,9", "1", "10 BINARY"]
NUMBERS = [0, 1, 22, 1 << 31, (1 << 31) - 1, (1 << 32) - 2, (1 << 32) - 1]
ZIP_FIELDS = {  # where each header has sizes, offsets and counts
    b"PK\1\2": (16, 20, 24, 28, 30, 42),
    b"PK\3\4": (6, 14, 18, 22, 26),
    b"PK\5\6": (8, 10, 12, 16),
}


def with_pax(size: str) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        add_to_tar(tar, "a.mid", b"first")
        add_to_tar(tar, "b.mid", b"second", pax_headers={"size": size})
        add_to_tar(tar, "c.mid", b"third")
    return out.getvalue()


@pytest.mark.parametrize("packing", ["", ".gz"])
@pytest.mark.parametrize("size", ["-5", "-1", "-512", "-99999999999999999999", "9" * 25, str(1 << 63)])
def test_a_pax_size_that_no_member_has(tmp_path, size, packing):
    data = with_pax(size)
    got = read_one(tmp_path, f"x.tar{packing}", gzip.compress(data) if packing else data)
    assert got == {f"x.tar{packing}!a.mid": b"first", f"x.tar{packing}": "damaged_archive"}


@pytest.mark.parametrize("field", SIZES[:3])
def test_a_size_field_that_no_member_has(tmp_path, field):
    data = bytearray(make_tar({"a.mid": b"first", "b.mid": b"second"}))
    write_field(data, 1024, 124, field)
    assert read_one(tmp_path, "x.tar", bytes(data)) == {"x.tar!a.mid": b"first", "x.tar": "damaged_archive"}


def test_links_in_a_circle_are_other_files(tmp_path):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, target in (("a.mid", "b.mid"), ("b.mid", "a.mid"), ("c.mid", "c.mid")):
            add_to_tar(tar, name, type=tarfile.LNKTYPE, linkname=target)
        add_to_tar(tar, "d.mid", b"music")
    write_files(tmp_path, {"x.tar": out.getvalue()})
    found = find(tmp_path)
    assert (read(found), found.other_files) == ({"x.tar!d.mid": b"music"}, 3)


def test_a_zip_that_lies_both_in_its_directory_and_in_front_of_its_members(tmp_path):
    data = bytearray(make_zip_of(GOOD))
    for signature, field in ((b"PK\1\2", 20), (b"PK\3\4", 18)):
        struct.pack_into("<I", data, data.rindex(signature) + field, (1 << 32) - 2)
    got = read_one(tmp_path, "x.zip", bytes(data))
    assert got == {f"x.zip!{name}": GOOD[name] for name in list(GOOD)[:3]} | {"x.zip": "damaged_archive"}


def test_a_member_of_unknown_size_is_unpacked_no_further_than_a_bomb_may_be(tmp_path, monkeypatch):
    monkeypatch.setattr(archive_listing, "FREE_BYTES", 1 << 16)
    whole = make_streamed_zip({"a.mid": b"first", "b.mid": bytes(40 << 20)})
    got = read_one(tmp_path, "x.zip", whole[: whole.index(b"PK\1\2")])
    assert got == {"x.zip!a.mid": b"first", "x.zip": "damaged_archive"}


@pytest.mark.parametrize("junk", [b"junk", b"\x1f\x8b", b"\1" * 100])
@pytest.mark.parametrize("small_bytes", [0, 1 << 20])
def test_what_follows_a_gzip_stream_is_damage_with_seek_points_and_without(tmp_path, monkeypatch, junk, small_bytes):
    monkeypatch.setattr(gzip_index, "SMALL_BYTES", small_bytes)
    write_files(tmp_path / "m", {"x.tgz": make_tar(GOOD, packing="gz") + junk})
    got = read(find(tmp_path / "m", work_folder=str(tmp_path / "work")))
    assert got == {f"x.tgz!{name}": data for name, data in GOOD.items()} | {"x.tgz": "damaged_archive"}


@pytest.mark.parametrize(
    "data",
    [gzip.compress(b"", mtime=0)[:10], b"\x1f\x8b", make_tar(GOOD, packing="gz")[:-4]],
    ids=["header alone", "magic number alone", "checksum cut"],
)
def test_a_cut_gzip(tmp_path, data):
    assert read_one(tmp_path, "x.tar.gz", data)["x.tar.gz"] == "damaged_archive"


def test_two_streams_with_nothing_wrong(tmp_path, monkeypatch):
    monkeypatch.setattr(gzip_index, "SMALL_BYTES", 0)
    whole = make_tar(GOOD)
    write_files(tmp_path / "m", {"x.tgz": gzip.compress(whole[:900]) + gzip.compress(whole[900:])})
    got = read(find(tmp_path / "m", work_folder=str(tmp_path / "work")))
    assert got == {f"x.tgz!{name}": data for name, data in GOOD.items()}


# -------------------------------------------------------------------------------------------------------- mutators


def write_field(data: bytearray, header: int, place: int, value: bytes) -> None:
    """Changes a header of a tar and makes its checksum right again: else the reader would look no further."""
    data[header + place : header + place + len(value)] = value
    block = data[header : header + 512]
    block[148:156] = b" " * 8
    data[header + 148 : header + 156] = b"%06o\0 " % sum(block)


def make_hostile_tar(rng: random.Random) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=rng.choice([tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])) as tar:
        for name, music in GOOD.items():
            fields = {"pax_headers": {rng.choice(PAX_KEYS): rng.choice(PAX_VALUES)}} if rng.random() < 0.5 else {}
            add_to_tar(tar, rng.choice([name, "x" * 150 + name, "ü/" + name]), music, **fields)
    data = bytearray(out.getvalue())
    for _ in range(rng.randint(0, 3)):
        headers = [place for place in range(0, len(data) - 511, 512) if data[place + 257 : place + 262] == b"ustar"]
        if not headers:
            break
        header = rng.choice(headers)
        change = rng.randrange(5)
        if change == 0:
            write_field(data, header, 124, rng.choice(SIZES))
        elif change == 1:
            write_field(data, header, 156, rng.choice(TYPES))
        elif change == 2:  # the map of a sparse member, and its size
            write_field(data, header, rng.choice([386, 398, 482, 483]), rng.choice(SIZES))
            write_field(data, header, 156, tarfile.GNUTYPE_SPARSE)
        else:
            damage(data, rng)
    return bytes(data)


def make_zip_of(members: dict[str, bytes], methods=(zipfile.ZIP_DEFLATED,), rng: random.Random | None = None) -> bytes:
    rng, out = rng or random.Random(0), io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data, rng.choice(methods))
    return out.getvalue()


def make_hostile_zip(rng: random.Random) -> bytes:
    data = bytearray(make_zip_of(GOOD, (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA), rng))
    if rng.random() < 0.2:
        counts = [rng.choice([0, 1, 4, len(data), 1 << 63, (1 << 64) - 1]) for _ in range(5)]
        end = struct.pack("<4sQ2H2I4Q", b"PK\6\6", 44, 45, 45, 0, 0, *counts[:4])
        place = data.rindex(b"PK\5\6")
        data[place:place] = end + struct.pack("<4sIQI", b"PK\6\7", 0, counts[4], 1)
        data[-14:-2] = b"\xff" * 12
    for _ in range(rng.randint(1, 3)):
        signature = rng.choice(list(ZIP_FIELDS))
        places = [place for place in range(len(data) - 46) if data[place : place + 4] == signature]
        if places and rng.random() < 0.8:
            place = rng.choice(places) + rng.choice(ZIP_FIELDS[signature])
            struct.pack_into("<I", data, place, rng.choice([*NUMBERS, len(data), rng.getrandbits(32)]))
        else:
            damage(data, rng)
    return bytes(data)


def make_hostile_gzip(rng: random.Random) -> bytes:
    data = bytearray(gzip.compress(make_hostile_tar(rng), mtime=0))
    change = rng.randrange(4)
    if change == 0:
        data += rng.choice([bytes(100), b"junk", b"\x1f\x8b"])
    elif change < 3:
        damage(data, rng)
    return bytes(data)


def damage(data: bytearray, rng: random.Random) -> None:
    place = rng.randrange(len(data)) if data else 0
    change = rng.randrange(3)
    if change == 0:
        del data[place:]
    elif change == 1:
        data[place:place] = rng.randbytes(rng.choice([1, 30, 512]))
    else:
        data[place : place + 1] = rng.randbytes(1)


HOSTILE = {"x.tar": make_hostile_tar, "x.zip": make_hostile_zip, "x.tar.gz": make_hostile_gzip}


@pytest.mark.parametrize("name", HOSTILE)
def test_nothing_raises_and_every_input_is_read_or_refused(tmp_path, monkeypatch, name):
    monkeypatch.setattr(gzip_index, "SMALL_BYTES", 0)
    for seed in range(150):
        folder = write_files(tmp_path / f"{seed}", {name: HOSTILE[name](random.Random(seed)), "beside.mid": b"beside"})
        plain = read(find(folder))
        assert plain["beside.mid"] == b"beside", seed
        if name == "x.tar.gz":
            for _ in range(2):  # the second finds what the first has kept
                found = find(folder, work_folder=str(tmp_path / f"work{seed}"))
                found.save_indexes()
                assert read(found) == plain, seed


def test_the_mutators_reach_every_kind_of_refusal(tmp_path):
    reasons = set()
    for seed in range(60):
        for name, make in HOSTILE.items():
            got = read_one(tmp_path / f"{seed}{name}", name, make(random.Random(seed)))
            reasons |= {answer for answer in got.values() if isinstance(answer, str)}
    assert {"damaged_archive", "unreadable", "archive_bomb"} <= reasons
