"""How a set of generated music compares with a corpus, and with what the corpus reaches against itself.

    python -m generation_jobs.evaluate --music music --data dataset
    python -m generation_jobs.evaluate --music music --data dataset --screen thresholds.json --output evaluation.json

A table for people, then one line of JSON (or the JSON in --output, with each piece's own figures). Generated notes are
compared with the train split; the ceiling is what --split reaches against it. docs/evaluate_music.md says more.
"""

from __future__ import annotations

import argparse
import itertools
import json
from collections.abc import Iterator, Sequence
from typing import Any

from generation_jobs.measures import corpus_comparison
from generation_jobs.measures.corpus_comparison import Comparison
from generation_jobs.measures.music_measures import Part, measures
from generation_jobs.memorisation.corpus_index import Index
from generation_jobs.output import generated_music
from generation_jobs.output.generated_music import GeneratedPiece
from generation_jobs.screening import thresholds
from generation_jobs.screening.thresholds import Screen
from job_runtime import command, storage
from midi_codec.dataset import dataset_info
from midi_codec.dataset.dataset_info import DatasetInfo

FORMAT_VERSION = 1
MAX_CORPUS_PIECES = 2000  # of a split; shards are ordered by hash, so the first ones are a fair sample
FLOOR = 0.9  # of the ceiling: what counts as reached
DECIMALS = 6


def main(argv: Sequence[str]) -> int:
    args = _parse_args(argv)
    info, screen = _check(args)
    pieces = generated_music.read(args.music, time_base=info.time_base)
    comparisons = compare(pieces, args.data, info, args.split)
    found = {
        "format_version": FORMAT_VERSION,
        "music": args.music,
        "bundles": sorted({str(piece.line["bundle"]) for piece in pieces}),
        "dataset": info.hash,
        "split": args.split,
        "num_pieces": len(pieces),
        "num_notes_generated": sum(piece.num_generated for piece in pieces),
        "measures": [describe(comparison) for comparison in comparisons],
        "screening": _screen(pieces, screen, args.data, info, args.split) if screen else None,
    }
    print("\n".join(table(comparisons, args.split)))
    if found["screening"]:
        print("\n".join(_screening_lines(found["screening"], args.split)))
    if args.output:
        figures = list(piece_figures(pieces, info.time_base))
        storage.write_bytes(args.output, (json.dumps(found | {"pieces": figures}, indent=1) + "\n").encode())
        print(args.output)
    else:
        print(json.dumps(found))
    return command.OK


def _parse_args(argv: Sequence[str]) -> argparse.Namespace:
    parser = command.make_parser("python -m generation_jobs.evaluate", __doc__)
    parser.add_argument("--music", required=True, help="output folder of generation_jobs.generate")
    parser.add_argument("--data", required=True, help="dataset to compare with, as encode_corpus wrote it")
    splits = dataset_info.SPLITS[1:]
    parser.add_argument("--split", choices=splits, default="validation", help="the ceiling's part (%(default)s)")
    parser.add_argument("--screen", help="thresholds that generation_jobs.screening wrote (default: no screening)")
    parser.add_argument("--index", help="of generation_jobs.memorisation: with --screen, copied notes count (do not)")
    parser.add_argument("--output", help="JSON file to write, with each piece's figures (standard output)")
    return parser.parse_args(argv)


def _check(args: argparse.Namespace) -> tuple[DatasetInfo, Screen | None]:
    """Raises UserError with every mistake in the flags and the files they name."""
    problems: list[str] = []
    info, index, screen = None, None, None
    if args.output:
        problems += storage.output_problems("--output", args.output, is_file=True)
    try:
        info = dataset_info.load(args.data)
        if not info.splits["train"].num_pieces:
            problems.append(f"--data {args.data!r} has no piece in its train split, want some to compare with")
    except command.UserError as error:
        problems += error.problems
    if args.index and not args.screen:
        problems.append("--index is given without --screen, want both or neither")
    try:
        index = Index.load(args.index) if args.index else None
    except command.UserError as error:
        problems += [f"--index: {problem}" for problem in error.problems]
    try:
        screen = thresholds.load(args.screen, index) if args.screen else None
    except command.UserError as error:
        problems += [f"--screen: {problem}" for problem in error.problems]
    if info and screen and screen.time_base != info.time_base:
        problems.append(f"--screen is on the grid of {screen.time_base}, --data on that of {info.time_base}, want one")
    if problems or info is None:
        raise command.UserError(problems)
    return info, screen


def compare(pieces: Sequence[GeneratedPiece], data: str, info: DatasetInfo, split: str) -> list[Comparison]:
    """Generated notes beside the train split, and `split` for the ceiling; both are cut like the generated pieces.

    Measures with nothing to count on either side (drums, where there are none) are left out.
    """
    shapes = [(piece.num_given, len(piece.notes)) for piece in pieces if piece.num_generated]
    found = corpus_comparison.compare(
        [Part(piece.notes, piece.num_given) for piece in pieces],
        _parts(data, info, "train", shapes),
        _parts(data, info, split, shapes),
        time_base=info.time_base,
    )
    return [comparison for comparison in found if comparison.generated is not None or comparison.corpus is not None]


