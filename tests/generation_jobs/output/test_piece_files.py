"""Loose files and tar shards, here and in a bucket."""

import pytest

from generation_jobs.output import piece_files
from generation_jobs.output.piece_files import LooseFiles, TarFiles
from generation_jobs.output.shards import Shards
from job_runtime import storage
from job_runtime.problem_report import UserError

SHARDS = Shards(6, 2)
LONG = "x" * 100  # the longest id


def number_of(seed_id: str, sample: int) -> int | None:
    return sample if seed_id in ("a", LONG) and sample < 6 else None


def loose(root: str) -> LooseFiles:
    files = LooseFiles(root, SHARDS, number_of)
    files.find([0, 1])
    return files


def tar(root: str, **changes: int) -> TarFiles:
    files = TarFiles(root, SHARDS, **changes)
    files.find([0, 1])
    return files


@pytest.fixture(params=["local", "s3"])
def root(request, tmp_path) -> str:
    return str(tmp_path) if request.param == "local" else request.getfixturevalue("s3_bucket") + "/music"


def test_loose_files_come_back_by_shard(root):
    files = loose(root)
    for number in (0, 1, 3, 5):
        assert files.put(piece_files.loose_path("a", number), b"%d" % number) == b"%d" % number
    assert files.put("midi/a/a-00000.mid", b"late") == b"0"
    for stranger in ("midi/b/b-00000.mid", "midi/a/b-00001.mid", "midi/a/a-00009.mid", "midi/a/notes.txt"):
        storage.write_bytes(storage.join(root, stranger), b"?")
    again = loose(root)
    assert again.read(0) == {"midi/a/a-00000.mid": b"0", "midi/a/a-00001.mid": b"1"}
    assert again.read(1) == {"midi/a/a-00003.mid": b"3"}
    assert again.read(2) == {}  # nobody looked


def path(number: int) -> str:
    return piece_files.tar_path(SHARDS.tar(number // 2), LONG, number)


def test_a_tar_shard_is_saved_in_parts_and_then_whole(root):
    files = tar(root, pieces_per_save=2)
    files.put(path(0), b"0")
    files.save(all_of_them=False)
    assert tar(root).read(0) == {}
    files.put(path(2), b"2")
    files.save(all_of_them=False)
    files.put(path(3), b"3")
    files.save(all_of_them=True)
    assert tar(root).read(0) == {path(0): b"0"} and tar(root).read(1) == {path(2): b"2", path(3): b"3"}
    last = tar(root)
    both = {path(2): b"2", path(3): b"3"}
    assert last.finish(1, both) == both
    last.clear(1)
    assert {entry.path for entry in storage.list_files(f"{root}/")} == {
        f"{root}/midi/pieces-00001-of-00003.tar",
        f"{root}/unfinished/pieces-00000-of-00003-00000.tar",
    }
    assert tar(root).read(1) == both


def test_the_first_finished_archive_wins(root):
    first, second = {path(0): b"0", path(1): b"1"}, {path(0): b"00", path(1): b"11"}
    assert tar(root).finish(0, first) == first
    assert tar(root).finish(0, second) == first


def test_two_writers_do_not_overwrite_each_others_parts(root):
    one, other = tar(root), tar(root)
    one.put(path(0), b"0")
    other.put(path(1), b"1")
    one.save(all_of_them=True)
    other.save(all_of_them=True)
    assert tar(root).read(0) == {path(0): b"0", path(1): b"1"}


def test_an_archive_is_a_function_of_its_members(tmp_path):
    members = [("a/a-00000.mid", b"one"), (f"{LONG}/{LONG}-00000.mid", b"two")]
    data = piece_files.tar_of(members)
    assert data == piece_files.tar_of(members)
    (tmp_path / "x.tar").write_bytes(data)
    assert piece_files.read_tar(str(tmp_path / "x.tar")) == dict(members)
    for cut in (100, 600, 1000):
        (tmp_path / "x.tar").write_bytes(data[:cut])
        with pytest.raises(UserError, match="x.tar' is damaged: "):
            piece_files.read_tar(str(tmp_path / "x.tar"))


def test_pieces_are_read_in_the_order_of_the_manifest(tmp_path):
    for number in range(3):
        loose(str(tmp_path)).put(piece_files.loose_path("a", number), b"%d" % number)
    tar(str(tmp_path)).finish(1, {path(2): b"two", path(3): b"three"})
    wanted = [path(3), "midi/a/a-00001.mid", "midi/a/a-00005.mid", path(2), path(4), path(1), "midi/a/a-00000.mid"]
    found = list(piece_files.read_pieces(str(tmp_path), wanted))
    assert [one if isinstance(one, bytes) else type(one) for one in found] == [
        b"three", b"1", FileNotFoundError, b"two", FileNotFoundError, FileNotFoundError, b"0",
    ]  # fmt: skip
