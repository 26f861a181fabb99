"""What every command promises before it works: help at once, and mistakes as one sentence with status 2."""

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
import runpy, sys
module = sys.argv[1]
sys.argv = sys.argv[1:]
try:
    runpy.run_module(module, run_name="__main__", alter_sys=True)
except SystemExit as end:
    print("imported:", [name for name in {SLOW_TO_IMPORT} if name in sys.modules])
    raise
"""


def run(*line: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", RUN, *line], cwd=ROOT, capture_output=True, text=True)


def test_the_three_jobs_are_among_the_commands():
    assert {"beam_pipelines.encode_corpus", "trainer.task", "generation_jobs.generate"} <= set(COMMANDS)


@pytest.mark.parametrize("module", COMMANDS)
def test_help_comes_before_anything_slow_is_imported(module):
    done = run(module, "--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert f"python -m {module} " in done.stdout
    assert done.stdout.splitlines()[-1] == "imported: []"


@pytest.mark.parametrize("module", COMMANDS)
def test_an_unknown_flag_is_the_users_mistake(module):
    done = run(module, "--no-such-flag")
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert "--no-such-flag" in done.stderr or "required" in done.stderr
