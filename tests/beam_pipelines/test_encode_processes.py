"""The command in processes of its own, and on buckets: worker processes, signals, kills. All of it is slow."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from beam_pipelines import encode_corpus
from midi_codec import dataset_info, storage
from midi_codec.command import UserError
from tests.beam_pipelines.corpora import make_midi, write_files

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
NUM_FILES = 400
FLAGS = ("--num-shards", "20")
WORKERS = ("--direct_num_workers=2", "--direct_running_mode=multi_processing")


@pytest.fixture(scope="module")
def music(tmp_path_factory) -> str:
    files = {f"{number % 7}/{number}.mid": make_midi(number % 390) for number in range(NUM_FILES)}
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


def files_of(output: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(output.iterdir()) if path.name != "run_info.json"}


def wait_for(condition, process: subprocess.Popen[str]) -> None:
    """Until the condition holds or the process has ended."""
    while process.poll() is None and not condition():
        time.sleep(0.01)


def test_two_worker_processes_write_the_same_bytes(music, undisturbed, tmp_path):
    process = start(music, tmp_path / "d", *WORKERS)
    text, _ = process.communicate()
    assert process.returncode == 0, text
    assert files_of(tmp_path / "d") == undisturbed


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_with_status_75(music, undisturbed, tmp_path, number):
    output = tmp_path / "d"
    process = start(music, output)
    wait_for((output / "run_info.json").exists, process)
    process.send_signal(number)
    text, _ = process.communicate(timeout=10)
    assert process.returncode == 75, text
    assert "interrupted" in text
    assert "Traceback" not in text
    assert not (output / "dataset_info.json").exists()
    again = start(music, output)
    assert again.wait() == 0
    assert files_of(output) == undisturbed


def test_a_signal_before_the_work_begins(music, tmp_path):
    process = start(music, tmp_path / "d")
    wait_for(lambda: "apache_beam" in Path(f"/proc/{process.pid}/maps").read_text(), process)
    process.terminate()
    text, _ = process.communicate(timeout=10)
    assert process.returncode == 75, text
    assert "Traceback" not in text


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


def test_kills_at_any_moment_lose_nothing_and_show_nothing_half(music, undisturbed, tmp_path):
    output = tmp_path / "d"
    rng = random.Random(2)
    for shards_there in (0, rng.randrange(1, 20), rng.randrange(20, 60)):
        process = start(music, output)

        def is_that_far(wanted=shards_there) -> bool:
            return (output / "run_info.json").exists() and len(list(output.glob("*.tfrecord"))) >= wanted

        wait_for(is_that_far, process)
        process.kill()
        process.wait()
        if (output / "dataset_info.json").exists():
            break  # it was faster than the kill, which is as good
        for path in output.glob("*.tfrecord"):
            assert path.read_bytes() == undisturbed[path.name]
    (output / ".left-behind.partial").write_bytes(b"half")
    assert start(music, output).wait() == 0
    assert files_of(output) == undisturbed
    assert json.loads((output / "run_info.json").read_text())["finished"]
    assert dataset_info.load(str(output)).examples == 390


def test_a_mistake_has_status_2(music, tmp_path):
    process = start(music, tmp_path / "d", "--flying")
    text, _ = process.communicate()
    assert process.returncode == 2
    assert text.splitlines()[-1] == (
        "python -m beam_pipelines.encode_corpus: unknown flag --flying: neither this command nor Apache Beam has it"
    )
    assert not os.path.exists(tmp_path / "d")


def test_from_bucket_to_bucket(music, undisturbed, gs_bucket, tmp_path):
    for path in Path(music).rglob("*.*"):
        storage.write_bytes(f"{gs_bucket}/midi/{path.relative_to(music)}", path.read_bytes())
    flags = ["--input", f"{gs_bucket}/midi", "--output", f"{gs_bucket}/dataset", *FLAGS]
    assert encode_corpus.main(flags) == 0
    for entry in storage.list_files(f"{gs_bucket}/dataset"):
        (tmp_path / entry.path.rpartition("/")[2]).write_bytes(storage.read_bytes(entry.path))
    assert files_of(tmp_path) == undisturbed
    assert encode_corpus.main(flags) == 0  # and finds the work done
    with pytest.raises(UserError, match="holds another dataset"):
        encode_corpus.main([*flags, "--time-base", "beats"])
    with pytest.raises(UserError, match="matches no file"):
        encode_corpus.main(["--input", f"{gs_bucket}/nothing", "--output", str(tmp_path / "other")])
