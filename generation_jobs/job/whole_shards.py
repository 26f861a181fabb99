"""Finds which shards of a task are whole: done, with every file present and as large as when it was written.

A shard's sizes are written before its manifest, with a hash of the job. The check costs one listing per folder and one
small read per shard, however many pieces the job has. A shard that has lost something is reopened: what is left of it
is read, the rest is made, and the result has the same bytes as before. A shard without sizes (from an older version) is
read completely once and then gets them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping

from generation_jobs.job.job import Job
from generation_jobs.output.piece_files import PieceFiles
from generation_jobs.output.shards import FOLDERS, MANIFEST_FOLDER, RECORDS_FOLDER, SIZES_FOLDER
from job_runtime import file_sizes, storage
from job_runtime.file_sizes import FileSizes
from job_runtime.problem_report import UserError


@dataclasses.dataclass(frozen=True)
class ShardStatus:
    """The whole shards; and for each shard that was done but is damaged, its damaged files and what is wrong."""

    whole: Collection[int]
    damage: Mapping[int, Mapping[str, str]]


def find(job: Job, files: PieceFiles) -> ShardStatus:
    """Checks all shards of the task, and tells `files` what exists and what has to be replaced.

    Raises:
      UserError: files of another job, or folders where files belong.
    """
    mine = job.shards.of_task(job.task_index, job.num_tasks)
    files.find(mine)
    size_files = file_sizes.list_sizes(job.output, SIZES_FOLDER)
    shards = [shard for shard in mine if job.shards.sizes(shard) in size_files] if size_files else []
    if not shards:
        return ShardStatus(set(), {})
    existing = file_sizes.list_sizes(job.output, MANIFEST_FOLDER) | file_sizes.list_sizes(job.output, RECORDS_FOLDER)
    whole, damage = set(), {}
    read = storage.read_many(storage.join(job.output, job.shards.sizes(shard)) for shard in shards)
    for shard, data in zip(shards, read, strict=True):
        sizes = None if isinstance(data, OSError) else FileSizes.from_json(data)
        if sizes is None:
            continue
        if sizes.work != job.digest:
            path = storage.join(job.output, job.shards.sizes(shard))
            raise UserError(f"{path!r} belongs to another job than the one in {job.output!r}; want another --output")
        wrong = sizes.differences(existing | files.sizes(shard))
        if not wrong:
            whole.add(shard)
            continue
        damage[shard] = wrong
        files.replace(shard, wrong)
        _refuse_folders(job.output, wrong)
    return ShardStatus(whole, damage)


def _refuse_folders(root: str, paths: Collection[str]) -> None:
    folders = [path for name in paths if storage.is_folder(path := storage.join(root, name))]
    if folders and not storage.is_remote(root):
        raise UserError([f"{path!r} is a folder where a file of this job belongs; move it away" for path in folders])


def write_sizes(job: Job, shard: int, files: Mapping[str, int]) -> None:
    """Called before the manifest is written; `files` includes the manifest's size."""
    data = FileSizes(work=job.digest, files=files).to_json()
    storage.write_bytes(storage.join(job.output, job.shards.sizes(shard)), data)


def delete_leftovers(root: str) -> None:
    """Deletes the half-written files of killed tasks from a job's output; those of running tasks stay."""
    for folder in FOLDERS:
        storage.delete_leftovers(storage.join(root, folder))