def parts(data: str, info: DatasetInfo, pieces: Sequence[GeneratedPiece], split: str = "train") -> Iterator[Part]:
    """The pieces of a split, cut like the generated ones."""
    return _parts(data, info, split, [(piece.num_given, len(piece.notes)) for piece in pieces if piece.num_generated])


def _parts(data: str, info: DatasetInfo, split: str, shapes: Sequence[tuple[int, int]]) -> Iterator[Part]:
    notes = itertools.islice(thresholds.read_notes(data, info, split, "comparing"), MAX_CORPUS_PIECES)
    return corpus_comparison.cut_alike(notes, shapes)


def describe(comparison: Comparison) -> dict[str, Any]:
    """A comparison's figures as JSON has them; histograms are left to the report."""
    ceiling = comparison.ceiling
    return {
        "name": comparison.measure.name,
        "overlap": _rounded(comparison.overlap),
        "wasserstein_bins": _rounded(comparison.wasserstein),
        "kl_nats": _rounded(comparison.kl),
        "overlap_of_ceiling": _rounded(comparison.of_ceiling),
        "ceiling": ceiling
        and {
            "overlap": _rounded(ceiling.overlap),
            "overlap_interval": [_rounded(value) for value in ceiling.interval],
            "wasserstein_bins": _rounded(ceiling.wasserstein),
            "kl_nats": _rounded(ceiling.kl),
        },
    }


def piece_figures(pieces: Sequence[GeneratedPiece], time_base: str) -> Iterator[dict[str, Any]]:
    """One figure a measure for each piece, to sort by; None where a piece has nothing to measure."""
    chosen = measures(time_base)
    for piece in pieces:
        part = Part(piece.notes, piece.num_given)
        figures = {measure.name: _rounded(measure.piece_figure(part)) for measure in chosen}
        yield {"seed_id": piece.line["seed_id"], "sample": piece.line["sample"], **figures}


def table(comparisons: Sequence[Comparison], split: str) -> Iterator[str]:
    """Lines of text; a star marks an overlap below the floor."""
    titles = ("overlap", "ceiling", "95 %", "of it", "wasserstein", "ceiling", "kl", "ceiling")
    yield f"{'':<16}" + "".join(f"{title:>13}" for title in titles)
    for comparison in comparisons:
        ceiling, share = comparison.ceiling, comparison.of_ceiling
        interval = "" if ceiling is None else f"{ceiling.interval[0]:.3f}-{ceiling.interval[1]:.3f}"
        mark = "*" if share is not None and share < FLOOR else ""
        cells = (
            _cell(comparison.overlap), _cell(ceiling.overlap if ceiling else None), interval, _cell(share) + mark,
            _cell(comparison.wasserstein), _cell(ceiling.wasserstein if ceiling else None),
            _cell(comparison.kl), _cell(ceiling.kl if ceiling else None),
        )  # fmt: skip
        yield f"{comparison.measure.name:<16}" + "".join(f"{cell:>13}" for cell in cells)
    yield f"ceiling: the {split} split against the train split; * below {FLOOR} of it; wasserstein in bins, kl in nats"


def _screen(
    pieces: Sequence[GeneratedPiece], screen: Screen, data: str, info: DatasetInfo, split: str
) -> dict[str, dict[str, float]]:
    """Shares of rejects: of the generated pieces, and of the corpus's own, whole and cut like them."""
    shapes = [(piece.num_given, len(piece.notes)) for piece in pieces if piece.num_generated]
    corpus = list(itertools.islice(thresholds.read_notes(data, info, split), MAX_CORPUS_PIECES))
    alike = corpus_comparison.cut_alike(corpus, shapes)
    generated = [screen.judge_notes(p.notes, p.num_given, ended=bool(p.line["ended"])) for p in pieces]
    return {
        "generated": thresholds.reject_shares(generated),
        "corpus": thresholds.reject_shares([screen.judge_notes(notes, 0, ended=True) for notes in corpus]),
        "corpus_cut_alike": thresholds.reject_shares(
            [screen.judge_notes(part.notes, part.num_given, ended=False) for part in alike]
        ),
    }


def _screening_lines(shares: dict[str, dict[str, float]], split: str) -> Iterator[str]:
    names = {"generated": "generated", "corpus": f"{split}", "corpus_cut_alike": f"{split}, cut alike"}
    for key, title in names.items():
        found = shares[key]
        reasons = ", ".join(f"{name} {100 * share:.1f} %" for name, share in found.items() if name != "any")
        yield f"rejected of {title}: {100 * found.get('any', 0):.1f} %{f' ({reasons})' if reasons else ''}"


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, DECIMALS)


def _cell(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


if __name__ == "__main__":
    command.exit_process(command.run("python -m generation_jobs.evaluate", main))
