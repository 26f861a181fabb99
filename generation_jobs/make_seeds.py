"""Writes a seed list of the openings of a dataset's pieces, of held-out pieces by default.

    python -m generation_jobs.make_seeds --data dataset --num-seeds 64 --num-notes 16 --output seeds.jsonl

Pieces are taken in the order of a hash of their `piece_id`: the same dataset gives the same list, and a longer list
begins with the shorter one. The list contains the notes, so it does not need the dataset; with --by-piece-id it names
the pieces instead, for `generate --seed-data`. An --output that ends in .csv is written as CSV.
"""

from __future__ import annotations

import hashlib
import heapq
import re
import sys
from collections.abc import Iterable, Sequence

from generation_jobs.seeds import seed_list
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


def main(argv: Sequence[str]) -> int:
    args, problems = _make_parser().parse(argv)
    problems += storage.output_problems("--output", args.output, is_file=True)
    info = None
    with command.collecting(problems):
        info = dataset_info.load(args.data) if args.data else None
    source = None
    try:
        source = None if args.source_regex is None else re.compile(args.source_regex)
    except re.error as error:
        problems.append(f"--source-regex is {args.source_regex!r}: {error}; want a regular expression")
    if problems or info is None:
        raise UserError(problems)
    pieces = read_split(args.data, info, args.split)
    if source is not None:
        pieces = (piece for piece in pieces if source.search(piece.source))
    seeds = choose(
        pieces,
        num_seeds=args.num_seeds,
        num_notes=args.num_notes,
        by_piece_id=args.by_piece_id,
    )
    if not seeds:
        matching = "" if source is None else f" whose source matches {args.source_regex!r}"
        raise UserError(
            f"the {args.split} split of {args.data!r} has no piece of {args.num_notes} notes or more{matching}"
        )
    seed_list.write(args.output, seeds)
    print(f"{len(seeds):,} seeds of {args.num_notes} notes in {args.output}")
    if len(seeds) < args.num_seeds:
        print(
            f"no more pieces of the {args.split} split are long enough; asked for {args.num_seeds:,}",
            file=sys.stderr,
        )
    return command.OK


def choose(pieces: Iterable[Piece], *, num_seeds: int, num_notes: int, by_piece_id: bool = False) -> list[Seed]:
    """The openings of the first long enough pieces in the order of their hash."""
    openings = (
        (_rank(piece.piece_id), piece.piece_id, piece.source, piece.notes.take(slice(num_notes)))
        for piece in pieces
        if len(piece.notes) >= num_notes
    )
    chosen = heapq.nsmallest(num_seeds, openings, key=lambda opening: opening[:2])
    if by_piece_id:
        return [
            Seed(id=make_id(source, piece_id), piece_id=piece_id, num_notes=num_notes)
            for _, piece_id, source, _ in chosen
        ]
    return [
        Seed(id=make_id(source, piece_id), notes=InlineNotes.from_notes(notes), tempo=notes.tempo)
        for _, piece_id, source, notes in chosen
    ]


def _make_parser() -> Parser:
    parser = command.make_parser("python -m generation_jobs.make_seeds", __doc__)
    add = parser.add_argument
    add("--data", required=True, help="dataset folder, as encode_corpus wrote it")
    add("--output", required=True, help="seed list to write")
    add(
        "--split",
        choices=dataset_info.SPLITS,
        default="validation",
        help="split to take pieces from (default: %(default)s)",
    )
    add("--source-regex", help="only pieces whose source matches this regular expression (default: all)")
    add_number(parser, "--num-seeds", 64, "most seeds to write", at_least=1)
    add("--by-piece-id", action="store_true", help="name the pieces instead of including their notes")
    add_number(parser, "--num-notes", 16, "notes per opening; shorter pieces are skipped", at_least=1)
    return parser


def _rank(piece_id: str) -> bytes:
    return hashlib.sha256(f"make_seeds {piece_id}".encode()).digest()


if __name__ == "__main__":
    command.exit_process(command.run("python -m generation_jobs.make_seeds", main))
