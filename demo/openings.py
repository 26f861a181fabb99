"""Make a seed list of held-out openings: the first notes of pieces that training never saw.

    python -m demo.openings --data run/dataset --corpus run/corpus --output run/seeds.jsonl --num-pieces 64

Every seed gets the same number of samples; together they make `--num-pieces` pieces.
"""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Iterator, Sequence

from generation_jobs import seed_list
from generation_jobs.seed_list import Seed
from midi_codec import command, dataset_info, records, storage
from midi_codec.command import UserError

PROGRAM = "python -m demo.openings"
HELD_OUT = ("test", "validation")
MOST_SEEDS_SHARE = 2  # at most one seed for two pieces: a second continuation shows how far chance goes


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(
        prog=PROGRAM, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    add = parser.add_argument
    add("--data", required=True, metavar="FOLDER", help="the dataset")
    add("--corpus", required=True, metavar="FOLDER", help="the folder that sources are relative to")
    add("--output", required=True, metavar="FILE", help="the seed list to write")
    add("--num-pieces", type=int, default=64, help="pieces to be generated from it (%(default)s)")
    add("--num-notes", type=int, default=16, help="notes of an opening (%(default)s)")
    args = parser.parse_args(argv)
    problems = [
        f"--{name.replace('_', '-')} is {getattr(args, name)}, want at least 1"
        for name in ("num_pieces", "num_notes")
        if getattr(args, name) < 1
    ]
    if problems:
        raise UserError(problems)
    sources = list(held_out_sources(args.data, longer_than=args.num_notes))
    seeds = make_seeds(
        sources,
        corpus=os.path.relpath(args.corpus, os.path.dirname(args.output)) if "://" not in args.corpus else args.corpus,
        num_pieces=args.num_pieces,
        num_notes=args.num_notes,
    )
    seed_list.write(args.output, seeds)
    samples = seeds[0].num_samples
    print(f"{len(seeds)} openings of held-out pieces in {args.output}, {samples} samples each")
    return command.OK


def held_out_sources(data: str, *, longer_than: int) -> Iterator[str]:
    """Paths of held-out pieces with more notes than that; test pieces first, as validation chose the model."""
    info = dataset_info.load(data)
    for split in HELD_OUT:
        for path in dataset_info.shard_paths(data, info, split):
            for piece in records.read_pieces(path, time_base=info.time_base):
                if len(piece.notes) > longer_than:
                    yield piece.source


def make_seeds(sources: Sequence[str], *, corpus: str, num_pieces: int, num_notes: int) -> list[Seed]:
    """As many openings as divide `num_pieces` evenly; one seed without a primer where nothing is held out."""
    if not sources:
        return [Seed(id="silence", num_samples=num_pieces)]
    most = max(1, min(len(sources), num_pieces // MOST_SEEDS_SHARE))
    count = next(count for count in range(most, 0, -1) if num_pieces % count == 0)
    names = unique_names(sources[:count])
    return [
        Seed(id=name, midi=storage.join(corpus, source), num_notes=num_notes, num_samples=num_pieces // count)
        for name, source in zip(names, sources, strict=False)
    ]


def unique_names(sources: Sequence[str]) -> list[str]:
    """Seed ids from file names: ASCII letters, digits, `-`, `_` and `.`, no two alike in any case."""
    names: list[str] = []
    taken: set[str] = set()
    for source in sources:
        stem = source.rpartition("/")[2].rpartition(".")[0]
        name = base = re.sub(r"[^A-Za-z0-9._-]+", "-", stem).strip("-.")[:80] or "piece"
        number = 2
        while name.casefold() in taken:
            name, number = f"{base}-{number}", number + 1
        taken.add(name.casefold())
        names.append(name)
    return names


if __name__ == "__main__":
    command.exit_process(command.run(PROGRAM, main))
