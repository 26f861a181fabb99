"""Some pieces of a job, made again without the others."""

import pytest

from generation_jobs.job import chosen_pieces
from generation_jobs.output import manifest
from generation_jobs.screening.reject_policy import DROP, RETRY
from job_runtime.problem_report import UserError
from tests.generation_jobs.fakes import FakeDecoder
from tests.generation_jobs.job.test_job import make_job
from tests.generation_jobs.job.test_task import files_of, run
from tests.generation_jobs.job.test_task_screened import policy


def again(output, names, **changes) -> list[tuple[int, str | None]]:
    job = make_job(output, **changes)
    numbers, problems = chosen_pieces.parse(names, job)
    assert problems == []
    return list(chosen_pieces.make(job, numbers, FakeDecoder))


@pytest.mark.parametrize("pieces_per_shard", [None, 4])
def test_the_same_bytes_in_a_folder_of_its_own(tmp_path, pieces_per_shard):
    run(tmp_path / "job", pieces_per_shard=pieces_per_shard)
    made = again(tmp_path / "own", ["b:1", "a:0"], pieces_per_shard=pieces_per_shard)
    assert sorted(made) == [(1, "midi/b/b-00001.mid"), (3, "midi/a/a-00000.mid")]
    found = files_of(tmp_path / "own")
    assert found.keys() == {"midi/b/b-00001.mid", "midi/a/a-00000.mid"}
    if pieces_per_shard is None:
        assert found.items() <= files_of(tmp_path / "job").items()
    else:
        (tar,) = [data for name, data in files_of(tmp_path / "job").items() if "00000-of-00002.tar" in name]
        assert all(data in tar for data in found.values())


def test_in_the_output_of_the_job(tmp_path):
    run(tmp_path)
    want = files_of(tmp_path)
    (tmp_path / "midi/b/b-00001.mid").unlink()
    again(tmp_path, ["b:1", "b:2"])
    assert files_of(tmp_path) == want
    (tmp_path / "midi/b/b-00001.mid").write_bytes(b"edited")
    with pytest.raises(UserError, match="b-00001.mid' is there with other content, want another --output"):
        again(tmp_path, ["b:1"])
    with pytest.raises(UserError, match="was started with rng_seed 7, now it is 8"):
        again(tmp_path, ["b:1"], rng_seed=8)


def test_a_file_of_a_folder_of_its_own_is_replaced(tmp_path):
    again(tmp_path, ["b:1"])
    first = files_of(tmp_path)
    again(tmp_path, ["b:1"], rng_seed=8)
    assert files_of(tmp_path).keys() == first.keys()
    assert files_of(tmp_path) != first


def test_every_wrong_name(tmp_path):
    names = ["b", "b:", ":1", "b:x", "b:-1", "b:3", "d:0", "b:2", "b:02"]
    numbers, problems = chosen_pieces.parse(names, make_job(tmp_path))
    assert numbers == [2]
    wanted = "want SEED:SAMPLE, such as b:0"
    assert problems == [
        *(f"--only is {name!r}, {wanted}" for name in ("b", "b:", ":1", "b:x", "b:-1")),
        "--only is 'b:3', but seed 'b' has samples 0 to 2",
        "--only is 'd:0', but the list has no seed 'd'",
    ]


@pytest.mark.parametrize("on_reject", [RETRY, DROP])
def test_rejected_attempts_are_made_again_as_in_the_job(tmp_path, on_reject):
    run(tmp_path / "job", policy=policy(on_reject, 2))
    lines = manifest.read(str(tmp_path / "job"))
    assert any(line["screening"]["rejected"] for line in lines)
    names = [f"{line['seed_id']}:{line['sample']}" for line in lines]
    made = dict(again(tmp_path / "own", names, policy=policy(on_reject, 2)))
    assert [made[number] for number in range(6)] == [line["path"] for line in lines]
    pieces = {name: data for name, data in files_of(tmp_path / "job").items() if name.startswith("midi/")}
    assert files_of(tmp_path / "own") == pieces
