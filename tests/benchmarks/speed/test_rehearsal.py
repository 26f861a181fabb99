"""The rehearsal keeps what is done, checks what the encode made, and draws its line through two encodes."""

from __future__ import annotations

import json
import pathlib
from collections.abc import Sequence
from typing import Any

import pytest

from benchmarks.harness.processes import Usage
from benchmarks.speed import rehearsal
from job_runtime import command
from job_runtime.command import Interrupted
from job_runtime.problem_report import UserError
from tests.trainer.tiny import make_info


class Commands:
    """Stands in for `processes.run`: each start takes a second; some are interrupted the first time."""

    def __init__(self, interrupted: Sequence[str] = ()) -> None:
        self.starts: list[str] = []
        self._interrupted = list(interrupted)

    def run(
        self, arguments: Sequence[str], *, folder: pathlib.Path, log: pathlib.Path, stop: Any
    ) -> tuple[Usage, bool]:
        self.starts.append(log.stem)
        folder.mkdir(parents=True, exist_ok=True)
        is_done = log.stem not in self._interrupted
        if not is_done:
            self._interrupted.remove(log.stem)
        return Usage(seconds=1, processor_seconds=1, megabytes=len(self.starts), disk_megabytes=1), is_done


@pytest.fixture
def rehearse(tmp_path, monkeypatch):
    def main(commands: Commands, *flags: str) -> int:
        monkeypatch.setattr(rehearsal.processes, "run", commands.run)
        sizes = ["--files", "20000", "--shares", "0.01", "0.02", "--pieces", "20", "--tasks", "2"]
        return rehearsal.main(["--folder", str(tmp_path), *sizes, *flags])

    return main


def test_stages_are_kept_and_an_interrupted_one_adds_up(rehearse, tmp_path, capsys):
    (tmp_path / "figures").mkdir()
    (tmp_path / "figures" / "corpus.json").write_text('{"files": 20000}')
    stages = ["--stages", "corpus", "list", "generate", "merge"]
    commands = Commands(interrupted=["generate-1"])
    with pytest.raises(Interrupted):
        rehearse(commands, *stages)
    assert rehearse(commands, *stages) == command.OK
    assert commands.starts == ["list", "generate-0", "generate-1", "generate-1", "merge"]
    report = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert report["stages"]["corpus"] == {"files": 20000}
    twice = report["stages"]["generate"]["1"]
    assert (twice["starts"], twice["seconds"], twice["megabytes"]) == (2, 2.0, 4)
    assert report["stages"]["merge"]["starts"] == 1 and "extrapolated" not in report
    with pytest.raises(UserError, match="holds a rehearsal with .*, want another --folder"):
        rehearse(commands, "--notes", "9", *stages)


def test_a_stage_that_does_not_exist_is_named(rehearse):
    with pytest.raises(UserError, match="--stages: 'mix' is not a stage, want corpus, list, encode, train, generate"):
        rehearse(Commands(), "--stages", "merge", "mix")


def test_numbers_that_do_not_divide_are_named(tmp_path):
    with pytest.raises(UserError) as raised:
        rehearsal.main(["--folder", str(tmp_path), "--files", "30000", "--shares", "0.015", "2"])
    assert list(raised.value.problems) == [
        "--files is 30000, want a multiple of 20000",
        "--shares has 0.015, want hundredths, 0.01 to 1",
        "--shares has 2.0, want hundredths, 0.01 to 1",
    ]


def test_an_encode_that_lost_or_kept_too_much_is_refused():
    with pytest.raises(RuntimeError, match="3 inputs, duplicates .*; want 400 inputs, .* 2 rejects and no groups"):
        rehearsal.check_counts(make_info({"train": (3, 9), "validation": (0, 0), "test": (0, 0)}), 400)


def test_a_line_through_two_encodes():
    def usage(seconds: float, megabytes: int) -> dict[str, Any]:
        return {"processor_seconds": seconds, "megabytes": megabytes, "disk_megabytes": 10 * megabytes}

    encode = {
        "100": {"task_0": usage(20, 100), "task_1": usage(20, 100), "last": usage(12, 50)},
        "200": {"task_0": usage(30, 100), "task_1": usage(30, 100), "last": usage(14, 60)},
    }
    found = rehearsal.extrapolate(encode, Usage(processor_seconds=60), 1000)
    # each task 10 + n / 10, of which 60 seconds list; so the parts take 100. The last step takes 10 + n / 50
    assert found["minutes_by_pods"] == {"1": round((60 + 100 + 30) / 60, 2), "4": 1.92, "16": 1.6, "64": 1.53}
    assert (found["megabytes"], found["disk_megabytes"]) == (140, 1400)


@pytest.mark.slow
def test_all_stages(tmp_path, capsys):
    flags = "--files 20000 --shares 0.01 0.02 --steps 2 --pieces 20 --notes 8 --tasks 2"
    assert rehearsal.main(["--folder", str(tmp_path), *flags.split()]) == command.OK
    report = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert set(report["stages"]) == {
        *("corpus", "list", "encode", "train", "generate", "merge", "evaluate", "compare", "report", "inspect")
    }
    assert report["stages"]["corpus"]["files"] == 20000 and report["extrapolated"]["files"] == 20000
    assert [path.name for path in tmp_path.iterdir()] == ["figures"]
