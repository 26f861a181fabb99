import json
import sys

import pytest

from demo.steps import StepFailed, Steps, run_command
from job_runtime.command import Interrupted, StopSignal
from job_runtime.problem_report import UserError

MODULE = """
import pathlib, sys
status, output, text = int(sys.argv[1]), pathlib.Path(sys.argv[2]), sys.argv[3]
output.parent.mkdir(parents=True, exist_ok=True)
with output.open("a") as file:
    file.write(text)
sys.exit(status)
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder for steps; `work_of_a_step` is a module they can run."""
    (tmp_path / "modules").mkdir()
    (tmp_path / "modules" / "work_of_a_step.py").write_text(MODULE)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "modules"))
    return tmp_path / "run"


def do(folder, *works, depends_on=""):
    """Runs steps a, b, …; a work is (status, text)."""
    steps = Steps(str(folder), len(works), StopSignal())
    for name, (status, text) in zip("abc", works, strict=False):
        output = str(folder / name / "out")
        steps.run(
            name, "work_of_a_step", [str(status), output, text], outputs=[str(folder / name)], depends_on=depends_on
        )


def made(folder):
    return {path.parent.name: path.read_text() for path in sorted(folder.glob("*/out"))}


def test_a_finished_step_is_not_repeated(folder, capfd):
    do(folder, (0, "x"), (0, "y"))
    do(folder, (0, "x"), (0, "y"))
    assert made(folder) == {"a": "x", "b": "y"}  # appended once
    out = capfd.readouterr().out.splitlines()
    assert out[0] == f"[1/2] a: python -m work_of_a_step 0 {folder}/a/out x"
    assert out[2:] == ["[1/2] a: already done", "[2/2] b: already done"]


def test_a_changed_step_is_done_again_with_all_that_follow(folder):
    do(folder, (0, "x"), (0, "y"), (0, "z"))
    for name in "abc":
        (folder / name / "left").write_text("of the first time")
    do(folder, (0, "x"), (0, "new"), (0, "z"))
    assert made(folder) == {"a": "x", "b": "new", "c": "z"}
    assert [path.parent.name for path in folder.glob("*/left")] == ["a"]


def test_a_changed_input_starts_over(folder):
    do(folder, (0, "x"), (0, "y"), depends_on="one")
    (folder / "a" / "left").write_text("of the old input")
    do(folder, (0, "x"), (0, "y"), depends_on="two")
    assert made(folder) == {"a": "x", "b": "y"}
    assert not (folder / "a" / "left").exists()


def test_a_step_whose_output_is_gone_is_done_again(folder):
    do(folder, (0, "x"))
    (folder / "a" / "out").unlink()
    (folder / "a").rmdir()
    do(folder, (0, "x"))
    assert made(folder) == {"a": "x"}


def test_a_step_stopped_half_way_goes_on_with_what_is_there(folder):
    with pytest.raises(Interrupted):
        do(folder, (75, "x"))
    known = json.loads((folder / "steps.json").read_text())
    assert known["a"]["done"] is False
    with pytest.raises(Interrupted):
        do(folder, (75, "x"))
    assert made(folder) == {"a": "xx"}  # the first half was not deleted


@pytest.mark.parametrize(
    "status, error, words",
    [
        (2, UserError, "a stopped because of the mistake above"),
        (75, Interrupted, None),
        (1, StepFailed, "a ended with status 1"),
    ],
)
def test_how_a_step_ended_decides_how_the_run_ends(folder, status, error, words):
    with pytest.raises(error, match=words):
        do(folder, (status, "x"), (0, "y"))
    assert "b" not in made(folder)


def test_a_request_to_stop_reaches_the_command(folder):
    stop = StopSignal()
    stop.requested = True
    assert run_command([sys.executable, "-c", "import time; time.sleep(60)"], stop) == -15
