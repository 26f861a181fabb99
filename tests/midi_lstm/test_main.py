"""`midi-lstm`: the same commands by one name."""

import importlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from job_runtime import command
from midi_lstm import __main__ as door
from midi_lstm.commands import COMMANDS, STAGES, Command

ROOT = Path(__file__).parent.parent.parent
SCRIPT = "import sys\nfrom midi_lstm.__main__ import run\nif __name__ == '__main__':\n    sys.exit(run())\n"
SLOW = ["apache_beam", "keras", "music21", "optuna", "tensorflow"]


@pytest.fixture(autouse=True)
def handlers(monkeypatch):
    """A command sets signal handlers, and names itself in its help."""
    monkeypatch.setattr(command, "_aliases", {})
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def test_help_lists_every_command_once_by_stage(capsys):
    assert door.start(["--help"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "usage: midi-lstm COMMAND [options]"
    assert [line.split()[0] for line in lines if line.startswith("  ")] == list(COMMANDS)
    assert [line[:-1] for line in lines if line.endswith(":")] == list(STAGES)
    assert max(map(len, lines[5:])) <= 80


def test_the_page_names_every_command():
    rows = [line.split("`") for line in (ROOT / "docs" / "command.md").read_text().splitlines() if line[:3] == "| `"]
    named = {row[1]: row[3] for row in rows}
    assert named == {name: " ".join([each.module, *each.arguments]) for name, each in COMMANDS.items()}


def test_every_module_is_a_command_with_flags_in_groups():
    for each in COMMANDS.values():
        parser = importlib.import_module(each.load().__name__).make_parser()
        first = [action.dest for action in parser._actions if action in parser._optionals._group_actions]
        assert len(first) <= 1 + 10, f"{each.name}: {first}"  # and --help


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        ([], "midi-lstm: want a command; midi-lstm --help lists them\n"),
        (["trian"], "midi-lstm: 'trian' is not known, did you mean train?\n"),
        (["encode_corpus"], "midi-lstm: 'encode_corpus' is not known, did you mean encode?\n"),
        (["trainer.task"], "midi-lstm: 'trainer.task' is not known, did you mean train?\n"),
        (["memorisation"], "midi-lstm: 'memorisation' is not known, did you mean index?\n"),
        (["--hlep"], "midi-lstm: '--hlep' is not known, midi-lstm --help lists the commands\n"),
        (["xyz", "--help"], "midi-lstm: 'xyz' is not known, midi-lstm --help lists the commands\n"),
        (["merge", "--outptu", "x"], "midi-lstm merge: --output is missing, want the --output of the job's tasks\n"),
    ],
)
def test_mistakes(argv, says, capsys):
    assert door.start(argv) == 2
    assert capsys.readouterr().err.startswith(says)


def test_a_commands_help_has_the_name_that_it_was_called_by(capsys):
    texts = []
    for argv in (["inspect", "--help"], ["help", "inspect"]):
        with pytest.raises(SystemExit):
            door.start(argv)
        texts.append(capsys.readouterr().out)
    text = texts[0]
    assert texts[1] == text
    assert text.startswith("usage: midi-lstm inspect dataset [options]\n")
    assert "\nmidi-lstm inspect dataset/ --piece 24098186\n" in text and "python -m beam_pipelines.inspect" not in text


def test_survey_is_an_encode_that_only_looks(capsys):
    assert door.start(["survey", "--input", "none", "--num-tasks", "2"]) == 2
    assert "--survey reads a sample in this process" in capsys.readouterr().err


def test_a_package_that_is_not_installed_is_named(tmp_path, monkeypatch, capsys):
    (tmp_path / "trains.py").write_text("import no_such_package.inner\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(COMMANDS, "train", Command("train", "trains", "train", "train a model"))
    assert door.start(["train", "--help"]) == 2
    assert capsys.readouterr().err == (
        "midi-lstm train: the package no_such_package is not installed, want pip install 'midi-lstm[train]'\n"
    )


@pytest.fixture
def script(tmp_path):
    """The console script, as pip writes it."""
    path = tmp_path / "midi-lstm"
    path.write_text(SCRIPT)
    return path


def run(script: Path, *argv: str, **variables: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "PYTHONPATH": str(ROOT), **variables}
    return subprocess.run([sys.executable, script, *argv], env=env, capture_output=True, text=True)


def test_the_console_script_is_a_command(script, tmp_path):
    done = run(script, "merge", "--output", str(tmp_path), LOG_FORMAT="json")
    said = json.loads(done.stderr)
    assert (done.returncode, done.stdout, said["severity"]) == (2, "", "ERROR")
    assert said["message"].startswith(f"midi-lstm merge: '{tmp_path}' holds no job.json")


def test_help_imports_nothing_slow(script, tmp_path):
    names = [*SLOW, "beam_pipelines", "trainer"]
    said = f"print([name for name in {names} if name in sys.modules])"
    (tmp_path / "sitecustomize.py").write_text(f"import atexit, sys\natexit.register(lambda: {said})\n")
    path = f"{tmp_path}{os.pathsep}{ROOT}"
    assert run(script, "--help", PYTHONPATH=path).stdout.endswith("\n[]\n")
    assert run(script, "generate", "--help", PYTHONPATH=path).stdout.endswith("\n['trainer']\n")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_during_imports(script, tmp_path, number):
    (tmp_path / "yaml.py").write_text("import os, time\nprint(os.getpid(), flush=True)\ntime.sleep(60)\n")
    env = {**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"}
    line = [sys.executable, script, "train", "--help"]
    reset = lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)  # noqa: E731
    process = subprocess.Popen(
        line, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=reset
    )
    assert process.stdout is not None
    process.stdout.readline()
    process.send_signal(number)
    said = process.communicate()[1]
    assert (process.returncode, said) == (75, "interrupted before any work began; start the same command again\n")
