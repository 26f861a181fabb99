"""An encode without an engine: a loop in this process over all works, or over one task's share of them.

A task's share leaves parts behind and no more. The last step is the whole encode: it finds the parts that the tasks
have left, makes those that are missing, and writes the dataset.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import ctypes
import dataclasses
from collections.abc import Sequence

from beam_pipelines.execution import base_dataset, publish
from beam_pipelines.execution.encode_job import Job, Work, check_complete
from beam_pipelines.output.write_shards import write_shard
from beam_pipelines.planning.plan import Heads, make_plan
from job_runtime.command import Interrupted, StopSignal
from job_runtime.logs.progress import progress
from midi_codec.dataset.dataset_info import DatasetInfo

SHARDS_AT_ONCE = 4  # while one waits for the disk or the bucket, others read


@dataclasses.dataclass(frozen=True)
class Share:
    """What a task found to do."""

    num_works: int
    num_inputs: int


def run_share(job: Job, works: Sequence[Work], *, task_index: int, num_tasks: int, stop: StopSignal) -> Share:
    """Makes every `num_tasks`-th part.

    Raises:
      Interrupted: a signal asked to stop; the parts that are whole stay.
    """
    mine = works[task_index::num_tasks]
    num_done = 0
    for _, part in _make_parts(job, mine, None, stop):
        num_done += part.num_inputs
    return Share(len(mine), num_done)


def run(job: Job, works: Sequence[Work], *, num_inputs: int, stop: StopSignal) -> DatasetInfo | None:
    """The whole encode; None where no piece was kept.

    Raises:
      Interrupted: as `run_share`.
    """
    paths, heads = [], Heads()
    for path, part in _make_parts(job, works, num_inputs, stop):
        paths.append(path)
        heads.add(part)
    check_complete(heads.parts, job)
    carried = base_dataset.carried(job.settings.base, heads.parts)
    plan = make_plan(heads, job.settings, job.splits, carried=carried)
    summary = publish.write_ledgers(job, plan)
    del heads

    def write(index: int):
        if stop.requested:
            raise Interrupted("start the same command again to continue")
        return write_shard(
            index,
            plan.entries[index],
            part_paths=paths,
            output=job.output,
            splits=job.splits,
            num_shards=job.settings.num_shards,
            time_base=job.settings.time_base,
        )

    with concurrent.futures.ThreadPoolExecutor(SHARDS_AT_ONCE) as writers:
        corrections = list(writers.map(write, range(job.settings.num_shards)))
    return publish.publish(job, summary, corrections)


def _keep_freed_memory() -> None:
    """Has glibc keep what is freed: else pages go back after each batch and are cleared again for the next."""
    m_trim_threshold, m_top_pad, m_mmap_threshold = -1, -2, -3  # malloc.h
    with contextlib.suppress(OSError, AttributeError):  # another C library
        libc = ctypes.CDLL("libc.so.6")
        libc.mallopt(m_mmap_threshold, 32 << 20)
        libc.mallopt(m_trim_threshold, 256 << 20)
        libc.mallopt(m_top_pad, 16 << 20)


def _make_parts(job: Job, works: Sequence[Work], num_inputs: int | None, stop: StopSignal):
    _keep_freed_memory()
    known = base_dataset.known_inputs(job.settings.base)
    with progress(total=num_inputs, unit="files", label="encoding") as bar:

        def on_files(count: int) -> None:
            bar.update(count)
            if stop.requested:
                raise Interrupted("start the same command again to continue")

        for work in works:
            yield job.ensure_part(work, known=known, on_files=on_files)
