"""Check a finished generation job whole, and write one manifest for all its tasks.

    python -m generation_jobs.merge --output music

Every sample must be there once: its line in one task's manifest, its `.mid` file with the same line and the notes
that the line names, its example in the task's records. Only then `manifest.jsonl` is written, the lines of all tasks
sorted by seed and sample. With --wait-minutes it may be started together with the tasks.
"""

from __future__ import annotations

import argparse
import collections
import concurrent.futures
import math
from collections.abc import Iterator, Sequence

from generation_jobs import manifest
from generation_jobs.manifest import Line
from generation_jobs.problem_report import sentences
from midi_codec import command, records, storage
from midi_codec.command import Interrupted, StopSignal, UserError
from midi_codec.notes import TIME_BASES
from midi_codec.progress import progress
from midi_codec.waiting import wait_while_more_come

PROGRAM = "python -m generation_jobs.merge"
MERGED = "manifest.jsonl"
NUM_READERS = 8  # files read at once: in a bucket a read is mostly waiting


def main(argv: Sequence[str]) -> int:
    args = make_parser().parse_args(argv)
    if args.wait_minutes is not None and not 0 <= args.wait_minutes < math.inf:
        raise UserError(f"--wait-minutes is {args.wait_minutes}, want a number from 0")
    with StopSignal() as stop:
        if args.wait_minutes is not None:
            wait(args.output, minutes=args.wait_minutes, stop=stop)
        lines = manifest.read(args.output)
        problems = [*problems_of_lines(args.output, lines), *problems_of_files(args.output, lines, stop)]
        problems += problems_of_records(args.output, lines)
    if problems:
        raise UserError(sentences(args.output, [(0, problem) for problem in problems]))
    manifest.write(storage.join(args.output, MERGED), map(manifest.dumps, lines))
    print(f"{len(lines):,} pieces, each of them there once: {storage.join(args.output, MERGED)}")
    return command.OK


def make_parser() -> argparse.ArgumentParser:
    parser = command.make_parser(PROGRAM, __doc__)
    parser.add_argument("--output", required=True, help="the --output of the job's tasks")
    parser.add_argument("--wait-minutes", type=float, metavar="X", help="wait until no task has ended for X")
    return parser


def wait(root: str, *, minutes: float, stop: StopSignal) -> None:
    """Waits until every task's manifest is there, or for `minutes` none has come; the job may not have begun yet.

    Raises:
      Interrupted: `stop` asked for it.
    """

    def look() -> tuple[int, bool]:
        try:
            names = manifest.task_manifests(root)
        except UserError:
            return 0, False
        there = sum(storage.exists(storage.join(root, name)) for name in names)
        return there, there == len(names)

    wait_while_more_come(look, minutes=minutes, unit="tasks", label="waiting for", stop=stop)


def problems_of_lines(root: str, lines: Sequence[Line]) -> Iterator[str]:
    """Samples that are not there once, or of another job than the rest."""
    samples = collections.Counter((line["seed_id"], line["sample"]) for line in lines)
    for (seed_id, sample), count in samples.items():
        if count > 1:
            yield f"sample {sample} of {seed_id!r} is there {count} times, want once"
    highest: dict[str, int] = {}
    for seed_id, sample in samples:
        highest[seed_id] = max(sample, highest.get(seed_id, 0))
    for seed_id, last in highest.items():
        for sample in range(last):
            if (seed_id, sample) not in samples:
                yield f"sample {sample} of {seed_id!r} is missing"
    for name in ("bundle", "dataset", "rng_seed"):
        values = list(dict.fromkeys(line[name] for line in lines))
        if len(values) > 1:
            yield f"lines have several values of {name}, want one: {', '.join(map(repr, values[:3]))}"
    num_tasks = len(manifest.task_manifests(root))
    sizes = [len(manifest.read_task(root, index, num_tasks)) for index in range(num_tasks)]
    want = [len(range(index, sum(sizes), num_tasks)) for index in range(num_tasks)]
    for index, (size, wanted) in enumerate(zip(sizes, want, strict=True)):
        if size != wanted:
            yield f"{manifest.manifest_name(index, num_tasks)} has {size} lines, want {wanted} of {sum(sizes)}"


def problems_of_files(root: str, lines: Sequence[Line], stop: StopSignal) -> Iterator[str]:
    """Pieces without a whole file of their own, and files of no piece.

    Raises:
      Interrupted: `stop` asked for it.
    """
    with concurrent.futures.ThreadPoolExecutor(NUM_READERS) as pool:
        found = pool.map(lambda line: _problem_of_file(root, line), lines)
        for problem in progress(found, total=len(lines), unit="pieces", label="checking"):
            if problem:
                yield problem
            if stop.requested:
                pool.shutdown(wait=False, cancel_futures=True)
                raise Interrupted("start the same command again")
    named = {storage.join(root, line["path"]) for line in lines}
    folder = storage.join(root, manifest.MIDI_FOLDER)
    try:
        there = {entry.path for entry in storage.list_files(f"{folder}/")}
    except FileNotFoundError:
        there = set()
    for path in sorted(there - named):
        yield f"{path!r} is no sample of this job"


def _problem_of_file(root: str, line: Line) -> str | None:
    path = storage.join(root, line["path"])
    try:
        data = storage.read_bytes(path)
    except FileNotFoundError:
        return f"{path!r} does not exist, but a manifest names it"
    problem = ""
    for time_base in TIME_BASES:  # the notes tell which: their hash is in the line
        try:
            inside, _ = manifest.parse_piece(data, time_base=time_base)
        except ValueError as error:
            problem = str(error)
            continue
        return None if inside == line else f"{path!r} holds another line than its task's manifest"
    return f"{path!r} is damaged: {problem}"


def problems_of_records(root: str, lines: Sequence[Line]) -> Iterator[str]:
    """Tasks whose records are not the pieces of their manifest."""
    num_tasks = len(manifest.task_manifests(root))
    for index in range(num_tasks):
        path = storage.join(root, manifest.records_name(index, num_tasks))
        want = sum(line["num_notes"] > 0 for line in manifest.read_task(root, index, num_tasks))
        try:
            found = sum(1 for _ in records.read_records(storage.read_bytes(path)))
        except (FileNotFoundError, ValueError) as error:
            yield f"{path!r} cannot be read: {error}"
            continue
        if found != want:
            yield f"{path!r} holds {found} examples, want {want}"


if __name__ == "__main__":
    command.exit_process(command.run(PROGRAM, main))
