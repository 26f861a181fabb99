"""An encode without an engine: a loop in this process over all work items, or over one task's share of them.

A task's share only leaves parts. The last step is the whole encode: it finds the parts that the tasks have left, makes
those that are missing, and writes the dataset.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import ctypes
import dataclasses
import gc
from collections.abc import Iterator, Sequence

from beam_pipelines.encoding.encode_chunk import Known
from beam_pipelines.encoding.part_file import Part
from beam_pipelines.execution import base_dataset, dataset_steps
from beam_pipelines.execution.dataset_steps import SplitCounts, Summary
from beam_pipelines.execution.encode_job import EncodeJob, WorkItem
from beam_pipelines.planning.part_headers import PartHeaders
from job_runtime.command import Interrupted, StopSignal
from job_runtime.logs.progress import progress
from midi_codec.dataset.dataset_info import DatasetInfo

SHARDS_AT_ONCE = 4  # while one waits for the disk or the bucket, others read
OBJECTS_PER_COLLECTION = 100_000  # the few cycles of a part are collected after it


@dataclasses.dataclass(frozen=True)
class Share:
    """What one task did."""

    num_items: int
    num_inputs: int


def run_share(job: EncodeJob, items: Sequence[WorkItem], *, task_index: int, num_tasks: int, stop: StopSignal) -> Share:
    """Makes every `num_tasks`-th part.

    Raises:
      Interrupted: a signal asked to stop; finished parts stay.
    """
    own_items = items[task_index::num_tasks]
    known = base_dataset.known_inputs(job.settings.base)
    num_inputs = sum(part.num_inputs for _, part in _make_parts(job, own_items, known, None, stop))
    return Share(len(own_items), num_inputs)


def run(job: EncodeJob, items: Sequence[WorkItem], *, num_inputs: int, stop: StopSignal) -> DatasetInfo | None:
    """The whole encode; None if too little was kept for a dataset.

    Raises:
      Interrupted: as `run_share`.
    """
    paths, headers, retried = [], PartHeaders(), set[str]()
    known = base_dataset.known_inputs(job.settings.base)
    for path, part in _make_parts(job, items, known, num_inputs, stop):
        paths.append(path)
        headers.add(part)
        retried |= known.unread.intersection(part.examined())
    plan = dataset_steps.plan_dataset(job, headers)
    ledgers = dataset_steps.write_ledgers(job, plan, retried)

    def write(index: int) -> SplitCounts:
        if stop.requested:
            raise Interrupted("start the same command again to continue")
        return dataset_steps.write_shard(job, index, plan.entries.of(index), paths)

    with concurrent.futures.ThreadPoolExecutor(SHARDS_AT_ONCE) as writers:
        corrections = list(writers.map(write, range(len(plan.entries))))
    return dataset_steps.publish(job, Summary.of(plan), ledgers, corrections)


def _keep_freed_memory() -> None:
    """Tells glibc to keep freed memory; otherwise it returns pages after each batch and clears them for the next.

    Python's search for cycles is limited to new objects, and is made less often.
    """
    gc.freeze()
    gc.set_threshold(OBJECTS_PER_COLLECTION)
    m_trim_threshold, m_top_pad, m_mmap_threshold = -1, -2, -3  # malloc.h
    with contextlib.suppress(OSError, AttributeError):  # another C library
        libc = ctypes.CDLL("libc.so.6")
        libc.mallopt(m_mmap_threshold, 32 << 20)
        libc.mallopt(m_trim_threshold, 256 << 20)
        libc.mallopt(m_top_pad, 16 << 20)


def _make_parts(
    job: EncodeJob, items: Sequence[WorkItem], known: Known, num_inputs: int | None, stop: StopSignal
) -> Iterator[tuple[str, Part]]:
    """The path and header of each item's part."""
    _keep_freed_memory()
    with progress(total=num_inputs, unit="files", label="encoding") as bar:

        def on_files(count: int) -> None:
            bar.update(count)
            if stop.requested:
                raise Interrupted("start the same command again to continue")

        for item in items:
            yield job.ensure_part(item, known=known, on_files=on_files)
            gc.collect()  # cycles hold a part's arrays, megabytes; all older objects are frozen, so this is quick
