"""What generated music has copied from a dataset, and what its pieces have in common with one another.

    python -m generation_jobs.compare --music music --data dataset
    python -m generation_jobs.compare --music music --data dataset --index train.index --output copied.json

For each piece the longest run of generated notes that the training split has too, in any key, a little off in time or
not; beside it the same of --split, whose pieces nobody copied. A table for people, then one line of JSON (or the JSON
in --output, with every piece). docs/memorisation.md says more.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import json
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from generation_jobs.measures import corpus_comparison
from generation_jobs.memorisation import corpus_index
from generation_jobs.memorisation.corpus_index import Copied, Index
from generation_jobs.memorisation.duplicates import exact_groups, shared_runs
from generation_jobs.output import generated_music
from generation_jobs.output.generated_music import GeneratedPiece
from job_runtime import command, storage
from job_runtime.logs.progress import progress
from midi_codec.dataset import dataset_info
from midi_codec.dataset.dataset_info import DatasetInfo
from midi_codec.music.notes import MILLISECONDS, TICKS_PER_BEAT, TICKS_PER_SECOND

FORMAT_VERSION = 1
MAX_REFERENCE_PIECES = 2000  # of a split; shards are ordered by hash, so the first ones are a fair sample
NUM_WORST = 20  # pieces listed
NUM_PRINTED = 5  # of those
QUANTILES = {"median": 0.5, "90 %": 0.9, "99 %": 0.99, "longest": 1.0}
THRESHOLD_QUANTILE = 0.999  # of the reference; an observed length
NEAR_SHARE = 0.5  # of a piece: a shared run of so much of it makes it a near-duplicate


def main(argv: Sequence[str]) -> int:
    args = _parse_args(argv)
    info, index = _check(args)
    pieces = generated_music.read(args.music, time_base=info.time_base)
    index = index or corpus_index.build(args.data, info)
    reference = list(reference_runs(index, args.data, info, args.split, pieces))
    found, figures = compare(pieces, index, reference)
    found = {
        "format_version": FORMAT_VERSION,
        "music": args.music,
        "bundles": sorted({str(piece.line["bundle"]) for piece in pieces}),
        "dataset": info.hash,
        "time_base": info.time_base,
        "split": args.split,
    } | found
    print("\n".join(table(found)))
    if args.output:
        storage.write_bytes(args.output, (json.dumps(found | {"pieces": figures}, indent=1) + "\n").encode())
        print(args.output)
    else:
        print(json.dumps(found))
    return command.OK


def _parse_args(argv: Sequence[str]) -> argparse.Namespace:
    parser = command.make_parser("python -m generation_jobs.compare", __doc__)
    parser.add_argument("--music", required=True, help="output folder of generation_jobs.generate")
    parser.add_argument("--data", required=True, help="dataset to compare with, as encode_corpus wrote it")
    parser.add_argument("--compare-with", dest="data", help=argparse.SUPPRESS)  # the name in earlier versions
    parser.add_argument("--index", help="index that generation_jobs.memorisation wrote for it (default: build one)")
    splits = dataset_info.SPLITS[1:]
    parser.add_argument(
        "--split", choices=splits, default="validation", help="split to compare the same way (%(default)s)"
    )
    parser.add_argument("--output", help="JSON file to write, with every piece (standard output)")
    return parser.parse_args(argv)


def _check(args: argparse.Namespace) -> tuple[DatasetInfo, Index | None]:
    """Raises UserError with every mistake in the flags and the files they name."""
    problems: list[str] = []
    info, index = None, None
    if args.output:
        problems += storage.output_problems("--output", args.output, is_file=True)
    try:
        info = dataset_info.load(args.data)
        if not info.splits["train"].num_pieces:
            problems.append(f"--data {args.data!r} has no piece in its train split, want some")
    except command.UserError as error:
        problems += [f"--data: {problem}" for problem in error.problems]
    try:
        index = Index.load(args.index) if args.index else None
    except command.UserError as error:
        problems += [f"--index: {problem}" for problem in error.problems]
    if info and index and index.dataset != info.hash:
        problems.append(f"--index is of dataset {index.dataset}, --data is {info.hash}, want one dataset")
    if problems or info is None:
        raise command.UserError(problems)
    return info, index


def compare(
    pieces: Sequence[GeneratedPiece], index: Index, reference: Sequence[Copied]
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The figures of all pieces together, and those of each."""
    parts = (index.longest_run(piece.notes, piece.num_given) for piece in pieces)
    runs = list(progress(parts, total=len(pieces), unit="pieces", label="comparing"))
    limit = threshold(reference)
    shared, alike = duplicates(pieces, index.time_base, limit)
    figures = []
    for piece, run, other in zip(pieces, runs, shared, strict=True):
        mutual = {"num_notes": other.num_notes, "with": other.piece_id, "transposition": other.transposition}
        name = {"seed_id": piece.line["seed_id"], "sample": piece.line["sample"], "path": _path(piece)}
        figures.append(name | dataclasses.asdict(run) | {"shared": mutual})
    found = {
        "num_pieces": len(pieces),
        "generated": quantiles(runs),
        "reference": {"num_pieces": len(reference), **quantiles(reference)},
        "threshold_notes": limit,
        "num_above_threshold": None if limit is None else sum(run.num_notes > limit for run in runs),
        "worst": sorted(figures, key=lambda figure: -figure["num_notes"])[:NUM_WORST],
        "duplicates": alike,
    }
    return found, figures


