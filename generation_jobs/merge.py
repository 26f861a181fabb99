"""Check a finished generation job whole, and write one manifest of it.

    python -m generation_jobs.merge --output music

Every sample must be there once: its line in the manifest of its shard, its `.mid` file (or the member of its tar) with
the same line and the notes that the line names, its example in the shard's records. Only then `manifest.jsonl` is
written, all lines in the order of the seed list. With --wait-minutes it may be started together with the tasks.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator, Sequence
from typing import Any

from generation_jobs.job import whole_shards
from generation_jobs.output import manifest
from generation_jobs.output.manifest import Line
from generation_jobs.output.piece_files import read_pieces
from generation_jobs.output.shards import MIDI_FOLDER, Shards
from job_runtime import command, storage
from job_runtime.command import Interrupted, StopSignal, UserError
from job_runtime.logs.progress import progress
from job_runtime.problem_report import sentences
from job_runtime.waiting import wait_while_more_come
from midi_codec.dataset import records
from midi_codec.music.notes import TIME_BASES

PROGRAM = "python -m generation_jobs.merge"
MERGED = "manifest.jsonl"
_OF_ONE_FILE = (FileNotFoundError, IsADirectoryError, PermissionError)


def main(argv: Sequence[str]) -> int:
    args = make_parser().parse_args(argv)
    if args.wait_minutes is not None and not 0 <= args.wait_minutes < math.inf:
        raise UserError(f"--wait-minutes is {args.wait_minutes}, want a number from 0")
    with StopSignal() as stop:
        if args.wait_minutes is not None:
            wait(args.output, minutes=args.wait_minutes, stop=stop)
        shards = manifest.require_finished(args.output)
        whole_shards.delete_leftovers(args.output)
        problems = list(problems_of(args.output, shards, stop))
    if problems:
        said = sentences(args.output, [(0, problem) for problem in problems])
        raise UserError([*said, manifest.START_AGAIN])
    parts = [storage.join(args.output, shards.manifest(shard)) for shard in range(len(shards))]
    merged = storage.join(args.output, MERGED)
    storage.write_bytes(merged, b"".join(map(storage.read_bytes, parts)))
    print(f"{shards.num_samples:,} samples, each of them there once: {merged}")
    return command.OK


def make_parser() -> argparse.ArgumentParser:
    parser = command.make_parser(PROGRAM, __doc__)
    parser.add_argument("--output", required=True, help="the --output of the job's tasks")
    parser.add_argument("--wait-minutes", type=float, metavar="X", help="wait until no task has ended for X")
    return parser


def wait(root: str, *, minutes: float, stop: StopSignal) -> None:
    """Waits until every shard is done, or for `minutes` none has come; the job may not have begun yet.

    Raises:
      Interrupted: `stop` asked for it.
    """

    def look() -> tuple[int, bool]:
        try:
            shards = manifest.shards_of(root)
        except UserError:
            return 0, False
        there = len(manifest.shards_there(root, shards))
        return there, there == len(shards)

    wait_while_more_come(look, minutes=minutes, unit="shards", label="waiting for", stop=stop)


def problems_of(root: str, shards: Shards, stop: StopSignal) -> Iterator[str]:
    """All that keeps the output from being whole, shard by shard; at the end, files of no sample.

    Raises:
      Interrupted: `stop` asked for it.
    """
    order = _Order()
    named: set[str] = set()
    is_read = True  # every manifest
    with progress(total=len(shards), unit="shards", label="checking") as bar:
        for shard in range(len(shards)):
            bar.update(1)
            named.add(shards.tar(shard))  # it may hold no piece: all of them left out
            try:
                lines = manifest.read_shard(root, shards, shard)
            except UserError as error:
                yield from error.problems
                order.skip()
                is_read = False
                continue
            wanted = len(shards.numbers(shard))
            if len(lines) != wanted:
                yield f"{shards.manifest(shard)!r} has {len(lines)} lines, want {wanted}"
            yield from order.problems(shards.manifest(shard), lines)
            yield from _problems_of_files(root, lines)
            yield from _problems_of_records(storage.join(root, shards.records(shard)), lines)
            named.update(line["path"].partition("!")[0] for line in lines if line["path"] is not None)
            if stop.requested:
                raise Interrupted("start the same command again")
    if not is_read:
        return
    folder = storage.join(root, MIDI_FOLDER)
    try:
        for entry in storage.list_files(f"{folder}/"):
            if entry.path[len(folder) - len(MIDI_FOLDER) :] not in named:
                yield f"{entry.path!r} is no sample of this job"
    except FileNotFoundError:
        pass


class _Order:
    """Whether lines come in the order of a list: the samples of each seed together, from 0 on, and no seed twice."""

    def __init__(self) -> None:
        self._seeds: set[str] = set()
        self._last: tuple[str, int] | None = None
        self._origin: dict[str, Any] = {}
        self._is_after_gap = False

    def skip(self) -> None:
        """Lines are missing here that another problem speaks of."""
        self._is_after_gap = True

    def problems(self, name: str, lines: Sequence[Line]) -> Iterator[str]:
        for place, line in enumerate(lines, start=1):
            seed_id, sample = line["seed_id"], line["sample"]
            follows = self._last == (seed_id, sample - 1)
            if not (follows or self._is_after_gap) and (sample != 0 or seed_id in self._seeds):
                last = "the first of a seed"
                if self._last is not None:
                    last = f"sample {self._last[1] + 1} of {self._last[0]!r} or the first of another seed"
                yield f"{name!r}, line {place} is sample {sample} of {seed_id!r}, want {last}"
            self._seeds.add(seed_id)
            self._last = seed_id, sample
            self._is_after_gap = False
            for key in ("bundle", "dataset", "rng_seed"):
                if line[key] != self._origin.setdefault(key, line[key]):
                    yield f"{name!r}, line {place} has {key} {line[key]!r}, want {self._origin[key]!r} as before"


def _problems_of_files(root: str, lines: Sequence[Line]) -> Iterator[str]:
    kept = [line for line in lines if line["path"] is not None]
    try:
        for line, data in zip(kept, read_pieces(root, [line["path"] for line in kept]), strict=True):
            problem = _problem_of_file(storage.join(root, line["path"]), line, data)
            if problem:
                yield problem
    except UserError as error:  # a whole archive
        yield from error.problems
    except _OF_ONE_FILE as error:
        yield f"{error.filename!r} cannot be read: {error.strerror}"


def _problem_of_file(path: str, line: Line, data: bytes | OSError) -> str | None:
    if isinstance(data, FileNotFoundError):
        return f"{path!r} does not exist, but a manifest names it"
    if isinstance(data, OSError):
        return f"{path!r} cannot be read: {data}"
    problem = ""
    for time_base in TIME_BASES:  # the notes tell which: their hash is in the line
        try:
            inside, _ = manifest.parse_piece(data, time_base=time_base)
        except ValueError as error:
            problem = str(error)
            continue
        return None if inside == line else f"{path!r} holds another line than its manifest"
    return f"{path!r} is damaged: {problem}"


def _problems_of_records(path: str, lines: Sequence[Line]) -> Iterator[str]:
    """Records that are not the pieces of their manifest, in its order."""
    want = [line["piece_id"] for line in lines if line["path"] is not None and line["num_notes"]]
    try:
        examples = list(records.read_records(storage.read_bytes(path)))
        found = [records.split_features(example)["piece_id"].decode() for example in examples]
    except (*_OF_ONE_FILE, ValueError) as error:
        yield f"{path!r} cannot be read: {error}"
        return
    if len(found) != len(want):
        yield f"{path!r} holds {len(found)} examples, want {len(want)}"
    elif found != want:
        yield f"{path!r} holds other pieces than its manifest"


if __name__ == "__main__":
    command.exit_process(command.run(PROGRAM, main))
