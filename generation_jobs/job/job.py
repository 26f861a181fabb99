"""A generation job: everything its pieces depend on, and how its samples are numbered.

A sample is a (seed, sample number) pair. The piece depends only on its own random stream and its seed, never on the
task that makes it, on its shard or on the pieces made with it. `task` makes a task's share.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from generation_jobs.output import manifest, piece_bytes
from generation_jobs.output.piece_files import LooseFiles, PieceFiles, TarFiles, loose_path, tar_path
from generation_jobs.output.shards import Shards, default_pieces_per_shard
from generation_jobs.screening.reject_policy import Policy
from generation_jobs.seeds import seed_list
from generation_jobs.seeds.primers import Primers
from generation_jobs.seeds.seed_list import Seed
from generation_jobs.settings.requests import Request, Result, Settings
from job_runtime import json_text, storage
from job_runtime.code_version import code_version
from job_runtime.problem_report import UserError
from midi_codec.measures.thresholds import Judgement
from trainer.model.precision import AUTO, BFLOAT16, FLOAT32, fastest


class Sample(NamedTuple):
    seed: int  # its index in the list
    number: int  # of that seed's samples


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Job:
    """Everything the pieces depend on, and this task's index.

    Attributes:
      bundle, dataset: hashes.
      precision: of the products; `auto` until `with_precision` has chosen.
      pieces_per_shard: None: every piece is its own file, and shards have the default size.
    """

    output: str
    bundle: str
    dataset: str
    seeds: Sequence[Seed]
    primers: Primers
    seeds_digest: str
    settings: Settings
    samples_per_seed: int
    rng_seed: int
    policy: Policy = Policy()
    precision: str = FLOAT32
    pieces_per_shard: int | None = None
    num_tasks: int = 1
    task_index: int = 0

    @functools.cached_property
    def first_numbers(self) -> np.ndarray:
        """`[seeds + 1]` int64: the number of each seed's first sample, then the number of samples in all."""
        counts = [self.samples_per_seed if seed.num_samples is None else seed.num_samples for seed in self.seeds]
        return np.concatenate([[0], np.cumsum(counts, dtype=np.int64)])

    @functools.cached_property
    def shards(self) -> Shards:
        num_samples = int(self.first_numbers[-1])
        return Shards(num_samples, self.pieces_per_shard or default_pieces_per_shard(num_samples))

    @functools.cached_property
    def _seed_indices(self) -> dict[str, int]:
        return {seed.id: index for index, seed in enumerate(self.seeds)}

    def share(self) -> np.ndarray:
        """`[n]` int64: the numbers of this task's samples, ascending."""
        return self.shards.samples_of_task(self.task_index, self.num_tasks)

    def sample(self, number: int) -> Sample:
        """The sample with this number; all samples are numbered in the order of the list."""
        seed = int(np.searchsorted(self.first_numbers, number, "right")) - 1
        return Sample(seed, int(number - self.first_numbers[seed]))

    def number_of(self, seed_id: str, sample: int) -> int | None:
        """The inverse of `sample`; None for a sample that is not in this job."""
        if not 0 <= sample < self.num_samples(seed_id):
            return None
        return int(self.first_numbers[self._seed_indices[seed_id]]) + sample

    def num_samples(self, seed_id: str) -> int:
        """Of a seed; 0 if the list does not have it."""
        index = self._seed_indices.get(seed_id)
        return 0 if index is None else int(self.first_numbers[index + 1] - self.first_numbers[index])

    def path(self, number: int) -> str:
        """The path of a sample's `.mid` file, relative to the output folder."""
        index, sample = self.sample(number)
        if self.pieces_per_shard is None:
            return loose_path(self.seeds[index].id, sample)
        return tar_path(self.shards.tar(self.shards.of_sample(number)), self.seeds[index].id, sample)

    def files(self) -> PieceFiles:
        if self.pieces_per_shard is None:
            return LooseFiles(self.output, self.shards, self.number_of)
        return TarFiles(self.output, self.shards)

    def settings_of(self, seed: Seed) -> Settings:
        return self.settings.override(seed.overrides)

    def request(self, number: int, attempt: int = 0) -> Request:
        index, sample = self.sample(number)
        seed = self.seeds[index]
        key = request_key(self.rng_seed, seed.id, sample, attempt)
        return self.settings_of(seed).request(key, self.primers[index])

    def line(
        self,
        number: int,
        result: Result,
        *,
        judgement: Judgement | None = None,
        rejected: Sequence[Any] = (),
        is_left_out: bool = False,
    ) -> manifest.Line:
        """A piece's line of the manifest; `rejected` describes the attempts that screening rejected before."""
        index, sample = self.sample(number)
        seed = self.seeds[index]
        origin = {
            "rng_seed": self.rng_seed,
            "bundle": self.bundle,
            "precision": self.precision,
            "dataset": self.dataset,
            "settings": dataclasses.asdict(self.settings_of(seed)),
            "code_version": code_version("job_runtime", "midi_codec", "trainer", "generation_jobs"),
        }
        screening = None
        if judgement is not None:
            screening = {"reasons": list(judgement.reasons), "checks": judgement.checks, "rejected": list(rejected)}
        return manifest.make_line(
            seed_id=seed.id,
            sample=sample,
            path=None if is_left_out else self.path(number),
            salvaged=self.primers.salvaged.get(index),
            primer=self.primers.origins.get(index),
            signatures=piece_bytes.describe_signatures(result.notes, self.primers.signatures[index]),
            result=result,
            origin=origin,
            screening=screening,
        )

    def description(self) -> dict[str, Any]:
        """The content of `job.json`: every task and every restart must agree on it."""
        return {
            "format_version": manifest.FORMAT_VERSION,
            "bundle": self.bundle,
            "seeds": hashlib.sha256(f"{self.seeds_digest} {self.primers.digest}".encode()).hexdigest()[:32],
            "rng_seed": self.rng_seed,
            "samples_per_seed": self.samples_per_seed,
            **dataclasses.asdict(self.settings),
            **self.policy.description(),
            "precision": self.precision,
            "num_samples": self.shards.num_samples,
            "pieces_per_shard": self.shards.pieces_per_shard,
            "layout": "mid" if self.pieces_per_shard is None else "tar",
        }

    @functools.cached_property
    def digest(self) -> str:
        """32 hex digits that identify the job; equal for all its tasks."""
        return hashlib.sha256(json.dumps(self.description(), sort_keys=True).encode()).hexdigest()[:32]

    def copies(self) -> dict[str, Callable[[], bytes]]:
        """What the job read, by path relative to the output: pieces can be traced when the originals are gone."""
        files: dict[str, Callable[[], bytes]] = {
            manifest.SEEDS_FILE: lambda: seed_list.with_notes(
                self.seeds, [self.primers[index] for index in range(len(self.seeds))], self.primers.origins
            )
        }
        screen = self.policy.screen
        if screen is not None and screen.thresholds:
            files[manifest.THRESHOLDS_FILE] = lambda: screen.to_json().encode()
        return files

    def problem_of_line(self, number: int, line: manifest.Line) -> str | None:
        """Why a line cannot belong to this sample of the job; None if it can."""
        index, sample = self.sample(number)
        wanted = {"seed_id": self.seeds[index].id, "sample": sample, "rng_seed": self.rng_seed, "bundle": self.bundle}
        wrong = [f"{name} {line[name]!r}" for name, value in wanted.items() if line[name] != value]
        return f"it has {', '.join(wrong)}" if wrong else None


