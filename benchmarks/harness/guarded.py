"""Runs a function on many items in child processes, so that none can take this one along.

A child works through the items in order and says before each what it costs. Should it die, or be silent
for too long, or want too much memory, the item at hand gets the blame, and a new child goes on behind it.
"""

from __future__ import annotations

import dataclasses
import multiprocessing
import resource
import time
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import Connection
from typing import Any

ITEMS_A_CHILD = 500
MEGABYTE = 1 << 20


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What became of one item."""

    value: Any = None  # what the function returned
    fault: str = ""  # or what went wrong
    seconds: float = 0.0  # of a processor
    megabytes: float = 0.0  # by which it raised the most memory that its child ever had


def run_each(
    function: Callable[[Any], Any], items: Sequence[Any], *, max_seconds: float = 20.0, max_megabytes: int = 2048
) -> Iterator[Outcome]:
    """Outcomes in the order of the items."""
    done = 0
    while done < len(items):
        chunk = items[done : done + ITEMS_A_CHILD]
        for outcome in _run_chunk(function, chunk, max_seconds, max_megabytes):
            done += 1
            yield outcome


def _run_chunk(
    function: Callable[[Any], Any], items: Sequence[Any], max_seconds: float, max_megabytes: int
) -> Iterator[Outcome]:
    """Outcomes of the first items, of all of them unless one ends the child."""
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
        before, begun = _most_memory(), time.process_time()
        try:
            value, fault = function(item), ""
        except Exception as error:  # noqa: BLE001 any of them is a finding
            value, fault = None, f"{type(error).__name__}: {error}"
        seconds = time.process_time() - begun
        sender.send(Outcome(value, fault, seconds, _most_memory() - before))


def _most_memory() -> float:
    """Megabytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _address_space() -> int:
    """Bytes."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[0]) * resource.getpagesize()
