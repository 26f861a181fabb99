"""The time that counts against `--max-minutes`."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator

from job_runtime.logs.progress import stage


class Clock:
    """Seconds of a run: of earlier starts, and of this one without the first call of each kind of work, which compiles.

    Args:
      seconds: what earlier starts have counted.
    """

    def __init__(self, seconds: float):
        self._start = time.monotonic() - seconds
        self._seen: set[str] = set()

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._start

    @contextlib.contextmanager
    def work(self, kind: str) -> Iterator[None]:
        """Around a piece of work; the first of its kind does not count, and is said."""
        is_first, before = kind not in self._seen, time.monotonic()
        self._seen.add(kind)
        try:
            with stage(f"compiling, and the first {kind}") if is_first else contextlib.nullcontext():
                yield
        finally:
            if is_first:
                self._start += time.monotonic() - before