def request_key(rng_seed: int, seed_id: str, sample: int, attempt: int = 0) -> tuple[int, int]:
    """Two uint32, the key of the random stream for one attempt at a sample."""
    words = [rng_seed, seed_id, sample, *([attempt] if attempt else [])]
    digest = hashlib.sha256(json.dumps(words).encode()).digest()
    return int.from_bytes(digest[:4], "little"), int.from_bytes(digest[4:8], "little")


def with_precision(job: Job, *, writes: bool) -> Job:
    """The job with `auto` decided: by `job.json`, so that all tasks and restarts agree; before, by this processor.

    Args:
      writes: whether the job is started here; if not, nothing is written.
    """
    if job.precision != AUTO:
        return job
    chosen = dataclasses.replace(job, precision=fastest())
    path = storage.join(job.output, manifest.JOB_FILE)
    if writes and storage.write_bytes(path, _to_json(chosen), only_if_absent=True):
        return chosen
    try:
        theirs = json_text.load(path, dict[str, Any]).get("precision", FLOAT32)
    except FileNotFoundError:
        return chosen
    return dataclasses.replace(job, precision=theirs) if theirs in (FLOAT32, BFLOAT16) else chosen


def _to_json(job: Job) -> bytes:
    return f"{json.dumps(job.description(), indent=1)}\n".encode()


def begin(job: Job) -> None:
    """Writes `job.json`, or checks that it is equal; then what the job read, where that is missing.

    Raises:
      UserError: the output was started with other settings; one sentence per difference.
    """
    path = storage.join(job.output, manifest.JOB_FILE)
    if not storage.write_bytes(path, _to_json(job), only_if_absent=True):
        compare(job)
    for name, make in job.copies().items():
        copy = storage.join(job.output, name)
        if not storage.exists(copy):
            storage.write_bytes(copy, make())


def compare(job: Job) -> None:
    """Checks that `job.json` is equal.

    Raises:
      UserError: as `begin`. FileNotFoundError: there is none yet.
    """
    path, mine = storage.join(job.output, manifest.JOB_FILE), job.description()
    theirs = {"precision": FLOAT32, **json_text.load(path, dict[str, Any])}  # jobs of earlier versions do not name it
    if theirs.get("format_version") != mine["format_version"]:
        raise UserError(
            f"--output {job.output!r} was started by another version of this program, which writes job format "
            f"{json_text.shown(theirs.get('format_version'))}; this one writes {mine['format_version']}: "
            "finish the job with that version, or choose another --output"
        )
    problems = [
        f"--output {job.output!r} was started with {name} {json_text.shown(theirs.get(name))}, "
        f"now it is {json_text.shown(mine.get(name))}; "
        "want the same, or another --output"
        for name in [*mine, *(name for name in theirs if name not in mine)]
        if mine.get(name) != theirs.get(name)
    ]
    if problems:
        raise UserError(problems)
