"""Checks a finished generation job completely, and writes one manifest for it.

    python -m generation_jobs.merge --output music

Every sample must exist exactly once: its line in the manifest of its shard, its `.mid` file (or the member of its tar)
with the same line and the notes that the line names, and its example in the shard's records. Only then is
`manifest.jsonl` written, with all lines in the order of the seed list. With --wait-minutes the command may be started
together with the tasks. --select takes the list of kept pieces that the report exports, and also writes
`selected.jsonl`, with the lines of these pieces. --export parquet also writes the pieces as Parquet files with a
data-set card, in the folder `parquet` of the output unless --export-to names another; docs/build_a_dataset.md says what
is in it.
"""

from __future__ import annotations

import argparse
import array
import hashlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from generation_jobs.job import whole_shards
from generation_jobs.output import manifest, music_export, piece_bytes, selection
from generation_jobs.output.manifest import Line
from generation_jobs.output.piece_files import read_pieces
from generation_jobs.output.shards import MIDI_FOLDER, Shards
from job_runtime import command, storage
from job_runtime.command import Interrupted, StopSignal
from job_runtime.command_line.flags import Parser, group_of
from job_runtime.command_line.numerals import counted
from job_runtime.command_line.settings import add_number
from job_runtime.logs.progress import progress
from job_runtime.problem_report import UserError, sentences
from job_runtime.waiting import wait_while_more_come
from midi_codec.dataset import records
from midi_codec.music.notes import TIME_BASES
from midi_codec.parquet import export

PROGRAM = "python -m generation_jobs.merge"
MERGED = "manifest.jsonl"
SELECTED = "selected.jsonl"
_OF_ONE_FILE = (FileNotFoundError, IsADirectoryError, PermissionError)


def main(argv: Sequence[str]) -> int:
    args, in_flags = make_parser().parse(argv)
    export_to = args.export_to or storage.join(args.output or "", "parquet")
    if problems := [*in_flags, *_export_problems(args, export_to)]:
        raise UserError(problems)
    with StopSignal() as stop:
        if args.wait_minutes is not None:
            wait(args.output, minutes=args.wait_minutes, stop=stop)
        shards = manifest.require_finished(args.output)
        whole_shards.delete_leftovers(args.output)
        chosen = _chosen(args.output, args.select, shards) if args.select else None
        problems = list(problems_of(args.output, shards, stop))
    if problems:
        raise UserError([*sentences(args.output, [(0, problem) for problem in problems]), manifest.START_AGAIN])
    paths = [storage.join(args.output, shards.manifest(shard)) for shard in range(len(shards))]
    merged = storage.join(args.output, MERGED)
    storage.write_parts(merged, map(storage.read_bytes, paths))
    print(f"{shards.num_samples:,} samples, each exactly once: {merged}")
    if chosen is not None:
        selected = storage.join(args.output, SELECTED)
        lines = (line for number, line in enumerate(manifest.stream(args.output)) if chosen[number])
        storage.write_parts(selected, (manifest.join_lines([manifest.dumps(line)]) for line in lines))
        print(f"{counted(int(chosen.sum()), 'piece')} selected: {selected}")
    if args.export:
        name = export.title(args.name, args.export_to or args.output)
        with StopSignal() as stop:
            splits = music_export.write(
                args.output, shards, export_to, name=name, license=args.license, chosen=chosen, stop=stop
            )
        print(export.describe(export_to, splits))
    return command.OK


def _chosen(root: str, select: str, shards: Shards) -> np.ndarray:
    """`[samples]` bool: which a list selects."""
    with progress(manifest.stream(root), total=shards.num_samples, unit="lines", label="selecting") as lines:
        numbers = selection.select(select, lines)
    chosen = np.zeros(max(shards.num_samples, *(number + 1 for number in numbers)), bool)
    chosen[numbers] = True
    return chosen


def _export_problems(args: argparse.Namespace, export_to: str) -> Iterator[str]:
    if args.export:
        yield from export.problems("--export-to", export_to, args.license, args.name)
        return
    for flag, value in (("--export-to", args.export_to), ("--license", args.license), ("--name", args.name)):
        if value is not None:
            yield f"{flag} is given without --export, want both or neither"


def make_parser() -> Parser:
    parser = command.make_parser(PROGRAM, __doc__)
    parser.add_argument("--output", required=True, help="the --output of the job's tasks")
    parser.add_argument(
        "--select",
        metavar="LIST",
        help="also write selected.jsonl with the pieces of this list, as the report exports it (default: no list)",
    )
    add_number(
        parser,
        "--wait-minutes",
        None,
        "wait for the tasks until no shard has been finished for X minutes",
        kind=float,
        at_least=0,
    )
    add = group_of(parser, export.CARD).add_argument
    add("--export", choices=["parquet"], help="also write the pieces, or the selected ones, for other programs")
    add("--export-to", metavar="FOLDER", help="folder of the export, which replaces an earlier one (default: parquet)")
    export.add_flags(parser)
    return parser


def wait(root: str, *, minutes: float, stop: StopSignal) -> None:
    """Waits until every shard is done, or none was finished for `minutes`; the job need not have started yet.

    Raises:
      Interrupted: `stop` asked for it.
    """

    def count_done() -> tuple[int, bool]:
        try:
            shards = manifest.shards_of(root)
        except UserError:
            return 0, False
        num_done = len(manifest.finished_shards(root, shards))
        return num_done, num_done == len(shards)

    wait_while_more_come(count_done, minutes=minutes, unit="shards", label="waiting for", stop=stop)


