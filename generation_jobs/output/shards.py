"""How a job's samples are numbered, cut into shards, and dealt out to tasks.

All samples are numbered through in the order of the seed list. A shard is a run of consecutive numbers; task i of n
takes every n-th shard. What a shard holds does not depend on the number of tasks: forty write the same files as one.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import numpy as np

MIDI_FOLDER, RECORDS_FOLDER, MANIFEST_FOLDER, SIZES_FOLDER = "midi", "records", "manifest", "sizes"
UNFINISHED_FOLDER, FAILURES_FOLDER = "unfinished", "failures"
FOLDERS = (MIDI_FOLDER, RECORDS_FOLDER, MANIFEST_FOLDER, SIZES_FOLDER, UNFINISHED_FOLDER, FAILURES_FOLDER)
MAX_PIECES_PER_SHARD = 100_000
MAX_SAMPLES, MAX_SHARDS = 10**8, 10**6  # of a job: more are more jobs
_USUAL_SHARDS, _USUAL_PIECES = 64, (8, 512)


def usual_pieces_per_shard(num_samples: int) -> int:
    """Some 64 shards for tasks to share, of 8 to 512 pieces: what lies in memory until a shard is whole."""
    low, high = _USUAL_PIECES
    return min(high, max(low, num_samples // _USUAL_SHARDS))


@dataclasses.dataclass(frozen=True)
class Shards:
    """The shards of a job."""

    num_samples: int
    pieces_per_shard: int

    def problems(self) -> Iterator[str]:
        """Why no job has so many."""
        if not 1 <= self.num_samples <= MAX_SAMPLES:
            yield f"num_samples is {self.num_samples}, want 1 to {MAX_SAMPLES:,} for one job"
        elif not 1 <= self.pieces_per_shard <= MAX_PIECES_PER_SHARD:
            yield f"pieces_per_shard is {self.pieces_per_shard}, want 1 to {MAX_PIECES_PER_SHARD:,}"
        elif len(self) > MAX_SHARDS:
            yield f"pieces_per_shard is {self.pieces_per_shard}: {len(self):,} shards, want at most {MAX_SHARDS:,}"

    def __len__(self) -> int:
        return -(-self.num_samples // self.pieces_per_shard)

    def numbers(self, shard: int) -> range:
        """Which samples it holds."""
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

    def place(self, shard: int) -> str:
        """`00007-of-00100`, as file names have it."""
        return f"{shard:05d}-of-{len(self):05d}"

    def manifest(self, shard: int) -> str:
        """Path from the output folder; written last: the shard is done."""
        return f"{MANIFEST_FOLDER}/part-{self.place(shard)}.jsonl"

    def sizes(self, shard: int) -> str:
        """How large its other files are (`job_runtime.file_sizes`)."""
        return f"{SIZES_FOLDER}/part-{self.place(shard)}.json"

    def records(self, shard: int) -> str:
        return f"{RECORDS_FOLDER}/generated-{self.place(shard)}.tfrecord"

    def tar(self, shard: int) -> str:
        return f"{MIDI_FOLDER}/pieces-{self.place(shard)}.tar"

    def unfinished(self, shard: int) -> str:
        """What the names of the files begin with that hold a tar shard's pieces until it is whole."""
        return f"{UNFINISHED_FOLDER}/pieces-{self.place(shard)}-"

    def failures(self, shard: int) -> str:
        """Samples that failed, until another run has made them."""
        return f"{FAILURES_FOLDER}/part-{self.place(shard)}.jsonl"
