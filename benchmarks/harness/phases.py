"""Seconds and memory of the phases of a process."""

from __future__ import annotations

import contextlib
import pathlib
import threading
import time
from collections.abc import Iterator
from typing import Any

SAMPLE_SECONDS = 0.02


@contextlib.contextmanager
def phase(figures: dict[str, Any], name: str) -> Iterator[None]:
    """Adds the seconds of the block, and the highest of many looks at the memory of the process."""
    done, most = threading.Event(), [own_megabytes()]

    def watch() -> None:
        while not done.wait(SAMPLE_SECONDS):
            most.append(max(most.pop(), own_megabytes()))

    thread = threading.Thread(target=watch)
    thread.start()
    start, processor_start = time.monotonic(), time.process_time()
    try:
        yield
    finally:
        seconds, processor_seconds = time.monotonic() - start, time.process_time() - processor_start
        done.set()
        thread.join()
        figures[name] = {
            "seconds": round(seconds, 2),
            "processor_seconds": round(processor_seconds, 2),
            "own_megabytes": round(most[0]),
        }


def own_megabytes() -> float:
    """RssAnon of this process."""
    status = pathlib.Path("/proc/self/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("RssAnon")) / 1000
