"""A command's output as JSON, in a process of its own as a pod has it."""

import json
import os
import re
import subprocess
import sys

import pytest

PROGRAM = """
import logging, sys
from job_runtime.problem_report import UserError
from job_runtime import command
from job_runtime.logs.progress import progress
def main(argv):
    print("made 3 pieces", "\\u00e9")
    print("half a ", end="")
    print("line\\nand another")
    bar = progress(total=9, unit="notes", label="training", done=4)
    bar.update(1)
    bar.close()
    logging.getLogger("trainer.training.loop").warning("step %d is passed over", 7)
    if argv[0] == "mistake":
        raise UserError(["--data is not given", "--output is 'x', want a folder"])
    if argv[0] == "fault":
        raise OSError("the disk is full")
    return command.OK
command.exit_process(command.run("demo", main))
"""


def run(how: str, **variables: str) -> subprocess.CompletedProcess:
    env = {**os.environ, "LOG_FORMAT": "json", **variables}
    return subprocess.run([sys.executable, "-c", PROGRAM, how], env=env, capture_output=True, text=True, check=False)


def said(text: str) -> list[tuple[str, str]]:
    return [(record["severity"], record["message"]) for record in map(json.loads, text.splitlines())]


def test_every_line_is_an_object():
    done = run("well")
    assert done.returncode == 0
    assert said(done.stdout) == [("INFO", "made 3 pieces é"), ("INFO", "half a line"), ("INFO", "and another")]
    assert said(done.stderr) == [
        ("INFO", "training: 5 of 9 notes in 0.0 s"),
        ("WARNING", "trainer.training.loop: step 7 is passed over"),
    ]
    first = json.loads(done.stdout.splitlines()[0])
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", first.pop("time"))
    assert first == {"severity": "INFO", "message": "made 3 pieces é", "command": "demo"}
    numbers = {"label": "training", "done": 5, "total": 9, "unit": "notes", "percent": 55.56, "per_second": None}
    assert [json.loads(line).get("progress") for line in done.stderr.splitlines()] == [numbers, None]


def test_mistakes_are_errors_and_the_index_is_told():
    done = run("mistake", JOB_COMPLETION_INDEX="4")
    assert done.returncode == 2
    assert said(done.stderr)[2:] == [
        ("ERROR", "demo: --data is not given"),
        ("ERROR", "demo: --output is 'x', want a folder"),
    ]
    assert {json.loads(line)["task"] for line in done.stderr.splitlines()} == {4}


def test_a_fault_is_one_object_with_its_traceback():
    done = run("fault")
    assert done.returncode == 1
    severity, message = said(done.stderr)[-1]
    assert severity == "ERROR"
    assert message.startswith("Traceback (most recent call last):\n") and message.endswith("OSError: the disk is full")


@pytest.mark.parametrize("value", ["text", None])
def test_without_it_text_stays_text(value):
    env = {key: text for key, text in os.environ.items() if key != "LOG_FORMAT"}
    env |= {"LOG_FORMAT": value} if value else {}
    done = subprocess.run([sys.executable, "-c", PROGRAM, "well"], env=env, capture_output=True, text=True, check=True)
    assert done.stdout == "made 3 pieces é\nhalf a line\nand another\n"


def test_another_format_is_a_mistake():
    done = run("well", LOG_FORMAT="xml")
    assert (done.returncode, done.stderr) == (2, "demo: LOG_FORMAT is 'xml', want text or json\n")
