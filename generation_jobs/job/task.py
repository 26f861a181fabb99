"""Making a task's share of a job: what is left to make, making it, and the files that say it is done.

A finished piece is kept at once (`piece_files`); what is there is not made again. When all pieces of a shard are
there, its records and its manifest are written. So a kill at any moment loses only pieces that were not whole, and what
lies in memory is some shards, however many pieces the job has.

A piece that screening rejects is made again with the next pieces, from a stream of its own. A sample that fails (its
file cannot be written) is recorded and does not stop the others; its shard stays open for the next run.
"""

from __future__ import annotations

import collections
import dataclasses
import functools
import json
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

from generation_jobs.job import whole_shards
from generation_jobs.job.background_writes import BackgroundWrites
from generation_jobs.job.job import Job, begin
from generation_jobs.job.piece_keeper import Made, Piece, PieceKeeper, Wanted
from generation_jobs.output import manifest
from generation_jobs.settings.requests import Request, Result
from job_runtime import storage
from job_runtime.command import Interrupted, StopSignal
from job_runtime.logs.progress import Progress, progress

USUAL_WAVE = 8192
MAX_FAILURES_IN_A_ROW = 64  # then nothing can be written any more


class Decoder(Protocol):
    """What is needed of `generation_jobs.decoder.decoder.Decoder`."""

    def generate(self, requests: Sequence[Request]) -> Iterator[tuple[int, Result]]: ...


@dataclasses.dataclass(frozen=True, kw_only=True)
class Summary:
    """Of a task's share, and of what this call made of it.

    `damage` says of each file that a finished shard had lost what was wrong with it.
    """

    num_samples: int
    num_made: int = 0  # the others were there, or failed
    num_notes: int = 0  # generated, rejected attempts too
    num_retries: int = 0
    num_rejected: int = 0  # of those made, the last attempt
    num_failed: int = 0
    seconds: float = 0.0
    damage: Sequence[str] = ()


def run(job: Job, make_decoder: Callable[[], Decoder], stop: StopSignal, *, wave: int = USUAL_WAVE) -> Summary:
    """Makes what is missing of this task's share.

    Args:
      make_decoder: called only when there is something to make.
      wave: how many pieces are asked of the decoder at once.

    Raises:
      UserError: the output belongs to another job. Interrupted: `stop` asked for it.
    """
    begin(job)
    whole_shards.delete_leftovers(job.output)
    share = _Share(job)
    share.find()
    if share.missing:
        share.make(make_decoder(), stop, wave)
    return share.summary()


class _Share:
    """A task's shards, the pieces of those that are not done, and the counts."""

    def __init__(self, job: Job) -> None:
        self._job, self._keeper = job, PieceKeeper(job)
        self._open: dict[int, dict[int, Piece]] = {}  # by shard and number
        self._failed: dict[int, dict[int, str]] = collections.defaultdict(dict)
        self._failures_in_a_row = 0
        self._counts: collections.Counter[str] = collections.Counter()
        self._waiting: collections.deque[Wanted] = collections.deque()
        self._bar: Progress[None]
        self._writes: BackgroundWrites[Made | None]
        self._started = self._seconds = 0.0
        self._damage: list[str] = []
        self.missing: list[int] = []

    def find(self) -> None:
        """Reads what is there of the shards that are not whole, and finishes those that lack no piece."""
        job = self._job
        found = whole_shards.find(job, self._keeper.files)
        for shard in job.shards.of_task(job.task_index, job.num_tasks):
            self._counts["samples"] += len(job.shards.numbers(shard))
            if shard in found.whole:
                self._keeper.files.clear(shard)
                continue
            pieces = self._keeper.read(shard, was_whole=shard in found.damage)
            self._damage += [f"{path} {wrong}" for path, wrong in found.damage.get(shard, {}).items()]
            missing = [number for number in job.shards.numbers(shard) if number not in pieces]
            self.missing += missing
            if missing:
                self._open[shard] = pieces
                if shard in found.damage:  # until it is whole again it does not count as done
                    storage.delete(storage.join(job.output, job.shards.manifest(shard)))
            else:
                self._keeper.finish(shard, pieces)

    def make(self, decoder: Decoder, stop: StopSignal, wave: int) -> None:
        """Generates what is missing, keeps each piece as it is finished, and finishes shards."""
        self._started = time.monotonic()
        self._waiting.extend(map(Wanted, self.missing))
        self._bar = progress(total=len(self._waiting), unit="pieces", label="generating")
        try:
            with self._bar:
                while self._waiting:
                    batch = [self._waiting.popleft() for _ in range(min(wave, len(self._waiting)))]
                    self._make_batch(decoder, batch, stop)
        except KeyboardInterrupt as error:
            whole = self._counts["samples"] - len(self.missing) + self._counts["made"]
            raise Interrupted(f"{whole:,} pieces are whole; start the same command again to continue") from error
        finally:
            self._keeper.files.save(all_of_them=True)
            self._seconds = time.monotonic() - self._started
            self._record_failures()

    def _make_batch(self, decoder: Decoder, batch: Sequence[Wanted], stop: StopSignal) -> None:
        requests = [self._job.request(wanted.number, len(wanted.rejected)) for wanted in batch]
        # left when all of the batch is settled, so that what has to be made again is known
        with BackgroundWrites(self._settle) as self._writes:
            for index, result in decoder.generate(requests):
                self._writes.add(functools.partial(self._keeper.keep, batch[index], result))
                self._keeper.files.save(all_of_them=False)
                if stop.requested:
                    raise KeyboardInterrupt

    def _settle(self, made: Made | None) -> None:
        """Counts what became of a request; None: a shard was finished."""
        if made is None:
            return
        self._counts["notes"] += made.num_notes
        self._bar.note(f"{self._counts['notes'] / max(time.monotonic() - self._started, 1e-9):,.0f} notes a second")
        if made.again is not None:
            self._counts["retries"] += 1
            self._waiting.append(made.again)
            return
        self._bar.update(1)
        shard = self._job.shards.of_sample(made.wanted.number)
        if made.piece is None:
            error = f"{type(made.error).__name__}: {made.error}"
            self._failed[shard][made.wanted.number] = error
            self._failures_in_a_row += 1
            if self._failures_in_a_row >= MAX_FAILURES_IN_A_ROW:
                text = f"{self._failures_in_a_row} pieces one after the other failed: {error}"
                raise RuntimeError(text) from made.error
            return
        self._failures_in_a_row = 0
        self._counts["made"] += 1
        self._counts["rejected"] += made.is_rejected
        self._open[shard][made.wanted.number] = made.piece
        if len(self._open[shard]) == len(self._job.shards.numbers(shard)):
            self._writes.add(functools.partial(self._keeper.finish, shard, self._open.pop(shard)))

    def summary(self) -> Summary:
        counts = self._counts
        return Summary(
            num_samples=counts["samples"],
            num_made=counts["made"],
            num_notes=counts["notes"],
            num_retries=counts["retries"],
            num_rejected=counts["rejected"],
            num_failed=sum(map(len, self._failed.values())),
            seconds=self._seconds,
            damage=self._damage,
        )

    def _record_failures(self) -> None:
        for shard, failures in self._failed.items():
            lines = []
            for number, error in sorted(failures.items()):
                index, sample = self._job.sample(number)
                lines.append(json.dumps({"seed_id": self._job.seeds[index].id, "sample": sample, "error": error}))
            path = storage.join(self._job.output, self._job.shards.failures(shard))
            storage.write_bytes(path, manifest.join_lines(lines))
