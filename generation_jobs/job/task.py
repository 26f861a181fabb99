"""Makes a task's share of a job: finds what is left, makes it, and writes the files that mark it as done.

A finished piece is written at once (`piece_files`); existing pieces are not made again. When all pieces of a shard
exist, its records and its manifest are written. So a kill at any moment loses only unfinished pieces, and memory holds
only a few shards, however many pieces the job has.

A piece that screening rejects is made again in the next batch, from a random stream of its own. A sample that fails
(its file cannot be written) is recorded and does not stop the others; its shard stays open for the next run.
"""

from __future__ import annotations

import collections
import dataclasses
import functools
import itertools
import json
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

from generation_jobs.job import whole_shards
from generation_jobs.job.background_writes import BackgroundWrites
from generation_jobs.job.job import Job, begin
from generation_jobs.job.piece_keeper import Outcome, PendingSample, Piece, PieceKeeper
from generation_jobs.job.time_left import seconds_left
from generation_jobs.output import manifest
from generation_jobs.settings.requests import Request, Result
from job_runtime import storage
from job_runtime.command import Interrupted, StopSignal
from job_runtime.command_line.numerals import counted
from job_runtime.logs.progress import Progress, progress, stage

DEFAULT_BATCH = 8192
MAX_FAILURES_IN_A_ROW = 64  # then the output is assumed to be unwritable


class Decoder(Protocol):
    """The interface of `generation_jobs.decoder.decoder.Decoder` that a task uses."""

    num_slots: int
    num_steps: float

    def prepare(self, requests: Sequence[Request]) -> None: ...

    def generate(self, requests: Sequence[Request]) -> Iterator[tuple[int, Result]]: ...


@dataclasses.dataclass(frozen=True, kw_only=True)
class Summary:
    """A task's share, and what this call made of it.

    `damage` names each damaged or missing file of shards that were done, and says what was wrong with it.
    """

    num_samples: int
    num_made: int = 0  # the others were already there, or failed
    num_notes: int = 0  # generated, including those of rejected attempts
    num_retries: int = 0
    num_rejected: int = 0  # of those made, how many last attempts were rejected
    num_failed: int = 0
    seconds: float = 0.0
    damage: Sequence[str] = ()


def run(job: Job, make_decoder: Callable[[], Decoder], stop: StopSignal, *, batch_size: int = DEFAULT_BATCH) -> Summary:
    """Makes the missing pieces of this task's share.

    Args:
      make_decoder: called only when there is something to make.
      batch_size: how many pieces are requested from the decoder at once.

    Raises:
      UserError: the output belongs to another job. Interrupted: `stop` asked for it.
    """
    begin(job)
    whole_shards.delete_leftovers(job.output)
    share = _Share(job)
    share.find()
    if share.missing:
        share.make(make_decoder(), stop, batch_size)
    return share.summary()


