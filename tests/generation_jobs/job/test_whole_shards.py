"""Finished shards with missing or damaged files: a restart restores the same bytes."""

import json

import pytest

from generation_jobs import merge
from generation_jobs.job import job, whole_shards
from generation_jobs.output import manifest
from generation_jobs.output.piece_files import read_tar
from job_runtime import command, storage
from job_runtime.problem_report import UserError
from tests.generation_jobs.fakes import FakeDecoder
from tests.generation_jobs.job.test_job import make_job
from tests.generation_jobs.job.test_task import files_of, run
from tests.generation_jobs.job.test_task_screened import policy

LAYOUTS = {"mid": None, "tar": 2}
FILES = {
    "mid": [
        "midi/b/b-00000.mid", "midi/b/b-00001.mid", "records/generated-00000-of-00003.tfrecord",
        "manifest/part-00000-of-00003.jsonl", "sizes/part-00000-of-00003.json",
    ],
    "tar": [
        "midi/pieces-00000-of-00003.tar", "records/generated-00000-of-00003.tfrecord",
        "manifest/part-00000-of-00003.jsonl", "sizes/part-00000-of-00003.json",
    ],
}  # fmt: skip


@pytest.fixture(autouse=True)
def shards_of_two_pieces(monkeypatch):
    monkeypatch.setattr("generation_jobs.output.shards._DEFAULT_PIECES", (2, 2))


def delete(path, _):
    path.unlink()


def empty(path, _):
    path.write_bytes(b"")


