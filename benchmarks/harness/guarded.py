"""Runs a function on many items in child processes, so that none of them can end this process.

A child works through the items in order and reports the cost of each. If it dies, is silent for too long, or needs too
much memory, the current item is blamed, and a new child continues after it.
"""

from __future__ import annotations

import dataclasses
import multiprocessing
import resource
import time
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import Connection
from typing import Any

ITEMS_PER_CHILD = 500
MEGABYTE = 1 << 20


@dataclasses.dataclass(frozen=True)
class Outcome:
    """The result of one item."""

    value: Any = None  # what the function returned
    fault: str = ""  # or what went wrong
    seconds: float = 0.0  # of processor time
    megabytes: float = 0.0  # by which it raised its child's peak memory


def run_each(
    function: Callable[[Any], Any], items: Sequence[Any], *, max_seconds: float = 20.0, max_megabytes: int = 2048
) -> Iterator[Outcome]:
    """Outcomes in the order of the items."""
    done = 0
    while done < len(items):
        chunk = items[done : done + ITEMS_PER_CHILD]
        for outcome in _run_chunk(function, chunk, max_seconds, max_megabytes):
            done += 1
            yield outcome


def _run_chunk(
    function: Callable[[Any], Any], items: Sequence[Any], max_seconds: float, max_megabytes: int
) -> Iterator[Outcome]:
    """Yields the outcomes of the items, up to one that ends the child."""
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    child = context.Process(target=_work, args=(function, items, sender, max_megabytes), daemon=True)
    child.start()
    sender.close()
    try:
        for _ in items:
            if not receiver.poll(max_seconds):
                yield Outcome(fault=f"silent for {max_seconds:g} s", seconds=max_seconds)
                return
            try:
                outcome = receiver.recv()
            except EOFError:
                child.join()
                yield Outcome(fault=f"ended the process with {child.exitcode}")
                return
            yield outcome
    finally:
        child.kill()
        child.join()
        receiver.close()


def _work(function: Callable[[Any], Any], items: Sequence[Any], sender: Connection, max_megabytes: int) -> None:
    limit = _address_space() + max_megabytes * MEGABYTE
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    for item in items:
        memory_before, start = _peak_memory(), time.process_time()
        try:
            value, fault = function(item), ""
        except Exception as error:  # noqa: BLE001 any exception is a result
            value, fault = None, f"{type(error).__name__}: {error}"
        seconds = time.process_time() - start
        sender.send(Outcome(value, fault, seconds, _peak_memory() - memory_before))


def _peak_memory() -> float:
    """In megabytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _address_space() -> int:
    """In bytes."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[0]) * resource.getpagesize()
