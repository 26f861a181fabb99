"""How a job's samples are numbered, divided into shards, and assigned to tasks.

All samples are numbered in the order of the seed list. A shard is a run of consecutive numbers; task i of n takes every
n-th shard. What a shard holds does not depend on the number of tasks: forty tasks write the same files as one.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import numpy as np

MIDI_FOLDER, RECORDS_FOLDER, MANIFEST_FOLDER, SIZES_FOLDER = "midi", "records", "manifest", "sizes"
UNFINISHED_FOLDER, FAILURES_FOLDER = "unfinished", "failures"
FOLDERS = (MIDI_FOLDER, RECORDS_FOLDER, MANIFEST_FOLDER, SIZES_FOLDER, UNFINISHED_FOLDER, FAILURES_FOLDER)
MAX_PIECES_PER_SHARD = 100_000
MAX_SAMPLES, MAX_SHARDS = 10**8, 10**6  # per job; larger outputs need several jobs
_DEFAULT_SHARDS, _DEFAULT_PIECES = 64, (8, 512)


def default_pieces_per_shard(num_samples: int) -> int:
    """Gives about 64 shards for tasks to share, of 8 to 512 pieces, which stay in memory until the shard is done."""
    low, high = _DEFAULT_PIECES
    return min(high, max(low, num_samples // _DEFAULT_SHARDS))


@dataclasses.dataclass(frozen=True)
class Shards:
    """The shards of a job."""

    num_samples: int
    pieces_per_shard: int

    def problems(self) -> Iterator[str]:
        """Why these numbers are out of range."""
        if not 1 <= self.num_samples <= MAX_SAMPLES:
            yield f"num_samples is {self.num_samples}, want 1 to {MAX_SAMPLES:,} for one job"
        elif not 1 <= self.pieces_per_shard <= MAX_PIECES_PER_SHARD:
            yield f"pieces_per_shard is {self.pieces_per_shard}, want 1 to {MAX_PIECES_PER_SHARD:,}"
        elif len(self) > MAX_SHARDS:
            yield f"pieces_per_shard is {self.pieces_per_shard}: {len(self):,} shards, want at most {MAX_SHARDS:,}"

    def __len__(self) -> int:
        return -(-self.num_samples // self.pieces_per_shard)

    def numbers(self, shard: int) -> range:
        """The numbers of the shard's samples."""
        first = shard * self.pieces_per_shard
        return range(first, min(first + self.pieces_per_shard, self.num_samples))

    def of_sample(self, number: int) -> int:
        return number // self.pieces_per_shard

    def of_task(self, task_index: int, num_tasks: int) -> range:
        return range(task_index, len(self), num_tasks)

    def samples_of_task(self, task_index: int, num_tasks: int) -> np.ndarray:
        """`[n]` int64, ascending."""
        numbers = np.arange(self.num_samples, dtype=np.int64)
        return numbers[numbers // self.pieces_per_shard % num_tasks == task_index]

    def label(self, shard: int) -> str:
        """`00007-of-00100`, as in file names."""
        return f"{shard:05d}-of-{len(self):05d}"

    def manifest(self, shard: int) -> str:
        """Path relative to the output folder; this file is written last and means that the shard is done."""
        return f"{MANIFEST_FOLDER}/part-{self.label(shard)}.jsonl"

    def sizes(self, shard: int) -> str:
        """The sizes of the shard's other files (`job_runtime.file_sizes`)."""
        return f"{SIZES_FOLDER}/part-{self.label(shard)}.json"

    def records(self, shard: int) -> str:
        return f"{RECORDS_FOLDER}/generated-{self.label(shard)}.tfrecord"

    def tar(self, shard: int) -> str:
        return f"{MIDI_FOLDER}/pieces-{self.label(shard)}.tar"

    def unfinished(self, shard: int) -> str:
        """Prefix of the files that hold a tar shard's pieces until the shard is whole."""
        return f"{UNFINISHED_FOLDER}/pieces-{self.label(shard)}-"

    def failures(self, shard: int) -> str:
        """Samples that failed, until another run has made them."""
        return f"{FAILURES_FOLDER}/part-{self.label(shard)}.jsonl"
