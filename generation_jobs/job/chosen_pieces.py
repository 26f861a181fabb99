"""Makes some pieces of a job again, without the rest of it: the same bytes as in the job.

    OUTPUT/midi/<seed_id>/<seed_id>-00003.mid      nothing else is written

In a folder of its own, a file that is there is replaced. If OUTPUT belongs to a job, it must be the same one, and a
file that is there must have the same bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from generation_jobs.job.job import Job, compare
from generation_jobs.job.piece_keeper import PendingSample, PieceKeeper
from generation_jobs.job.task import Decoder
from generation_jobs.output.piece_files import ChosenFiles, loose_path
from job_runtime.logs.progress import stage


def parse(names: Sequence[str], job: Job) -> tuple[list[int], list[str]]:
    """The numbers of the samples with these names, `SEED:SAMPLE`, each once; then what is wrong with the others."""
    numbers, problems = dict[int, None](), []
    for name in names:
        seed_id, _, text = name.rpartition(":")
        if not (seed_id and text.isascii() and text.isdecimal() and len(text) < 10):
            problems.append(f"--only is {name!r}, want SEED:SAMPLE, such as {job.seeds[0].id}:0")
        elif (number := job.number_of(seed_id, int(text))) is not None:
            numbers[number] = None
        elif job.number_of(seed_id, 0) is None:
            problems.append(f"--only is {name!r}, but the list has no seed {seed_id!r}")
        else:
            problems.append(f"--only is {name!r}, but seed {seed_id!r} has samples 0 to {job.num_samples(seed_id) - 1}")
    return list(numbers), problems


def make(job: Job, numbers: Sequence[int], make_decoder: Callable[[], Decoder]) -> Iterator[tuple[int, str | None]]:
    """Makes these samples; yields the number and the path of each, None if screening leaves it out.

    Raises:
      UserError: the output belongs to another job, or has another piece. OSError: a file cannot be written.
    """
    is_of_job = True
    try:
        compare(job)
    except FileNotFoundError:
        is_of_job = False
    keeper = PieceKeeper(job, ChosenFiles(job.output, job.shards, job.number_of, replace=not is_of_job))
    decoder, waiting = make_decoder(), [PendingSample(number) for number in numbers]
    with stage("compiling"):
        decoder.prepare([job.request(number) for number in numbers])
    while waiting:
        batch, waiting = waiting, []
        for index, result in decoder.generate([job.request(each.number, len(each.rejected)) for each in batch]):
            outcome = keeper.keep(batch[index], result)
            if outcome.error is not None:
                raise outcome.error
            if outcome.retry is not None:
                waiting.append(outcome.retry)
            if outcome.piece is not None:
                seed, sample = job.sample(outcome.piece.number)
                yield outcome.piece.number, outcome.piece.path and loose_path(job.seeds[seed].id, sample)
