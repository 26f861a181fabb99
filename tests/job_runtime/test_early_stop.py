"""Signals while a command is being imported: status 75 at every moment, from the room's first line on."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent.parent
SLOW_IMPORT = "import time\nfor _ in range(1000):\n    time.sleep(0.05)\n"


def start(module: str, *argv: str, cwd: Path = ROOT, **variables: str) -> subprocess.Popen[str]:
    env = {**os.environ, "PYTHONPATH": str(ROOT), **variables}
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    # A shell's background jobs ignore SIGINT, and so would these.
    reset = lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)  # noqa: E731
    return subprocess.Popen([sys.executable, "-m", module, *argv], cwd=cwd, env=env, preexec_fn=reset, **pipes)


def wait_until_it_listens(process: subprocess.Popen[str]) -> None:
    """Until its own handler of SIGTERM is there: before, Python itself is starting."""
    while process.poll() is None:
        for line in Path(f"/proc/{process.pid}/status").read_text().splitlines():
            if line.startswith("SigCgt") and int(line.split()[1], 16) >> (signal.SIGTERM - 1) & 1:
                return
        time.sleep(0.005)


@pytest.fixture
def slow_room(tmp_path: Path) -> Path:
    """A room whose command takes long to import, as all do on a busy machine."""
    (tmp_path / "room").mkdir()
    (tmp_path / "room" / "__init__.py").write_text("import midi_codec\n")
    (tmp_path / "room" / "task.py").write_text("import room.slow\n")
    (tmp_path / "room" / "slow.py").write_text(SLOW_IMPORT)
    return tmp_path


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_during_imports(slow_room, number):
    process = start("room.task", cwd=slow_room)
    wait_until_it_listens(process)
    process.send_signal(number)
    assert process.communicate() == ("", "interrupted before any work began; start the same command again\n")
    assert process.returncode == 75


def test_it_is_said_as_json_where_logs_are(slow_room):
    process = start("room.task", cwd=slow_room, LOG_FORMAT="json")
    wait_until_it_listens(process)
    process.terminate()
    said = json.loads(process.communicate()[1])
    assert (said["severity"], said["message"][:11], process.returncode) == ("INFO", "interrupted", 75)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_during_imports_of_a_command_that_has_begun(slow_room, number):
    (slow_room / "room" / "task.py").write_text(
        "from job_runtime import command\n"
        "def main(argv):\n"
        "    print('begun', flush=True)\n"
        "    try:\n"
        "        import room.slow\n"
        "    except BaseException as error:\n"  # as extension modules do with what is raised in them
        "        raise ImportError from error\n"
        "command.exit_process(command.run('task', main))\n"
    )
    process = start("room.task", cwd=slow_room)
    assert process.stdout is not None
    assert process.stdout.readline() == "begun\n"
    time.sleep(0.1)
    process.send_signal(number)
    process.communicate()
    assert process.returncode == 75


@pytest.mark.parametrize(
    ("end", "status"),
    [
        ("return command.OK", 0),
        ("raise command.UserError('no')", 2),
        ("raise command.Interrupted()", 75),
        ("raise OSError(28, 'full', 'name')", 1),
        ("raise RuntimeError", 1),
        ("command.make_parser('task', None).parse(argv)", 0),  # --help
    ],
)
def test_a_signal_after_the_end_changes_no_status(slow_room, end, status):
    """It comes before anything is said of the end, and again when Python itself ends."""
    (slow_room / "room" / "task.py").write_text(
        "import atexit, os, signal, sys\n"
        "from job_runtime import command\n"
        "class Signals:\n"
        "    def __init__(self, stream): self.stream = stream\n"
        "    def write(self, text): os.kill(os.getpid(), signal.SIGTERM); self.stream.write(text)\n"
        "    def flush(self): self.stream.flush()\n"
        "def main(argv):\n"
        "    sys.stderr = Signals(sys.stderr)\n"
        f"    {end}\n"
        "atexit.register(os.kill, os.getpid(), signal.SIGTERM)\n"
        "command.exit_process(command.run('task', main))\n"
    )
    process = start("room.task", "--help", cwd=slow_room)
    process.communicate()
    assert process.returncode == status


def test_a_signal_after_the_end_of_a_command_that_was_started_otherwise(tmp_path):
    (tmp_path / "task.py").write_text(
        "import atexit, os, signal\n"
        "from job_runtime import command\n"
        "atexit.register(os.kill, os.getpid(), signal.SIGTERM)\n"
        "command.exit_process(command.run('task', lambda argv: command.OK))\n"
    )
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, tmp_path / "task.py"], cwd=ROOT, env=env)
    assert done.returncode == 0


def test_a_library_that_is_imported_takes_no_signals():
    text = "import signal, midi_codec, trainer; print(signal.getsignal(signal.SIGTERM) is signal.SIG_DFL)"
    done = subprocess.run([sys.executable, "-c", text], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "True\n"


@pytest.mark.slow
@pytest.mark.parametrize(
    "argv",
    [
        ("generation_jobs.generate", "--output", "music"),
        ("trainer.task", "--data", "none", "--output", "run"),
        ("trainer.tune", "--data", "none", "--space", "none", "--output", "tune"),
        ("beam_pipelines.encode_corpus", "--input", "none", "--output", "data", "--runner=FnApiRunner"),
    ],
)
def test_a_signal_at_twenty_moments(argv, tmp_path):
    """The commands of which two have nothing to do end by themselves with status 2, if they are not stopped before."""
    for moment in range(20):
        process = start(*argv, cwd=tmp_path)
        wait_until_it_listens(process)
        time.sleep(0.05 * moment)
        process.send_signal([signal.SIGTERM, signal.SIGINT][moment % 2])
        errors = process.communicate()[1]
        assert process.returncode in (75, 2) and "Traceback" not in errors, errors
        assert process.returncode == 75 or "none" in errors
