"""Waiting for the output of other processes: for as long as more of it appears, and some minutes longer."""

from __future__ import annotations

import time
from collections.abc import Callable

from job_runtime.command import TO_CONTINUE, Interrupted, StopSignal
from job_runtime.logs.progress import progress

SECONDS_BETWEEN_LOOKS = 5.0
SECONDS_BETWEEN_SIGNALS = 0.5


def wait_while_more_come(
    look: Callable[[], tuple[int, bool]], *, minutes: float, unit: str, label: str, stop: StopSignal
) -> int:
    """Waits until everything is there, or until nothing new has appeared for `minutes`.

    Args:
      look: returns how many items are there, and whether those are all.
      unit, label: for `job_runtime.logs.progress`, which is updated at every look, so that waiting counts as progress.

    Returns:
      how many items are there.

    Raises:
      Interrupted: `stop` was requested.
    """
    last_change, num_items = time.monotonic(), 0
    with progress(total=None, unit=unit, label=label) as bar:
        while True:
            new_num_items, are_all = look()
            if new_num_items != num_items:
                last_change = time.monotonic()
            bar.update(new_num_items - num_items)
            num_items = new_num_items
            left = last_change + 60 * minutes - time.monotonic()
            if are_all or left <= 0:
                return num_items
            _sleep(min(SECONDS_BETWEEN_LOOKS, left), stop)


def _sleep(seconds: float, stop: StopSignal) -> None:
    """Sleeps, but notices a stop request soon."""
    until = time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0:
        if stop.requested:
            raise Interrupted(TO_CONTINUE)
        time.sleep(min(left, SECONDS_BETWEEN_SIGNALS))
