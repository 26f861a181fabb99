"""Writes a seed list of excerpts of a dataset's pieces, of held-out pieces by default.

    python -m generation_jobs.make_seeds --data dataset --num-seeds 500 --num-notes 16 --output seeds.jsonl

First come the openings of the pieces, in the order of a hash of their `piece_id`; if there are too few, a second
excerpt of each piece, then a third. Excerpts of a piece begin after its longest waits, where phrases begin, and do not
overlap. The same dataset gives the same list, and a longer list begins with the shorter one. The list contains the
notes, so it does not need the dataset; with --by-piece-id it names the pieces instead, for `generate --seed-data`. An
--output that ends in .csv is written as CSV.
"""

from __future__ import annotations

import argparse
import hashlib
import heapq
import itertools
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from generation_jobs.seeds import excerpts, seed_list
from generation_jobs.seeds.inline_notes import InlineNotes
from generation_jobs.seeds.seed_folder import make_id
from generation_jobs.seeds.seed_record import Seed
from job_runtime import command, storage
from job_runtime.command_line.flags import Parser
from job_runtime.command_line.settings import add_number
from job_runtime.problem_report import UserError
from midi_codec.dataset import dataset_info
from midi_codec.dataset.records import Piece
from midi_codec.dataset.split_reader import read_split
from trainer import box_model


class Choice(NamedTuple):
    """The seeds, and how many pieces they could be taken from."""

    seeds: list[Seed]
    num_pieces: int
    num_long_enough: int


def main(argv: Sequence[str]) -> int:
    args, problems = make_parser().parse(argv)
    problems += storage.output_problems("--output", args.output, is_file=True)
    info = None
    with command.collecting(problems):
        if args.data:
            args.data = box_model.resolve_data(args.data, None)
            info = dataset_info.load(args.data)
    source = None
    try:
        source = None if args.source_regex is None else re.compile(args.source_regex)
    except re.error as error:
        problems.append(f"--source-regex is {args.source_regex!r}: {error}; want a regular expression")
    splits = _splits(args.split, problems)
    if problems or info is None:
        raise UserError(problems)
    pieces: Iterable[Piece] = itertools.chain.from_iterable(read_split(args.data, info, split) for split in splits)
    if source is not None:
        pieces = (piece for piece in pieces if source.search(piece.source))
    chosen = choose(
        pieces,
        num_seeds=args.num_seeds,
        num_notes=args.num_notes,
        max_per_piece=args.max_per_piece,
        dataset=info.hash,
        by_piece_id=args.by_piece_id,
    )
    if not chosen.seeds:
        matching = "" if source is None else f" whose source matches {args.source_regex!r}"
        raise UserError(f"{_named(splits)} of {args.data!r}: no piece of {args.num_notes} notes or more{matching}")
    seed_list.write(args.output, chosen.seeds)
    print(f"{len(chosen.seeds):,} seeds of {args.num_notes} notes in {args.output}")
    if len(chosen.seeds) < args.num_seeds:
        print(_why_fewer(args, splits, chosen), file=sys.stderr)
    return command.OK


def choose(
    pieces: Iterable[Piece],
    *,
    num_seeds: int,
    num_notes: int,
    max_per_piece: int | None = None,
    dataset: str | None = None,
    by_piece_id: bool = False,
) -> Choice:
    """The openings of the first long enough pieces in the order of their hash, then further excerpts of them.

    Args:
      num_seeds: at most so many.
      num_notes: of each.
      max_per_piece: excerpts of one piece; None: as many as it takes.
      dataset: its hash, for the seeds' origin.
      by_piece_id: name the pieces instead of including notes.
    """
    num_pieces = num_long_enough = 0

    def long_enough() -> Iterator[Piece]:
        nonlocal num_pieces, num_long_enough
        for piece in pieces:
            num_pieces += 1
            if len(piece.notes) >= num_notes:
                num_long_enough += 1
                yield piece

    ordered = heapq.nsmallest(num_seeds, long_enough(), key=lambda piece: (_rank(piece.piece_id), piece.piece_id))
    places = [[0]] * len(ordered)
    if len(ordered) < num_seeds and max_per_piece != 1:
        places = [excerpts.places(piece.notes.start, num_notes)[:max_per_piece] for piece in ordered]
    ranks = [(turn, index) for index, firsts in enumerate(places) for turn in range(len(firsts))]
    seeds = [
        _seed(ordered[index], places[index][turn], num_notes, dataset, by_piece_id)
        for turn, index in sorted(ranks)[:num_seeds]
    ]
    return Choice(seeds, num_pieces, num_long_enough)


