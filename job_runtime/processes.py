"""Processes that work for a command: they leave signals to it, and never outlive it."""

from __future__ import annotations

import concurrent.futures
import contextlib
import math
import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

CPU_MAX = Path("/sys/fs/cgroup/cpu.max")  # microseconds of processor time per period, or "max"; and the period


def num_cores() -> int:
    """Cores that this process may use: those it may run on, or fewer where a container's quota says so."""
    cores = len(os.sched_getaffinity(0))
    try:
        quota, period = CPU_MAX.read_text().split()
    except OSError:  # not in a control group of version 2
        return cores
    return cores if quota == "max" else min(cores, math.ceil(int(quota) / int(period)))


@contextlib.contextmanager
def process_pool(num_processes: int) -> Iterator[concurrent.futures.Executor]:
    """New processes, which share nothing with this one. At the end of the block they are killed: take results before.

    A process that is killed from outside makes its futures raise `BrokenProcessPool`.
    """
    others = multiprocessing.active_children()
    pool = concurrent.futures.ProcessPoolExecutor(
        num_processes, multiprocessing.get_context("spawn"), initializer=_follow_the_parent
    )
    try:
        yield pool
    finally:
        for process in multiprocessing.active_children():
            if process not in others:
                process.kill()
        pool.shutdown(cancel_futures=True)


def _follow_the_parent() -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    threading.Thread(target=_leave_with_the_parent, daemon=True).start()


def _leave_with_the_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
    os._exit(0)
