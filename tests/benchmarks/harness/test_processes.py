"""What a command takes is measured, and a stop is passed on."""

from __future__ import annotations

import pytest

from benchmarks.harness import processes
from benchmarks.harness.processes import Usage
from job_runtime.command import StopSignal


def test_two_usages_one_after_the_other():
    first = Usage(seconds=1.5, processor_seconds=1, megabytes=5, own_megabytes=1, disk_megabytes=9)
    second = Usage(seconds=2, processor_seconds=0.5, megabytes=3, own_megabytes=2, disk_megabytes=10)
    assert first.then(second) == Usage(
        seconds=3.5, processor_seconds=1.5, megabytes=5, own_megabytes=2, disk_megabytes=10
    )


def test_memory_and_disk_of_a_process_and_its_child(tmp_path, monkeypatch):
    monkeypatch.setattr(processes, "_DISK_SECONDS", 0.0)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "kept").write_bytes(bytes(3 << 20))
    child = "data = bytearray(b'x') * (40 << 20)\nimport time\ntime.sleep(0.5)"
    program = (
        "import subprocess, sys, tempfile\n"
        "file = tempfile.TemporaryFile()\nfile.write(bytes(5 << 20))\nfile.flush()\n"
        f"subprocess.run([sys.executable, '-c', {child!r}], check=True)\nprint('done')\n"
    )
    (tmp_path / "program.py").write_text(program)
    monkeypatch.setattr(processes.machine, "ROOT", tmp_path)
    usage, is_done = processes.run(["program"], folder=tmp_path / "out", log=tmp_path / "log", stop=StopSignal())
    assert is_done and (tmp_path / "log").read_text() == "done\n"
    assert 45 <= usage.own_megabytes < 100 and usage.megabytes > usage.own_megabytes
    assert usage.disk_megabytes == 8
    assert usage.processor_seconds > 0 and usage.seconds >= 0.5


def test_a_failure_is_said(tmp_path, monkeypatch):
    monkeypatch.setattr(processes.machine, "ROOT", tmp_path)
    (tmp_path / "fails.py").write_text("raise SystemExit(3)\n")
    with pytest.raises(RuntimeError, match="fails now ended with status 3; its answer is in .*log"):
        processes.run(["fails", "now"], folder=tmp_path / "out", log=tmp_path / "log", stop=StopSignal())


def test_a_stop_is_passed_on(tmp_path, monkeypatch):
    monkeypatch.setattr(processes.machine, "ROOT", tmp_path)
    (tmp_path / "waits.py").write_text(
        "import pathlib, signal, sys, time\nsignal.signal(signal.SIGTERM, lambda *_: sys.exit(75))\n"
        "pathlib.Path('ready').touch()\ntime.sleep(60)\n"
    )
    stop = StopSignal()
    monkeypatch.setattr(processes.time, "sleep", lambda _: setattr(stop, "requested", (tmp_path / "ready").exists()))
    _, is_done = processes.run(["waits"], folder=tmp_path / "out", log=tmp_path / "log", stop=stop)
    assert not is_done
