"""What killed writers leave behind, and that nothing of a living one is touched."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from job_runtime import storage
from job_runtime.storage import partial_files

ROOT = Path(__file__).parents[3]
WRITER = """
import os, sys, time
from job_runtime import storage
os.fsync = lambda _: (print("writing", flush=True), time.sleep(600))
storage.write_bytes(sys.argv[1], b"half of a tar")
"""


@pytest.fixture
def writer(tmp_path):
    """A process in the middle of writing `job/midi/a.tar`, all of it in a temporary file."""
    line = [sys.executable, "-c", WRITER, str(tmp_path / "job/midi/a.tar")]
    with subprocess.Popen(line, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "writing\n"
        yield process
        process.kill()


def left(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*.partial"))


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_what_a_killed_writer_left_goes_and_what_a_living_one_writes_stays(tmp_path, writer, number):
    (name,) = left(tmp_path)
    storage.delete_leftovers(str(tmp_path / "job"))
    storage.write_bytes(str(tmp_path / "job/midi/b.tar"), b"x")
    assert left(tmp_path) == [name]
    writer.send_signal(number)
    writer.wait()
    assert left(tmp_path) == [name]
    storage.delete_leftovers(str(tmp_path / "job"))
    assert left(tmp_path) == []
    assert storage.read_bytes(str(tmp_path / "job/midi/b.tar")) == b"x"


def test_the_first_write_into_a_folder_clears_that_folder(tmp_path, writer):
    writer.kill()
    writer.wait()
    storage.write_bytes(str(tmp_path / "job/other.txt"), b"x")
    assert len(left(tmp_path)) == 1
    storage.write_bytes(str(tmp_path / "job/midi/b.tar"), b"x")
    assert left(tmp_path) == []


def test_only_names_of_ours_go_from_a_folder_that_is_not_a_job(tmp_path):
    ours = [".0123456789abcdef.partial", f".{partial_files._machine()}-0123456789abcdef.partial"]
    others = [".download.partial", "music.partial", ".0123456789abcdef.part"]
    for name in ours + others:
        (tmp_path / name).touch()
    storage.write_bytes(str(tmp_path / "report.html"), b"x")
    assert sorted(os.listdir(tmp_path)) == sorted([*others, "report.html"])
    storage.delete_leftovers(str(tmp_path))  # a job's own folder
    assert sorted(os.listdir(tmp_path)) == sorted(["music.partial", ".0123456789abcdef.part", "report.html"])


def test_what_another_machine_began_goes_after_an_hour(tmp_path, monkeypatch):
    path = tmp_path / "midi" / ".00000000-0123456789abcdef.partial"
    path.parent.mkdir()
    path.touch()
    storage.delete_leftovers(str(tmp_path))
    assert path.exists()
    written = path.stat().st_mtime
    os.utime(path, (written, written - 3700))
    storage.delete_leftovers(str(tmp_path))
    assert not path.exists()


def test_without_locks_only_age_counts(tmp_path, monkeypatch):
    def no_locks(*_):
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(partial_files.fcntl, "flock", no_locks)
    path = tmp_path / f".{partial_files._machine()}-0123456789abcdef.partial"
    path.touch()
    storage.delete_leftovers(str(tmp_path))
    assert path.exists()
    os.utime(path, (0, 0))
    storage.delete_leftovers(str(tmp_path))
    assert not path.exists()
    storage.write_bytes(str(tmp_path / "a"), b"x")
    assert os.listdir(tmp_path) == ["a"]


def test_a_folder_that_is_not_there_and_links_out_of_it(tmp_path):
    storage.delete_leftovers(str(tmp_path / "none"))
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/.0123456789abcdef.partial").touch()
    (tmp_path / "job").mkdir()
    (tmp_path / "job/link").symlink_to(tmp_path / "elsewhere")
    storage.delete_leftovers(str(tmp_path / "job"))
    assert left(tmp_path / "elsewhere") == [".0123456789abcdef.partial"]


def test_writers_and_cleaners_at_once(tmp_path):
    """A cleaner may come between the making of a temporary file and its lock."""
    done = threading.Event()

    def clean():
        while not done.is_set():
            storage.delete_leftovers(str(tmp_path))

    cleaners = [threading.Thread(target=clean) for _ in range(2)]
    for cleaner in cleaners:
        cleaner.start()
    for number in range(300):
        storage.write_bytes(str(tmp_path / f"{number}"), b"x" * number, durable=False)
    done.set()
    for cleaner in cleaners:
        cleaner.join()
    assert {name: len(Path(tmp_path, name).read_bytes()) for name in os.listdir(tmp_path)} == {
        f"{number}": number for number in range(300)
    }
