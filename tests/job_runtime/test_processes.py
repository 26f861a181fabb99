"""Processes of a command: apart from it, deaf to signals, and gone at the end of the block."""

from __future__ import annotations

import os
import signal
import time
from concurrent.futures.process import BrokenProcessPool

import pytest

from job_runtime import processes
from job_runtime.processes import num_cores, process_pool


def handlers() -> tuple[int, list[bool]]:
    return os.getpid(), [signal.getsignal(number) == signal.SIG_IGN for number in (signal.SIGINT, signal.SIGTERM)]


def exists(pid: int) -> bool:
    return os.path.exists(f"/proc/{pid}")


@pytest.mark.slow
def test_a_process_ignores_signals_and_is_killed_at_the_end():
    with process_pool(1) as pool:
        pid, ignored = pool.submit(handlers).result()
        assert pid != os.getpid() and exists(pid)
        assert ignored == [True, True]
        pool.submit(time.sleep, 600)
    assert not exists(pid)


@pytest.mark.slow
def test_a_process_killed_from_outside_is_noticed():
    with process_pool(1) as pool:
        pid, _ = pool.submit(handlers).result()
        left = pool.submit(time.sleep, 600)
        os.kill(pid, signal.SIGKILL)
        with pytest.raises(BrokenProcessPool):
            left.result()


def test_at_least_one_core():
    assert 1 <= num_cores() <= (os.cpu_count() or 1)


@pytest.mark.parametrize(("cpu_max", "cores"), [("max 100000", 8), ("250000 100000", 3), ("5000 100000", 1), (None, 8)])
def test_a_quota_counts_as_cores(monkeypatch, tmp_path, cpu_max, cores):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))
    monkeypatch.setattr(processes, "CPU_MAX", tmp_path / "cpu.max")
    if cpu_max is not None:
        (tmp_path / "cpu.max").write_text(cpu_max + "\n")
    assert num_cores() == cores
