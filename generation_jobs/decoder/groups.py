"""Divides the slots into groups that are decoded at the same time, each on a core of its own.

A decoder's matrix products are too small to share between cores: two groups of half the slots make twice the notes of
one group on two cores. A group's size depends on the number of slots alone, and a piece is decoded in one group, so the
number of cores changes no note.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from concurrent import futures
from typing import TypeVar

import tensorflow as tf

from generation_jobs.settings.requests import SLOTS_PER_CORE
from job_runtime.processes import num_cores
from midi_codec.fields import WIDTH_MULTIPLE

MIN_ROWS = 32  # fewer slots in a group use a core badly

Group = TypeVar("Group")
Result = TypeVar("Result")


def num_groups(num_slots: int) -> int:
    """A GPU computes all slots at once."""
    if num_slots < 2 * MIN_ROWS or tf.config.list_physical_devices("GPU"):
        return 1
    return max(2, -(-num_slots // SLOTS_PER_CORE))


def rows(num_slots: int) -> int:
    """The slots of one group: all groups are equal, so there may be a few more slots in all."""
    count = num_groups(num_slots)
    return num_slots if count == 1 else -(-num_slots // (count * WIDTH_MULTIPLE)) * WIDTH_MULTIPLE


def use_one_thread_per_group(num_slots: int) -> None:
    """Keeps each matrix product on its group's core, unless most cores would have no group.

    Only a process in which TensorFlow has computed nothing yet can change its threads; another keeps those it has, and
    makes the same notes. The products of a single slot gain from a second core.
    """
    if num_slots > 1 and 2 * num_groups(num_slots) >= num_cores():
        with contextlib.suppress(RuntimeError):
            tf.config.threading.set_intra_op_parallelism_threads(1)


def results_of_calls(call: Callable[[Group], Result | None], groups: Sequence[Group]) -> Iterator[Result]:
    """Calls `call` for each group again and again until it gives None; yields the results as they come."""
    with futures.ThreadPoolExecutor(max(1, min(len(groups), num_cores()))) as pool:
        running = {pool.submit(call, group): group for group in groups}
        while running:
            done, _ = futures.wait(running, return_when=futures.FIRST_COMPLETED)
            for future in done:
                group, result = running.pop(future), future.result()
                if result is not None:
                    running[pool.submit(call, group)] = group
                    yield result