def cut(path, data):
    path.write_bytes(data[: len(data) // 2 + 7])


def cut_at_a_block(path, data):
    path.write_bytes(data[: max(len(data) // 2 // 512 * 512, 1)])


def lengthen(path, data):
    path.write_bytes(data + b"\n")


def replace(path, data):
    path.write_bytes(b"x" * (len(data) + 512))


@pytest.mark.parametrize("harm", [delete, empty, cut, cut_at_a_block, lengthen, replace])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_missing_files_and_files_of_another_size_are_made_again(tmp_path, layout, harm):
    pieces_per_shard = LAYOUTS[layout]
    run(tmp_path, pieces_per_shard=pieces_per_shard)
    merge.main(["--output", str(tmp_path)])
    want = files_of(tmp_path)
    for name in FILES[layout]:
        harm(tmp_path / name, want[name])
        decoder = FakeDecoder()
        summary = run(tmp_path, decoder, pieces_per_shard=pieces_per_shard)
        assert files_of(tmp_path) == want, name
        is_known = not name.startswith("sizes")  # losing it loses no music
        assert [text.partition(" ")[0] for text in summary.damage] == [name] * is_known
        assert summary.num_made == decoder.asked <= 2
        if not name.startswith("midi"):
            assert decoder.asked == 0
    assert merge.main(["--output", str(tmp_path)]) == command.OK


@pytest.mark.parametrize("layout", LAYOUTS)
def test_all_files_of_a_shard_except_one(tmp_path, layout):
    run(tmp_path, pieces_per_shard=LAYOUTS[layout])
    want = files_of(tmp_path)
    for kept in FILES[layout]:
        for name in FILES[layout]:
            if name != kept:
                (tmp_path / name).unlink()
        run(tmp_path, pieces_per_shard=LAYOUTS[layout])
        assert files_of(tmp_path) == want, kept


def test_a_kill_during_a_repair(tmp_path):
    run(tmp_path)
    want = files_of(tmp_path)
    for name in FILES["mid"][:2]:
        cut(tmp_path / name, want[name])
    with pytest.raises(RuntimeError, match="killed"):
        run(tmp_path, FakeDecoder(stop_after=1))
    with pytest.raises(UserError, match=r"not finished: there is no manifest/part-00000-of-00003.jsonl \(1 of 3\)"):
        manifest.read(str(tmp_path))
    assert run(tmp_path).num_made == 1
    assert files_of(tmp_path) == want


@pytest.mark.parametrize(("kind", "layout"), [("retry", "mid"), ("drop", "tar")])
def test_screened_pieces(tmp_path, layout, kind):
    changes = {"policy": policy(kind), "pieces_per_shard": LAYOUTS[layout]}
    run(tmp_path, **changes)
    want = files_of(tmp_path)
    for name in [name for name in want if name != "job.json"]:
        delete(tmp_path / name, b"")
        run(tmp_path, **changes)
        assert files_of(tmp_path) == want, name


def test_pieces_left_out_are_recognized_by_their_lines(tmp_path):
    run(tmp_path, policy=policy("drop"))
    records = sorted((tmp_path / "records").iterdir())
    want = files_of(tmp_path)
    assert any(line["path"] is None for line in manifest.read(str(tmp_path)))
    for path in records:
        path.unlink()
    decoder = FakeDecoder()
    run(tmp_path, decoder, policy=policy("drop"))
    assert decoder.asked == 0
    assert files_of(tmp_path) == want


def test_a_task_repairs_only_its_own_shards(tmp_path):
    run(tmp_path)
    want = files_of(tmp_path)
    for shard in range(3):
        (tmp_path / f"records/generated-0000{shard}-of-00003.tfrecord").unlink()
    for index in (2, 0, 1):
        summary = run(tmp_path, num_tasks=3, task_index=index)
        assert list(summary.damage) == [f"records/generated-0000{index}-of-00003.tfrecord is missing"]
    assert files_of(tmp_path) == want


def test_outputs_of_older_versions_get_their_sizes(tmp_path):
    run(tmp_path)
    want = files_of(tmp_path)
    for path in (tmp_path / "sizes").iterdir():
        path.unlink()
    (tmp_path / "midi/a/a-00000.mid").unlink()
    decoder = FakeDecoder()
    run(tmp_path, decoder)
    assert decoder.asked == 1
    assert files_of(tmp_path) == want


def test_a_lost_job_file_comes_back_only_for_the_same_job(tmp_path):
    run(tmp_path)
    want = files_of(tmp_path)
    (tmp_path / "job.json").unlink()
    run(tmp_path)
    assert files_of(tmp_path) == want
    (tmp_path / "job.json").unlink()
    with pytest.raises(UserError, match=r"sizes/part-00000-of-00003.json' belongs to another job"):
        run(tmp_path, rng_seed=8)
    (tmp_path / "job.json").unlink()
    for path in (tmp_path / "sizes").iterdir():
        path.unlink()
    with pytest.raises(UserError, match=r"b-00000.mid' is where .*, but it has rng_seed 7; move it away"):
        run(tmp_path, rng_seed=8)


def test_a_shard_of_another_job_is_refused(tmp_path):
    run(tmp_path / "one")
    run(tmp_path / "other", rng_seed=8)
    name = "sizes/part-00001-of-00003.json"
    (tmp_path / "one" / name).write_bytes((tmp_path / "other" / name).read_bytes())
    with pytest.raises(UserError, match=rf"{name}' belongs to another job"):
        run(tmp_path / "one")


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_folder_in_the_place_of_a_file_is_refused(tmp_path, layout):
    run(tmp_path, pieces_per_shard=LAYOUTS[layout])
    for name in FILES[layout]:
        data = (tmp_path / name).read_bytes()
        (tmp_path / name).unlink()
        (tmp_path / name).mkdir()
        with pytest.raises(UserError, match="is a folder where a file|cannot be written: Is a directory"):
            run(tmp_path, pieces_per_shard=LAYOUTS[layout])
        (tmp_path / name).rmdir()
        (tmp_path / name).write_bytes(data)
        run(tmp_path, pieces_per_shard=LAYOUTS[layout])


def test_damaged_size_files_are_ignored(tmp_path):
    run(tmp_path)
    want = files_of(tmp_path)
    path = tmp_path / FILES["mid"][-1]
    for data in (
        b"[]",
        b'{"of": 1, "files": {}}',
        b"\xff",
        b'{"of": "a", "files": 3}',
    ):
        path.write_bytes(data)
        run(tmp_path)
        assert files_of(tmp_path) == want


def test_a_check_costs_a_few_listings_and_one_read_per_shard(tmp_path, monkeypatch):
    run(tmp_path, pieces_per_shard=2)
    asked = []
    for name in ("list_files", "read_bytes", "look_up", "exists", "is_folder"):
        real = getattr(storage, name)
        monkeypatch.setattr(
            storage, name, lambda *a, _name=name, _real=real, **k: (asked.append(_name), _real(*a, **k))[1]
        )
    this_job = make_job(tmp_path, pieces_per_shard=2)
    assert whole_shards.find(this_job, this_job.files()).whole == {0, 1, 2}
    assert sorted(asked) == ["list_files"] * 5 + ["read_bytes"] * 3  # of unfinished/ too, and of sizes/


@pytest.mark.slow
def test_in_a_bucket(s3_bucket):
    root = f"{s3_bucket}/music"

    def files() -> dict[str, bytes]:
        return {entry.path: storage.read_bytes(entry.path) for entry in storage.list_files(root)}

    run(root, pieces_per_shard=2)
    want = files()
    for name in FILES["tar"]:
        path = storage.join(root, name)
        storage.delete(path)
        run(root, pieces_per_shard=2)
        assert files() == want
        storage.write_bytes(path, want[path][:-9])
        run(root, pieces_per_shard=2)
        assert files() == want


def test_the_sizes_of_a_shard(tmp_path):
    run(tmp_path, pieces_per_shard=2)
    this_job: job.Job = make_job(tmp_path, pieces_per_shard=2)
    sizes = json.loads((tmp_path / FILES["tar"][-1]).read_text())
    assert sizes == {
        "of": this_job.digest,
        "files": {name: (tmp_path / name).stat().st_size for name in sorted(FILES["tar"][:-1])},
    }
    assert len(read_tar(str(tmp_path / FILES["tar"][0]))) == 2
