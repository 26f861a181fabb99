"""The command in processes of its own: worker processes, signals, kills. All of it is slow."""

import json
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from midi_codec.dataset import dataset_info
from tests.beam_pipelines.corpora import make_midi, write_files

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
NUM_FILES = 3000
FLAGS = ("--num-shards", "20")
ENGINES = ((), ("--runner=FnApiRunner",))
WORKERS = ("--direct_num_workers=2", "--direct_running_mode=multi_processing")


@pytest.fixture(scope="module")
def music(tmp_path_factory) -> str:
    files = {f"{number % 7}/{number}.mid": make_midi(number % 2900) for number in range(NUM_FILES)}
    return write_files(tmp_path_factory.mktemp("corpus"), {**files, "broken.mid": b"x", "cover.jpg": b""})


@pytest.fixture(scope="module")
def undisturbed(music, tmp_path_factory) -> dict[str, bytes]:
    output = tmp_path_factory.mktemp("undisturbed") / "d"
    assert start(music, output).wait() == 0
    return files_of(output)


def start(music: str, output: Path, *flags: str) -> subprocess.Popen[str]:
    line = [sys.executable, "-m", "beam_pipelines.encode_corpus", "--input", music, "--output", str(output)]
    pipes = subprocess.PIPE, subprocess.STDOUT
    return subprocess.Popen([*line, *FLAGS, *flags], cwd=ROOT, stdout=pipes[0], stderr=pipes[1], text=True)


def parts_in(output: Path) -> list[Path]:
    return list((output / "work").glob("*.part"))


def files_of(output: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(output.iterdir()) if path.name != "run_info.json"}


def wait_for(condition, process: subprocess.Popen[str]) -> None:
    """Until the condition holds or the process has ended."""
    while process.poll() is None and not condition():
        time.sleep(0.01)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_with_status_75(music, undisturbed, tmp_path, number, engine):
    output = tmp_path / "d"
    process = start(music, output, *engine)
    wait_for(lambda: len(parts_in(output)) > 3, process)
    process.send_signal(number)
    text, _ = process.communicate(timeout=10)
    assert process.returncode == 75, text
    assert "interrupted" in text
    assert "Traceback" not in text
    assert not (output / "dataset_info.json").exists()
    assert parts_in(output)
    again = start(music, output, *engine)
    assert again.wait() == 0
    assert files_of(output) == undisturbed


def test_a_signal_ends_the_worker_processes_too(music, tmp_path):
    output = tmp_path / "d"
    process = start(music, output, *WORKERS)

    def workers() -> set[str]:
        children = Path(f"/proc/{process.pid}/task").glob("*/children")
        return {pid for path in children for pid in path.read_text().split()}

    wait_for(lambda: len(workers()) >= 2, process)
    started = workers()
    assert len(started) >= 2
    process.terminate()
    text, _ = process.communicate(timeout=10)
    assert process.returncode == 75, text
    deadline = time.monotonic() + 10
    while any(Path(f"/proc/{pid}/cmdline").exists() for pid in started) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not [pid for pid in started if Path(f"/proc/{pid}/cmdline").exists()]


@pytest.mark.parametrize("engine", ENGINES)
def test_kills_at_any_moment_lose_nothing_and_show_nothing_half(music, undisturbed, tmp_path, engine):
    output = tmp_path / "d"
    rng = random.Random(2)
    num_killed = 0
    for parts_there in (1, rng.randrange(2, 10), rng.randrange(10, 20)):  # of 32
        process = start(music, output, *engine)
        wait_for(lambda wanted=parts_there: len(parts_in(output)) >= wanted, process)
        process.kill()
        num_killed += process.wait() != 0
        for path in output.glob("*.tfrecord"):
            assert path.read_bytes() == undisturbed[path.name]
    assert num_killed
    if not (output / "dataset_info.json").exists():  # or the last one was faster than its kill
        (output / ".left-behind.partial").write_bytes(b"half")
    assert start(music, output, *engine).wait() == 0
    assert files_of(output) == undisturbed
    assert json.loads((output / "run_info.json").read_text())["finished"]
    assert dataset_info.load(str(output)).examples == 2900


def test_a_kill_while_shards_are_written(music, undisturbed, tmp_path):
    output = tmp_path / "d"
    process = start(music, output)
    wait_for(lambda: list(output.glob("*.tfrecord")), process)
    process.kill()
    process.wait()
    for path in output.glob("*.tfrecord"):
        assert path.read_bytes() == undisturbed[path.name]
    assert start(music, output).wait() == 0
    assert files_of(output) == undisturbed
