"""The last step of an encode waits for the parts that other tasks still make.

On a cluster it may be started together with the tasks. It waits for as long as parts appear, and `minutes` more; then
it begins, and makes what is still missing itself: a task that never comes back costs time and no dataset.
"""

from __future__ import annotations

from collections.abc import Sequence

from beam_pipelines.execution.encode_job import Job, Work
from beam_pipelines.output import output_folder
from job_runtime import storage
from job_runtime.command import StopSignal
from job_runtime.waiting import wait_while_more_come


def wait_for_parts(job: Job, works: Sequence[Work], *, minutes: float, stop: StopSignal) -> int:
    """Waits until every work has its part, or for `minutes` none has come.

    Returns:
      how many parts are missing.

    Raises:
      Interrupted: `stop` asked for it.
    """
    wanted = {job.part_path(work) for work in works}

    def look() -> tuple[int, bool]:
        there = len(_parts_there(job) & wanted)
        return there, there == len(wanted)

    return len(wanted) - wait_while_more_come(look, minutes=minutes, unit="parts", label="waiting for tasks", stop=stop)


def _parts_there(job: Job) -> set[str]:
    try:
        return {entry.path for entry in storage.list_files(f"{output_folder.work_folder(job.output)}/")}
    except FileNotFoundError:
        return set()
