"""The last step beside its tasks: it waits for them, gives up on those that do not come, and hears a signal."""

import signal

import pytest

from job_runtime import waiting
from job_runtime.command import Interrupted
from job_runtime.problem_report import UserError
from tests.beam_pipelines.execution.test_local_run import NUM_FILES, music, whole  # noqa: F401
from tests.beam_pipelines.test_encode_corpus import encode, files_of


def test_it_begins_when_all_parts_are_there(music, whole, tmp_path, parsed_files, monkeypatch, capsys):  # noqa: F811
    flags = ("--input", music, "--output", str(tmp_path / "d"))
    looks = []

    def meanwhile(*_) -> None:
        encode(*flags, "--task-index", str(len(looks)), "--num-tasks", "2")
        looks.append(sum(parsed_files))

    monkeypatch.setattr(waiting, "_sleep", meanwhile)
    assert encode(*flags, "--wait-minutes", "5") == 0
    assert looks == [80, NUM_FILES]
    assert sum(parsed_files) == NUM_FILES  # the last step parsed nothing
    assert "3 of 3 parts are there\n" in capsys.readouterr().out
    assert files_of(tmp_path / "d") == whole


def test_what_does_not_come_it_makes_itself(music, whole, tmp_path, parsed_files, capsys):  # noqa: F811
    flags = ("--input", music, "--output", str(tmp_path / "d"))
    encode(*flags, "--task-index", "1", "--num-tasks", "3")
    assert encode(*flags, "--wait-minutes", "0") == 0
    assert "1 of 3 parts are there\n" in capsys.readouterr().out
    assert sum(parsed_files) == NUM_FILES
    assert files_of(tmp_path / "d") == whole


def test_a_signal_ends_the_waiting(music, tmp_path, monkeypatch):  # noqa: F811
    monkeypatch.setattr(waiting.time, "sleep", lambda _: signal.raise_signal(signal.SIGTERM))
    with pytest.raises(Interrupted):
        encode("--input", music, "--output", str(tmp_path / "d"), "--wait-minutes", "5")
    assert not (tmp_path / "d").exists()


@pytest.mark.parametrize(
    "more, problem",
    [
        (["--wait-minutes", "-1"], "--wait-minutes is '-1', want a number, 0 or more"),
        (["--wait-minutes", "nan"], "--wait-minutes is 'nan', want a number, 0 or more"),
        (
            ["--wait-minutes", "1", "--num-tasks", "2", "--task-index", "0"],
            "--wait-minutes is for the last step of tasks, want no engine, no --survey and no --num-tasks with it",
        ),
    ],
)
def test_waiting_that_cannot_be(music, tmp_path, more, problem):  # noqa: F811
    with pytest.raises(UserError) as error:
        encode("--input", music, "--output", str(tmp_path / "d"), *more)
    assert error.value.problems == [problem]