def _seed(piece: Piece, first: int, num_notes: int, dataset: str | None, by_piece_id: bool) -> Seed:
    name = make_id(piece.source, piece.piece_id) + (f"-n{first}" if first else "")
    if by_piece_id:
        return Seed(id=name, piece_id=piece.piece_id, from_note=first, num_notes=num_notes)
    notes = piece.notes.take(slice(first, first + num_notes)).from_first_onset()
    source = piece.source.encode("utf-8", "backslashreplace").decode()  # file names may be any bytes
    origin: dict[str, str | int] = {
        "piece_id": piece.piece_id,
        "source": source,
        "from_note": first,
        "num_notes": num_notes,
    }
    if dataset is not None:
        origin["dataset"] = dataset
    inline, last = InlineNotes.from_notes(notes), int(notes.start[-1])
    signatures = notes.signatures.until(last)
    return Seed(id=name, notes=inline, tempo=notes.tempo, signatures=signatures, origin=origin)


def _splits(given: Sequence[str] | None, problems: list[str]) -> list[str]:
    """The splits of `--split`, each once, in the order of the dataset."""
    names = [name for text in given or ["validation"] for name in text.split(",")]
    problems += [
        f"--split is {name!r}, want some of {', '.join(dataset_info.SPLITS)}, separated by commas"
        for name in dict.fromkeys(names)
        if name not in dataset_info.SPLITS
    ]
    return [split for split in dataset_info.SPLITS if split in names]


def _named(splits: Sequence[str]) -> str:
    return f"the {' and '.join(splits)} split{'s' * (len(splits) > 1)}"


def _why_fewer(args: argparse.Namespace, splits: Sequence[str], chosen: Choice) -> str:
    """Why there are fewer seeds than asked for, and what would give more."""
    pieces = f"{chosen.num_pieces:,} piece{'s' * (chosen.num_pieces != 1)}"
    matching = "" if args.source_regex is None else f" whose source matches {args.source_regex!r}"
    too_short = chosen.num_pieces - chosen.num_long_enough
    short = f", {too_short:,} of them shorter than {args.num_notes} notes" if too_short else ""
    limit = "" if args.max_per_piece is None else f", at most {args.max_per_piece:,} per piece"
    want = [] if len(splits) == len(dataset_info.SPLITS) else ["more splits in --split"]
    want.append("a lower --num-notes")
    if args.max_per_piece is not None:
        want.append("a higher --max-per-piece")
    return (
        f"asked for {args.num_seeds:,} seeds, made {len(chosen.seeds):,}: in {_named(splits)} there are "
        f"{pieces}{matching}{short}, and excerpts do not overlap{limit}; want {' or '.join(want)}"
    )


def make_parser() -> Parser:
    parser = command.make_parser("python -m generation_jobs.make_seeds", __doc__)
    add = parser.add_argument
    add("--data", required=True, help="a dataset folder, as encode_corpus wrote it; box: that of the model in the box")
    add("--output", required=True, help="a seed list to write")
    text = "splits to take pieces from, separated by commas; may be repeated (default: validation)"
    add("--split", action="append", metavar="SPLIT", help=text)
    add("--source-regex", help="only pieces whose source matches this regular expression (default: all)")
    add_number(parser, "--num-seeds", 64, "most seeds to write", at_least=1)
    add_number(parser, "--max-per-piece", None, "most excerpts of a piece (default: as many as it takes)", at_least=1)
    add("--by-piece-id", action="store_true", help="name the pieces instead of including their notes")
    add_number(parser, "--num-notes", 16, "notes per excerpt; shorter pieces are skipped", at_least=1)
    return parser


def _rank(piece_id: str) -> bytes:
    return hashlib.sha256(f"make_seeds {piece_id}".encode()).digest()


if __name__ == "__main__":
    command.exit_process(command.run("python -m generation_jobs.make_seeds", main))