def reference_runs(
    index: Index, data: str, info: DatasetInfo, split: str, pieces: Sequence[GeneratedPiece]
) -> Iterator[Copied]:
    """What pieces of a split share with the index, when they are cut like the generated ones."""
    shapes = [(piece.num_given, len(piece.notes)) for piece in pieces if piece.num_generated]
    found = itertools.islice(corpus_index.read_pieces(data, info, split, "reference"), MAX_REFERENCE_PIECES)
    parts = corpus_comparison.cut_alike((piece.notes for piece in found), shapes) if shapes else iter(())
    return (index.longest_run(part.notes, part.num_given) for part in parts)


def quantiles(runs: Sequence[Copied]) -> dict[str, int | None]:
    """Of the lengths in notes, each an observed one; None where there is no run."""
    lengths = [run.num_notes for run in runs]
    if not lengths:
        return dict.fromkeys(QUANTILES)
    return {name: int(np.quantile(lengths, level, method="higher")) for name, level in QUANTILES.items()}


def threshold(reference: Sequence[Copied]) -> int | None:
    """The longest run that is no copy: the 99.9 % quantile of the reference, an observed length; None without any."""
    lengths = [run.num_notes for run in reference]
    return int(np.quantile(lengths, THRESHOLD_QUANTILE, method="higher")) if lengths else None


def duplicates(
    pieces: Sequence[GeneratedPiece], time_base: str, limit: int | None
) -> tuple[list[Copied], dict[str, Any]]:
    """Each piece's longest run in common with another, and what that comes to.

    A near-duplicate has half of its notes or more in that run, and more of them than `limit`.
    """
    generated = [piece.notes.take(slice(piece.num_given, None)).from_first_onset() for piece in pieces]
    names = [_path(piece) for piece in pieces]
    runs = shared_runs(generated, names, time_base=time_base)
    shared = list(progress(runs, total=len(pieces), unit="pieces", label="duplicates"))
    exact = [[names[row] for row in group] for group in exact_groups(generated)]
    near: list[dict[str, Any]] = [
        {"path": name, "with": run.piece_id, "num_notes": run.num_notes, "transposition": run.transposition}
        for name, run, notes in zip(names, shared, generated, strict=True)
        if run.num_notes > (limit or 0) and run.num_notes >= NEAR_SHARE * len(notes)
    ]
    near.sort(key=lambda figure: -figure["num_notes"])
    found = {"exact": exact[:NUM_WORST], "num_exact_groups": len(exact), "num_exact_pieces": sum(map(len, exact))}
    return shared, found | {"near": near[:NUM_WORST], "num_near_pieces": len(near), "runs": quantiles(shared)}


def table(found: dict[str, Any]) -> Iterator[str]:
    """Lines of text."""
    split, reference, alike = found["split"], found["reference"], found["duplicates"]
    yield f"{'longest run in notes':<28}{'pieces':>10}" + "".join(f"{name:>10}" for name in QUANTILES)
    for title, counts, row in (
        ("generated, in train", found["num_pieces"], found["generated"]),
        (f"{split}, in train", reference["num_pieces"], reference),
        ("generated, in one another", found["num_pieces"], alike["runs"]),
    ):
        cells = ("-" if row[name] is None else row[name] for name in QUANTILES)
        yield f"{title:<28}{counts:>10,}" + "".join(f"{cell:>10}" for cell in cells)
    limit = found["threshold_notes"]
    if limit is None:
        yield f"no threshold: the {split} split has no piece to compare"
    else:
        above = found["num_above_threshold"]
        yield f"pieces with a run of more than {limit} notes (the 99.9 % quantile of {split}): {above:,}"
    for figure in found["worst"][:NUM_PRINTED]:
        if figure["num_notes"]:
            yield _sentence(figure, found["time_base"])
    exact, groups, near = (alike[f"num_{name}"] for name in ("exact_pieces", "exact_groups", "near_pieces"))
    yield f"exact duplicates: {exact:,} pieces in {groups:,} groups; near-duplicates: {near:,} pieces"
    for figure in alike["near"][:NUM_PRINTED]:
        yield f"  {figure['path']}: {figure['num_notes']} notes are in {figure['with']}{_key(figure['transposition'])}"


def _sentence(figure: dict[str, Any], time_base: str) -> str:
    unit, name = (TICKS_PER_SECOND, "s") if time_base == MILLISECONDS else (TICKS_PER_BEAT, "beats")
    return (
        f"  {figure['path']}: {figure['num_notes']} notes from note {figure['at_note']} on are in {figure['source']} "
        f"from note {figure['from_note']} ({figure['from_tick'] / unit:.1f} {name}) on{_key(figure['transposition'])}"
    )


def _key(transposition: int) -> str:
    return f", {transposition:+d} semitones" if transposition else ""


def _path(piece: GeneratedPiece) -> str:
    return str(piece.line["path"])


if __name__ == "__main__":
    command.exit_process(command.run("python -m generation_jobs.compare", main))
