"""Estimates a job without writing anything: how many pieces exist, how many are left, how long and how large.

The estimate comes from pieces that the job would really make, a sample spread evenly over the task's share. Their first
notes give the time per step, and so how many notes can be tried in a few seconds; the pieces of so many notes give the
time per step again, the notes per piece and the bytes per piece. A piece that is longer than what is tried counts as
long as its limit allows, so the estimate errs on the high side.
"""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from generation_jobs.job import whole_shards
from generation_jobs.job.job import Job, compare
from generation_jobs.job.piece_keeper import PieceKeeper
from generation_jobs.job.task import Decoder
from generation_jobs.output import manifest, piece_bytes
from generation_jobs.settings.requests import Request, Result
from job_runtime.command_line.numerals import counted, sized
from job_runtime.logs.progress import stage

TRIED_SECONDS = 4.0  # of decoding, at most, unless a few notes take longer
FIRST_NOTES = 32  # of each piece, to find the time per step
MOST_TRIED_NOTES = 512


@dataclasses.dataclass(frozen=True, kw_only=True)
class Trial:
    """What was measured on some pieces that the task has to make. Sizes are means per piece, in bytes."""

    num_pieces: int
    num_cut: int  # pieces that were longer than what is tried
    start_seconds: float  # until the decoder was ready
    step_seconds: float  # one note in every slot
    notes: float  # mean per piece, including the primer's
    longest: int  # notes of the longest piece
    midi_bytes: float
    record_bytes: float
    line_bytes: float


def left_to_make(job: Job) -> np.ndarray:
    """`[n]` int64, ascending: the samples of this task that a run would still have to make.

    Raises:
      UserError: the output belongs to another job, or holds a foreign file where a piece belongs.
    """
    with contextlib.suppress(FileNotFoundError):
        compare(job)
    shards, keeper = job.shards, PieceKeeper(job)
    status = whole_shards.find(job, keeper.files)
    left: list[np.ndarray] = [np.zeros(0, np.int64)]
    for shard in shards.of_task(job.task_index, job.num_tasks):
        if shard in status.whole:
            continue
        numbers = shards.numbers(shard)
        finished = keeper.read(shard, was_whole=shard in status.damage)
        left.append(np.setdiff1d(np.arange(numbers.start, numbers.stop), list(finished), assume_unique=True))
    return np.concatenate(left)


def measure(
    job: Job,
    left: np.ndarray,
    make_decoder: Callable[[], Decoder],
    *,
    num_slots: int,
    clock: Callable[[], float] = time.monotonic,
) -> Trial | None:
    """Makes some of the pieces that are left and measures them; None when nothing is left."""
    count = min(len(left), num_slots)
    if not count:
        return None
    samples = [int(left[index * len(left) // count]) for index in range(count)]
    requests = [job.request(sample) for sample in samples]
    started = clock()
    decoder = make_decoder()
    with stage("compiling"):
        decoder.prepare(requests)
    ready = clock()
    with stage(f"measuring {count:,} pieces"):
        results, step_seconds = _try(decoder, requests, FIRST_NOTES, clock)
        limit = min(int(TRIED_SECONDS / max(step_seconds, 1e-9)), MOST_TRIED_NOTES)
        if limit > FIRST_NOTES and not all(result.ended for result in results.values()):
            results, step_seconds = _try(decoder, requests, limit, clock)
    return _trial(job, samples, requests, results, start_seconds=ready - started, step_seconds=step_seconds)


def _try(
    decoder: Decoder, requests: Sequence[Request], limit: int, clock: Callable[[], float]
) -> tuple[dict[int, Result], float]:
    """The pieces, of at most `limit` generated notes, and the seconds that a note in every slot took."""
    tried = [
        dataclasses.replace(request, max_notes=min(request.max_notes, limit), steer_end=False) for request in requests
    ]
    started = clock()
    results = dict(decoder.generate(tried))
    seconds = clock() - started
    steps = max(_num_generated(result) + bool(result.ended) for result in results.values())
    return results, seconds / max(steps, 1)


def _num_generated(result: Result) -> int:
    return len(result.notes) - result.num_primer_notes


def _trial(
    job: Job,
    samples: Sequence[int],
    requests: Sequence[Request],
    results: dict[int, Result],
    *,
    start_seconds: float,
    step_seconds: float,
) -> Trial:
    lengths, midi_bytes, record_bytes, line_bytes, num_cut = [], 0.0, 0.0, 0.0, 0
    for index, result in results.items():
        num_notes, generated = len(result.notes), _num_generated(result)
        limit = requests[index].max_notes
        is_cut = not result.ended and generated < limit and requests[index].max_seconds is None
        num_cut += is_cut
        lengths.append(result.num_primer_notes + limit if is_cut else num_notes)
        line = job.line(samples[index], result)
        scale = lengths[-1] / max(num_notes, 1)
        midi_bytes += len(piece_bytes.serialize_midi(line, result.notes)) * scale
        record_bytes += len(piece_bytes.serialize_example(line, result.notes)) * scale if num_notes else 0
        line_bytes += len(manifest.dumps(line)) + 1
    count = len(results)
    return Trial(
        num_pieces=count,
        num_cut=num_cut,
        start_seconds=start_seconds,
        step_seconds=step_seconds,
        notes=sum(lengths) / count,
        longest=max(lengths),
        midi_bytes=midi_bytes / count,
        record_bytes=record_bytes / count,
        line_bytes=line_bytes / count,
    )


def decode_seconds(trial: Trial, *, num_pieces: int, num_slots: int) -> float:
    """How long this many pieces take: slots are refilled, so only the last pieces leave some of them empty."""
    return trial.step_seconds * max((trial.notes + 1) * num_pieces / num_slots, trial.longest + 1)


def describe(job: Job, left: np.ndarray, trial: Trial | None, *, num_slots: int) -> Iterator[str]:
    """The estimate as lines of text; `left` and `trial` are from the functions above."""
    counts = [job.samples_per_seed if seed.num_samples is None else seed.num_samples for seed in job.seeds]
    total, own = sum(counts), len(job.share())
    tasks = f", {own:,} in this task of {job.num_tasks:,}" if job.num_tasks > 1 else ""
    yield f"dry run, nothing is written: {counted(total, 'piece')} of {counted(len(counts), 'seed')}{tasks}"
    if len(left) < own:
        yield f"{own - len(left):,} already made, {len(left):,} left to make"
    if trial is None:
        return
    cut = f", {trial.num_cut:,} of them cut short and counted at their limit" if trial.num_cut else ""
    notes = f"{trial.notes:,.0f} notes per piece, including its primer"
    yield f"measured on {counted(trial.num_pieces, 'piece')}{cut}: {notes}"
    seconds = decode_seconds(trial, num_pieces=len(left), num_slots=num_slots)
    subject = "the rest" if len(left) < own else "this task" if job.num_tasks > 1 else "the job"
    rate = f"{len(left) / max(seconds, 1e-9):,.1f} pieces per second with {num_slots:,} slots"
    yield f"on this machine {subject} takes {_time(trial.start_seconds + seconds)}: " + (
        f"{_time(trial.start_seconds)} until the decoder is ready, then {_time(seconds)}, {rate}"
    )
    kinds = {"MIDI files": trial.midi_bytes, "records": trial.record_bytes, "manifests": trial.line_bytes}
    sizes = ", ".join(f"{name} {sized(size * total)}" for name, size in kinds.items())
    yield f"all {counted(total, 'piece')} together take about {sized(sum(kinds.values()) * total)}: {sizes}"


def _time(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02d} min"
