"""Which shards of a task are whole: done, and all their files there, as large as they were when they were written.

A shard's sizes are written before its manifest, with a hash of the job. A look costs a listing of each folder and a
small read a shard, however many pieces the job has. A shard that has lost something is open again: what is left of it
is read, the rest is made, and the same bytes are there as before. A shard without sizes (older versions wrote none) is
read whole once and gets them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping

from generation_jobs.job.job import Job
from generation_jobs.output.piece_files import PieceFiles
from generation_jobs.output.shards import FOLDERS, MANIFEST_FOLDER, RECORDS_FOLDER, SIZES_FOLDER
from job_runtime import file_sizes, storage
from job_runtime.command import UserError
from job_runtime.file_sizes import FileSizes


@dataclasses.dataclass(frozen=True)
class Found:
    """Shards that are whole; of each one that is not and once was, what is wrong with which of its files."""

    whole: Collection[int]
    damage: Mapping[int, Mapping[str, str]]


def find(job: Job, files: PieceFiles) -> Found:
    """Looks at all shards of the task; `files` gets to know what is there, and what has to be replaced.

    Raises:
      UserError: files of another job, or folders where files belong.
    """
    mine = job.shards.of_task(job.task_index, job.num_tasks)
    files.look(mine)
    promised = file_sizes.list_sizes(job.output, SIZES_FOLDER)
    shards = [shard for shard in mine if job.shards.sizes(shard) in promised] if promised else []
    if not shards:
        return Found(set(), {})
    there = file_sizes.list_sizes(job.output, MANIFEST_FOLDER) | file_sizes.list_sizes(job.output, RECORDS_FOLDER)
    whole, damage = set(), {}
    read = storage.read_many(storage.join(job.output, job.shards.sizes(shard)) for shard in shards)
    for shard, data in zip(shards, read, strict=True):
        sizes = None if isinstance(data, OSError) else FileSizes.from_json(data)
        if sizes is None:
            continue
        if sizes.work != job.digest:
            path = storage.join(job.output, job.shards.sizes(shard))
            raise UserError(f"{path!r} is of another job than {job.output!r} is begun with; want another --output")
        wrong = sizes.differences(there | files.sizes(shard))
        if not wrong:
            whole.add(shard)
            continue
        damage[shard] = wrong
        files.replace(shard, wrong)
        _refuse_folders(job.output, wrong)
    return Found(whole, damage)


def _refuse_folders(root: str, paths: Collection[str]) -> None:
    folders = [path for name in paths if storage.is_folder(path := storage.join(root, name))]
    if folders and not storage.is_remote(root):
        raise UserError([f"{path!r} is a folder where a file of this job belongs; move it away" for path in folders])


def write_sizes(job: Job, shard: int, files: Mapping[str, int]) -> None:
    """Before the manifest, whose size is among them: from then on it is known what belongs to the shard."""
    data = FileSizes(work=job.digest, files=files).to_json()
    storage.write_bytes(storage.join(job.output, job.shards.sizes(shard)), data)


def delete_leftovers(root: str) -> None:
    """Deletes what killed tasks left half written in a job's output; what a living one writes stays."""
    for folder in FOLDERS:
        storage.delete_leftovers(storage.join(root, folder))