class _Share:
    """A task's shards, the pieces of those that are not done, and the counts."""

    def __init__(self, job: Job) -> None:
        self._job, self._keeper = job, PieceKeeper(job)
        self._open: dict[int, dict[int, Piece]] = {}  # by shard and number
        self._failed: dict[int, dict[int, str]] = collections.defaultdict(dict)
        self._failures_in_a_row = 0
        self._counts: collections.Counter[str] = collections.Counter()
        self._waiting: collections.deque[PendingSample] = collections.deque()
        self._progress: Progress[None]
        self._decoder: Decoder
        self._limit = 0.0  # notes per piece
        self._writes: BackgroundWrites[Outcome | None]
        self._started = self._seconds = 0.0
        self._damage: list[str] = []
        self.missing: list[int] = []

    def find(self) -> None:
        """Reads the existing pieces of the shards that are not whole, and finishes the shards that lack none."""
        job = self._job
        status = whole_shards.find(job, self._keeper.files)
        for shard in job.shards.of_task(job.task_index, job.num_tasks):
            self._counts["samples"] += len(job.shards.numbers(shard))
            if shard in status.whole:
                self._keeper.files.clear(shard)
                continue
            pieces = self._keeper.read(shard, was_whole=shard in status.damage)
            self._damage += [f"{path} {wrong}" for path, wrong in status.damage.get(shard, {}).items()]
            missing = [number for number in job.shards.numbers(shard) if number not in pieces]
            self.missing += missing
            if missing:
                self._open[shard] = pieces
                if shard in status.damage:  # it does not count as done until it is whole again
                    storage.delete(storage.join(job.output, job.shards.manifest(shard)))
            else:
                self._keeper.finish(shard, pieces)

    def make(self, decoder: Decoder, stop: StopSignal, batch_size: int) -> None:
        """Generates what is missing, keeps each piece as it is finished, and finishes shards."""
        self._waiting.extend(map(PendingSample, self.missing))
        first = [self._job.request(pending.number) for pending in itertools.islice(self._waiting, batch_size)]
        with stage("compiling"):
            decoder.prepare(first)
        self._started = time.monotonic()
        self._decoder, self._limit = decoder, sum(request.max_notes for request in first) / len(first)
        self._progress = progress(total=len(self._waiting), unit="pieces", label="generating")
        try:
            with self._progress:
                while self._waiting:
                    batch = [self._waiting.popleft() for _ in range(min(batch_size, len(self._waiting)))]
                    self._make_batch(decoder, batch, stop)
        except KeyboardInterrupt as error:
            whole = self._counts["samples"] - len(self.missing) + self._counts["made"]
            raise Interrupted(f"{whole:,} pieces are whole; start the same command again to continue") from error
        finally:
            self._keeper.files.save(all_of_them=True)
            self._seconds = time.monotonic() - self._started
            self._record_failures()

    def _make_batch(self, decoder: Decoder, batch: Sequence[PendingSample], stop: StopSignal) -> None:
        requests = [self._job.request(pending.number, len(pending.rejected)) for pending in batch]
        # the block ends when the whole batch is settled, so that all retries are known
        with BackgroundWrites(self._settle) as self._writes:
            for index, result in decoder.generate(requests):
                self._writes.add(functools.partial(self._keeper.keep, batch[index], result))
                self._keeper.files.save(all_of_them=False)
                if stop.requested:
                    raise KeyboardInterrupt

    def _settle(self, outcome: Outcome | None) -> None:
        """Records the outcome of a request; None: a shard was finished."""
        if outcome is None:
            return
        self._counts["notes"] += outcome.num_notes
        rate = self._counts["notes"] / max(time.monotonic() - self._started, 1e-9)
        self._progress.note(f"{counted(round(rate), 'note')} per second")
        self._counts["over"] += 1
        self._expect(is_settled=outcome.retry is None)
        if outcome.retry is not None:
            self._counts["retries"] += 1
            self._waiting.append(outcome.retry)
            return
        self._progress.update(1)
        shard = self._job.shards.of_sample(outcome.pending.number)
        if outcome.piece is None:
            error = f"{type(outcome.error).__name__}: {outcome.error}"
            self._failed[shard][outcome.pending.number] = error
            self._failures_in_a_row += 1
            if self._failures_in_a_row >= MAX_FAILURES_IN_A_ROW:
                text = f"{self._failures_in_a_row} pieces in a row failed: {error}"
                raise RuntimeError(text) from outcome.error
            return
        self._failures_in_a_row = 0
        self._counts["made"] += 1
        self._counts["rejected"] += outcome.is_rejected
        self._open[shard][outcome.pending.number] = outcome.piece
        if len(self._open[shard]) == len(self._job.shards.numbers(shard)):
            self._writes.add(functools.partial(self._keeper.finish, shard, self._open.pop(shard)))

    def _expect(self, *, is_settled: bool) -> None:
        seconds = seconds_left(
            num_steps=self._decoder.num_steps,
            num_slots=self._decoder.num_slots,
            seconds=time.monotonic() - self._started,
            num_over=self._counts["over"],
            num_left=len(self.missing) - self._progress.done - is_settled,
            limit=self._limit,
        )
        if seconds is not None:
            self._progress.expect(seconds)

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
