"""The last step of an encode waits for the parts that other tasks still make.

On a cluster it may be started together with the tasks. It waits for as long as parts appear, and `minutes` more; then
it begins, and makes what is still missing itself: a task that never comes back costs time and no dataset.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from beam_pipelines import output_folder
from beam_pipelines.encode_job import Job, Work
from midi_codec import storage
from midi_codec.command import Interrupted, StopSignal
from midi_codec.progress import progress

SECONDS_BETWEEN_LOOKS = 5.0
SECONDS_BETWEEN_SIGNALS = 0.5


def wait_for_parts(job: Job, works: Sequence[Work], *, minutes: float, stop: StopSignal) -> int:
    """Waits until every work has its part, or for `minutes` none has come.

    Returns:
      how many parts are missing.

    Raises:
      Interrupted: `stop` asked for it.
    """
    wanted = {job.part_path(work) for work in works}
    there: set[str] = set()
    last_change = time.monotonic()
    with progress(total=len(wanted), unit="parts", label="waiting for tasks") as bar:
        while True:
            found = _parts_there(job) & wanted
            if len(found) != len(there):
                last_change = time.monotonic()
            bar.update(len(found) - len(there))
            there = found
            if there == wanted or time.monotonic() - last_change >= 60 * minutes:
                return len(wanted) - len(there)
            _sleep(min(SECONDS_BETWEEN_LOOKS, 60 * minutes), stop)


def _parts_there(job: Job) -> set[str]:
    try:
        return {entry.path for entry in storage.list_files(f"{output_folder.work_folder(job.output)}/")}
    except FileNotFoundError:
        return set()


def _sleep(seconds: float, stop: StopSignal) -> None:
    """A while, in which a signal is heard."""
    until = time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0:
        if stop.requested:
            raise Interrupted("start the same command again to go on")
        time.sleep(min(left, SECONDS_BETWEEN_SIGNALS))
