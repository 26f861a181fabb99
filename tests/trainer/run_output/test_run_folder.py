import json

import pytest

from job_runtime.problem_report import UserError
from trainer.config import TrainConfig
from trainer.run_output import run_folder


def described(**changes):
    return {**run_folder.describe(TrainConfig(), dataset="d" * 32, init_from=None), **changes}


def test_a_folder_is_claimed_once_and_by_equal_runs(tmp_path):
    run_folder.check(str(tmp_path), described())  # nothing there yet
    run_folder.claim(str(tmp_path), described())
    before = (tmp_path / "run.json").read_bytes()
    run_folder.claim(str(tmp_path), described())
    assert (tmp_path / "run.json").read_bytes() == before
    assert json.loads(before) == described()


def test_a_list_of_a_run_is_the_same_when_it_is_read_again(tmp_path):
    config = TrainConfig(context_units=16, context_lags=(24, 48))
    for _ in range(2):
        run_folder.claim(str(tmp_path), run_folder.describe(config, dataset="d" * 32, init_from=None))
        run_folder.check(str(tmp_path), run_folder.describe(config, dataset="d" * 32, init_from=None))


def test_what_killed_starts_left_half_written_goes(tmp_path):
    run_folder.claim(str(tmp_path), described())
    left = [tmp_path / name for name in (f".{'0' * 16}.partial", f"checkpoints/.{'1' * 16}.partial")]
    (tmp_path / "checkpoints").mkdir()
    for path in left:
        path.write_bytes(b"half")
    with pytest.raises(UserError):
        run_folder.claim(str(tmp_path), described(units=64))
    assert all(path.exists() for path in left), "of another run"
    run_folder.claim(str(tmp_path), described())
    assert not any(path.exists() for path in left)


def test_every_difference_is_named(tmp_path):
    run_folder.claim(str(tmp_path), described())
    path, want = f"{tmp_path}/run.json", "want the same, or another --output"
    with pytest.raises(UserError) as error:
        run_folder.claim(str(tmp_path), described(units=64, init_from="b" * 32))
    assert error.value.problems == [
        f"{path}: init_from is None there and '{'b' * 32}' here; {want}",
        f"{path}: units is 256 there and 64 here; {want}",
    ]


def test_a_file_that_is_no_json(tmp_path):
    (tmp_path / "run.json").write_text("{")
    with pytest.raises(UserError, match="run.json: not JSON: "):
        run_folder.check(str(tmp_path), described())


def test_every_start_adds_a_line(tmp_path):
    run_folder.note_start(str(tmp_path), strategy="One")
    run_folder.note_start(str(tmp_path), strategy="Two")
    lines = [json.loads(line) for line in (tmp_path / "starts.jsonl").read_text().splitlines()]
    assert [line["strategy"] for line in lines] == ["One", "Two"]
    assert set(lines[0]) == {"time", "code_version", "python", "platform", "packages", "strategy"}
    assert lines[0]["packages"]["tensorflow"].startswith("2.17")
