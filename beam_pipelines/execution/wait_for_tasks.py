"""The last step of an encode waits for the parts that other tasks are still making.

On a cluster it may be started together with the tasks. It waits as long as parts appear, and `minutes` more. Then it
starts, and makes the missing parts itself: a task that never returns costs time but no dataset.
"""

from __future__ import annotations

from collections.abc import Sequence

from beam_pipelines.execution.encode_job import EncodeJob, WorkItem
from beam_pipelines.output import output_folder
from job_runtime import storage
from job_runtime.command import StopSignal
from job_runtime.waiting import wait_while_more_come


def wait_for_parts(job: EncodeJob, items: Sequence[WorkItem], *, minutes: float, stop: StopSignal) -> int:
    """Waits until every work item has its part, or until no new part has appeared for `minutes`.

    Returns:
      how many parts are missing.

    Raises:
      Interrupted: `stop` asked for it.
    """
    wanted = {job.part_path(item) for item in items}

    def look() -> tuple[int, bool]:
        num_present = len(_existing_parts(job) & wanted)
        return num_present, num_present == len(wanted)

    return len(wanted) - wait_while_more_come(look, minutes=minutes, unit="parts", label="waiting for tasks", stop=stop)


def _existing_parts(job: EncodeJob) -> set[str]:
    folder = f"{output_folder.work_folder(job.output)}/"
    return {entry.path for entry in storage.list_files(folder, missing_ok=True)}
