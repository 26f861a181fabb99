"""What every command promises before it works: help at once, and mistakes as one sentence with status 2."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


def command_of(path: Path) -> str:
    """What `python -m` takes: a file or a package, and of a benchmark its own name alone."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    parts = parts[:-1] if parts[-1] == "__main__" else parts
    return ".".join([parts[0], parts[-1]] if parts[0] == "benchmarks" else parts)


COMMANDS = sorted(
    command_of(path)
    for path in ROOT.glob("*/**/*.py")
    if path.relative_to(ROOT).parts[0] not in ("tests", ".venv", ".venv-peers")
    if "command.exit_process(" in path.read_text(encoding="utf-8")
    if path.relative_to(ROOT).as_posix() != "job_runtime/command.py"
)
SLOW_TO_IMPORT = ["apache_beam", "keras", "music21", "optuna", "tensorflow", "tensorflow_io"]

RUN = f"""
import json, os, runpy, sys, tempfile, traceback
import argparse, logging, numpy  # what most commands import, once for all of them

def answer(module, flag, out, err):
    os.dup2(out.fileno(), 1), os.dup2(err.fileno(), 2)
    status, sys.argv = 1, [module, flag]
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    except SystemExit as end:
        status = end.code or 0
        print("imported:", [name for name in {SLOW_TO_IMPORT} if name in sys.modules])
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush(), sys.stderr.flush()
        os._exit(status)

answers = []
for module, flag in json.loads(sys.argv[1]):
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        process = os.fork() or answer(module, flag, out, err)
        status = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
        out.seek(0), err.seek(0)
        answers.append((status, out.read(), err.read()))
print(json.dumps(answers))
"""


@pytest.fixture(scope="module")
def answers() -> dict[tuple[str, str], tuple[int, str, str]]:
    """By command and flag: status, standard output, standard error."""
    asked = [(module, flag) for module in COMMANDS for flag in ("--help", "--no-such-flag")]
    line = [sys.executable, "-c", RUN, json.dumps(asked)]
    done = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, check=True)
    return dict(zip(asked, map(tuple, json.loads(done.stdout)), strict=True))


def test_the_three_jobs_are_among_the_commands():
    assert {"beam_pipelines.encode_corpus", "trainer.task", "generation_jobs.generate"} <= set(COMMANDS)


@pytest.mark.parametrize("module", COMMANDS)
def test_help_comes_before_anything_slow_is_imported(answers, module):
    status, out, err = answers[module, "--help"]
    assert (status, err) == (0, "")
    assert ("midi-lstm " if module == "midi_lstm" else f"python -m {module} ") in out
    assert out.splitlines()[-1] == "imported: []"


@pytest.mark.parametrize("module", COMMANDS)
def test_an_unknown_flag_is_the_users_mistake(answers, module):
    status, _, err = answers[module, "--no-such-flag"]
    assert status == 2
    assert "Traceback" not in err
    assert "--no-such-flag" in err or "required" in err
