"""Waiting for what other processes make: as long as more of it comes, and some minutes beyond."""

from __future__ import annotations

import time
from collections.abc import Callable

from job_runtime.command import Interrupted, StopSignal
from job_runtime.logs.progress import progress

SECONDS_BETWEEN_LOOKS = 5.0
SECONDS_BETWEEN_SIGNALS = 0.5


def wait_while_more_come(
    look: Callable[[], tuple[int, bool]], *, minutes: float, unit: str, label: str, stop: StopSignal
) -> int:
    """Waits until all is there, or for `minutes` nothing has come.

    Args:
      look: gives how many are there, and whether those are all.
      unit, label: for `job_runtime.logs.progress`, which is told at every look: a process that waits is alive.

    Returns:
      how many are there.

    Raises:
      Interrupted: `stop` asked for it.
    """
    last_change, there = time.monotonic(), 0
    with progress(total=None, unit=unit, label=label) as bar:
        while True:
            found, are_all = look()
            if found != there:
                last_change = time.monotonic()
            bar.update(found - there)
            there = found
            left = last_change + 60 * minutes - time.monotonic()
            if are_all or left <= 0:
                return there
            _sleep(min(SECONDS_BETWEEN_LOOKS, left), stop)


def _sleep(seconds: float, stop: StopSignal) -> None:
    """A while, in which a signal is heard."""
    until = time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0:
        if stop.requested:
            raise Interrupted("start the same command again to go on")
        time.sleep(min(left, SECONDS_BETWEEN_SIGNALS))