def problems_of(root: str, shards: Shards, stop: StopSignal) -> Iterator[str]:
    """All that is wrong with the output, shard by shard; at the end, files that belong to no sample.

    Raises:
      Interrupted: `stop` asked for it.
    """
    order = _Order()
    grids = list(TIME_BASES)
    named = array.array("Q")  # digests: a million names would take 170 MB
    all_read = True  # every manifest could be read
    with progress(total=len(shards), unit="shards", label="checking") as bar:
        for shard in range(len(shards)):
            bar.update(1)
            named.append(_digest(shards.tar(shard)))  # it may hold no piece, if all were left out
            try:
                lines = manifest.read_shard(root, shards, shard)
            except UserError as error:
                yield from error.problems
                order.skip()
                all_read = False
                continue
            num_samples = len(shards.numbers(shard))
            if len(lines) != num_samples:
                yield f"{shards.manifest(shard)!r} has {len(lines)} lines, want {num_samples}"
            yield from order.problems(shards.manifest(shard), lines)
            yield from _problems_of_files(root, lines, grids)
            yield from _problems_of_records(storage.join(root, shards.records(shard)), lines)
            names = {line["path"].partition("!")[0] for line in lines if line["path"] is not None}
            named.extend(map(_digest, names))
            if stop.requested:
                raise Interrupted("start the same command again")
    if not all_read:
        return
    yield from _strangers(root, np.unique(np.frombuffer(named, np.uint64)))


def _strangers(root: str, named: np.ndarray) -> Iterator[str]:
    """Files that belong to no sample; `named`: the digests of those that do, ascending."""
    folder = storage.join(root, MIDI_FOLDER)
    for entry in storage.list_files(f"{folder}/", missing_ok=True):
        digest = np.uint64(_digest(entry.path[len(folder) - len(MIDI_FOLDER) :]))
        at = int(np.searchsorted(named, digest))
        if at == len(named) or named[at] != digest:
            yield f"{entry.path!r} is not a sample of this job"


def _digest(name: str) -> int:
    data = hashlib.blake2b(name.encode("utf-8", "surrogateescape"), digest_size=8).digest()
    return int.from_bytes(data, "little")


class _Order:
    """Checks that lines are in the order of a seed list: each seed's samples together, from 0 up, and no seed twice."""

    def __init__(self) -> None:
        self._seeds: set[str] = set()
        self._last: tuple[str, int] | None = None
        self._origin: dict[str, Any] = {}
        self._is_after_gap = False

    def skip(self) -> None:
        """Some lines are missing here; another problem has reported that."""
        self._is_after_gap = True

    def problems(self, name: str, lines: Sequence[Line]) -> Iterator[str]:
        for number, line in enumerate(lines, start=1):
            seed_id, sample = line["seed_id"], line["sample"]
            follows = self._last == (seed_id, sample - 1)
            if not (follows or self._is_after_gap) and (sample != 0 or seed_id in self._seeds):
                last = "the first of a seed"
                if self._last is not None:
                    last = f"sample {self._last[1] + 1} of {self._last[0]!r} or the first of another seed"
                yield f"{name!r}, line {number} is sample {sample} of {seed_id!r}, want {last}"
            self._seeds.add(seed_id)
            self._last = seed_id, sample
            self._is_after_gap = False
            for key in ("bundle", "dataset", "rng_seed"):
                if line[key] != self._origin.setdefault(key, line[key]):
                    yield f"{name!r}, line {number} has {key} {line[key]!r}, want {self._origin[key]!r} as before"


def _problems_of_files(root: str, lines: Sequence[Line], grids: list[str]) -> Iterator[str]:
    kept = [line for line in lines if line["path"] is not None]
    try:
        files = list(read_pieces(root, [line["path"] for line in kept]))
        intact = _are_intact(files, kept, grids)
        for line, data, is_intact in zip(kept, files, intact, strict=True):
            problem = None if is_intact else _problem_of_file(storage.join(root, line["path"]), line, data)
            if problem:
                yield problem
    except UserError as error:  # an archive is damaged
        yield from error.problems
    except _OF_ONE_FILE as error:
        yield f"{error.filename!r} cannot be read: {error.strerror}"


def _are_intact(files: Sequence[bytes | OSError], lines: Sequence[Line], grids: list[str]) -> list[bool]:
    """Whether each file is as its line says; on any of the grids, of which the right one comes first afterwards."""
    data = [b"" if isinstance(each, OSError) else each for each in files]
    for grid in list(grids):
        intact = piece_bytes.are_intact(data, lines, time_base=grid)
        if any(intact):
            grids.sort(key=lambda each: each != grid)
            return intact
    return [False] * len(files)


def _problem_of_file(path: str, line: Line, data: bytes | OSError) -> str | None:
    if isinstance(data, FileNotFoundError):
        return f"{path!r} does not exist, but a manifest names it"
    if isinstance(data, OSError):
        return f"{path!r} cannot be read: {data}"
    problem = ""
    for time_base in TIME_BASES:  # the hash of the notes, in the line, tells which
        try:
            inside, _ = piece_bytes.parse_midi(data, time_base=time_base)
        except ValueError as error:
            problem = str(error)
            continue
        return None if inside == line else f"{path!r} holds a line that differs from its manifest"
    remedy = f"; delete it, and generate --only {line['seed_id']}:{line['sample']} with the job's flags makes it again"
    return f"{path!r} is damaged: {problem}{'' if '!' in line['path'] else remedy}"


def _problems_of_records(path: str, lines: Sequence[Line]) -> Iterator[str]:
    """Whether the records are the pieces of their manifest, in its order."""
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
        yield f"{path!r} holds pieces that differ from its manifest"


if __name__ == "__main__":
    command.exit_process(command.run(PROGRAM, main))
