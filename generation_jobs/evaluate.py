"""Compares generated music with a corpus, and shows how well the corpus matches itself.

    python -m generation_jobs.evaluate --music music --data dataset
    python -m generation_jobs.evaluate --music music --data dataset --screen thresholds.json --output evaluation.json
    python -m generation_jobs.evaluate --music music --data dataset --discriminator

Prints a table, then one line of JSON (or writes the JSON to --output, with each piece's figures). Generated notes are
compared with the train split; the ceiling is what --split reaches against it. docs/evaluate_music.md says more.
"""

from __future__ import annotations

import argparse
import collections
import itertools
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from generation_jobs import corpus_command
from generation_jobs.measures import corpus_comparison, discriminator, diversity, endings
from generation_jobs.measures.corpus_comparison import Comparison, Looks, cut_alike
from generation_jobs.measures.discriminator import Told, Windows
from generation_jobs.measures.diversity import Patterns
from generation_jobs.measures.endings import Endings
from generation_jobs.measures.music_doubts import doubts
from generation_jobs.output import generated_music
from generation_jobs.output.generated_music import (
    MAX_CORPUS_PIECES,
    GeneratedPiece,
    Overview,
    corpus_notes,
    corpus_pieces,
    shapes_of,
)
from job_runtime import command
from job_runtime.command_line.flags import Parser
from job_runtime.problem_report import UserError
from job_runtime.spool import Spool
from midi_codec.dataset.dataset_info import DatasetInfo
from midi_codec.measures import thresholds
from midi_codec.measures.music_measures import measures
from midi_codec.measures.thresholds import Screen
from midi_codec.music.notes import Notes
from trainer import box_model

PROGRAM = "python -m generation_jobs.evaluate"
FLOOR = 0.9  # of the ceiling; a lower overlap gets a star
DECIMALS = 6


def main(argv: Sequence[str]) -> int:
    args = make_parser().parse_args(argv)
    info, screen = _check(args)
    pieces = [list(corpus_pieces(args.data, info, split)) for split in ("train", args.split)]
    train, held_out = ([piece.notes for piece in corpus] for corpus in pieces)
    overview, looks = Overview(), Looks(measures(info.time_base))
    ended = Endings(endings.shortest(train))
    judged: collections.Counter[tuple[str, ...]] = collections.Counter()
    figures = Spool[dict[str, Any]]()
    windows = Windows() if args.discriminator else None
    patterns = Patterns()
    for piece in generated_music.stream(args.music, time_base=info.time_base):
        overview.add(piece)
        if windows and windows.num_added < MAX_CORPUS_PIECES:
            windows.add(f"{piece.line['seed_id']}:{piece.line['sample']}", piece.part)
        if overview.num_pieces <= MAX_CORPUS_PIECES:
            patterns.add(piece.part)
        row = zip(looks.chosen, looks.add(piece.part), strict=True)
        if args.output:
            named = {"seed_id": piece.line["seed_id"], "sample": piece.line["sample"]}
            figures.append(named | {measure.name: _rounded(figure) for measure, figure in row})
        if piece.line["ended"] is True:
            ended.add(piece.notes)
        else:
            ended.add_cut()
        if screen:
            judged[_judge(screen, piece)] += 1
    told = discriminator.compare(windows, overview.shapes, *pieces) if windows else None
    comparisons = compare_looks(looks, overview.shapes, train, held_out)
    result = corpus_command.describe(args, info, overview) | {
        "num_pieces": overview.num_pieces,
        "num_notes_generated": overview.num_generated,
        "measures": [describe(comparison) for comparison in comparisons],
        "endings": _compare_endings(overview.ways, ended, train, held_out),
        "distinct_patterns": diversity.compare(patterns, cut_alike(train, overview.shapes)),
        "screening": _reject_shares(judged, overview.shapes, screen, held_out) if screen else None,
        "discriminator": told.to_json() if isinstance(told, Told) else told,
    }
    lines = [
        *table(comparisons, args.split),
        *_means_table(comparisons, args.split),
        *_ending_lines(result["endings"], args.split),
        *diversity.lines(result["distinct_patterns"]),
        *_screening_lines(result["screening"], args.split),
        *_discriminator_lines(told, args.split),
        *doubts(comparisons, is_box=all(map(box_model.has, result["bundles"]))),
    ]
    corpus_command.write(args, lines, result, _with_scores(figures, told))
    return command.OK


def make_parser() -> Parser:
    index_help = (
        "index that generation_jobs.memorisation wrote, for --screen: also check for copied notes (default: no check)"
    )
    parser = corpus_command.make_parser(PROGRAM, __doc__, index_help=index_help)
    parser.add_argument(
        "--screen", help="thresholds that generation_jobs.screening wrote, or box (default: no screening)"
    )
    parser.add_argument(
        "--discriminator",
        action="store_true",
        help="train a small network to tell generated windows from those of train; takes minutes, needs TensorFlow",
    )
    return parser


def _check(args: argparse.Namespace) -> tuple[DatasetInfo, Screen | None]:
    """Raises UserError with every mistake in the flags and the files they name."""
    problems: list[str] = []
    screen = None
    if args.index and not args.screen:
        problems.append("--index is given without --screen, want both or neither")
    info, index = corpus_command.load(args, problems)
    with command.collecting(problems, "--screen"):
        if args.screen:
            path = box_model.resolve_data(args.screen, info.time_base if info else None, box_model.THRESHOLDS)
            screen = thresholds.load(path, index)
    if info and screen and screen.time_base != info.time_base:
        problems.append(
            f"--screen is on the grid of {screen.time_base}, --data on that of {info.time_base}, want the same"
        )
    if problems or info is None:
        raise UserError(problems)
    return info, screen


def compare(pieces: Sequence[GeneratedPiece], data: str, info: DatasetInfo, split: str) -> list[Comparison]:
    """Compares generated notes with the train split, with `split` for the ceiling; both are cut like the pieces.

    Measures with nothing to count in music and corpus (drums, for instance) are left out.
    """
    looks = Looks(measures(info.time_base), (piece.part for piece in pieces))
    corpora = (corpus_notes(data, info, name) for name in ("train", split))
    return compare_looks(looks, shapes_of(pieces), *corpora)


def compare_looks(
    looks: Looks, shapes: Sequence[tuple[int, int]], train: Iterable[Notes], held_out: Iterable[Notes]
) -> list[Comparison]:
    """`compare` for pieces that were looked at before."""
    comparisons = corpus_comparison.compare(looks, *(cut_alike(corpus, shapes) for corpus in (train, held_out)))
    return [one for one in comparisons if one.generated is not None or one.corpus is not None]


def describe(comparison: Comparison) -> dict[str, Any]:
    """A comparison's figures for JSON, without histograms."""
    ceiling = comparison.ceiling
    return {
        "name": comparison.measure.name,
        "overlap": _rounded(comparison.overlap),
        "wasserstein_bins": _rounded(comparison.wasserstein),
        "kl_nats": _rounded(comparison.kl),
        "overlap_of_ceiling": _rounded(comparison.of_ceiling),
        "means": {name: _rounded(value) for name, value in comparison.means._asdict().items()},
        "ceiling": ceiling
        and {
            "overlap": _rounded(ceiling.overlap),
            "overlap_interval": [_rounded(value) for value in ceiling.interval],
            "wasserstein_bins": _rounded(ceiling.wasserstein),
            "kl_nats": _rounded(ceiling.kl),
        },
    }


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


def _means_table(comparisons: Sequence[Comparison], split: str) -> Iterator[str]:
    titles = ("generated", "train", split)
    yield ""
    yield f"{'mean of pieces':<16}" + "".join(f"{title:>13}" for title in titles)
    for comparison in comparisons:
        yield f"{comparison.measure.name:<16}" + "".join(f"{_cell(mean):>13}" for mean in comparison.means)


def _compare_endings(
    ways: dict[str, int], generated: Endings, train: Iterable[Notes], held_out: Iterable[Notes]
) -> dict[str, Any]:
    """In which ways the pieces ended, and the shares of `endings` of those that no limit ended and of the corpus."""
    least = generated.least
    sets = {"generated": generated, "train": Endings(least, train), "held_out": Endings(least, held_out)}
    return {"ways": ways, "short_notes": least, **{name: each.shares() for name, each in sets.items()}}


def _ending_lines(found: dict[str, Any], split: str) -> Iterator[str]:
    words = {
        "long_last": "a long last note",
        "whole_beats": "the last note on a whole beat",
        "short": f"fewer than {found['short_notes']} notes, of all",
    }
    yield ""
    yield "endings: " + ", ".join(f"{count} {way}" for way, count in found["ways"].items())
    yield f"{'of those by themselves':<31}" + "".join(f"{title:>13}" for title in ("generated", "train", split))
    for name, text in words.items():
        cells = [found[row][name] for row in ("generated", "train", "held_out")]
        yield f"{text:<31}" + "".join(f"{_cell(cell):>13}" for cell in cells)


def _judge(screen: Screen, piece: GeneratedPiece) -> tuple[str, ...]:
    return screen.judge_notes(*piece.part, ended=piece.line["ended"] is True).reasons


def _reject_shares(
    generated: Mapping[tuple[str, ...], int], shapes: Sequence[tuple[int, int]], screen: Screen, corpus: Sequence[Notes]
) -> dict[str, dict[str, float]]:
    """Shares of rejects: of the generated pieces, of the corpus's pieces, and of those cut like the generated ones."""
    whole = (screen.judge_notes(notes, 0, ended=True).reasons for notes in corpus)
    cut = (screen.judge_notes(*part, ended=False).reasons for part in cut_alike(corpus, shapes))
    judged = {
        "generated": generated,
        "corpus": collections.Counter(whole),
        "corpus_cut_alike": collections.Counter(cut),
    }
    return {name: thresholds.reject_shares(counts) for name, counts in judged.items()}


def _screening_lines(shares: dict[str, dict[str, float]] | None, split: str) -> Iterator[str]:
    titles = {"generated": "generated", "corpus": split, "corpus_cut_alike": f"{split}, cut alike"}
    for name, by_reason in (shares or {}).items():
        reasons = ", ".join(f"{reason} {100 * share:.1f} %" for reason, share in by_reason.items() if reason != "any")
        yield f"rejected of {titles[name]}: {100 * by_reason.get('any', 0):.1f} %{f' ({reasons})' if reasons else ''}"


def _discriminator_lines(told: Told | str | None, split: str) -> Iterable[str]:
    if isinstance(told, str):
        return ("", f"no discriminator: {told}")
    return () if told is None else discriminator.lines(told, split)


def _with_scores(figures: Iterable[dict[str, Any]], told: Told | str | None) -> Iterable[dict[str, Any]]:
    """The figures of the pieces, each with the discriminator's log odds that it is from the corpus."""
    if not isinstance(told, Told):
        return figures
    scores = itertools.chain(told.scores.tolist(), itertools.repeat(math.nan))
    return (
        figure | {"discriminator": None if math.isnan(score) else _rounded(score)}
        for figure, score in zip(figures, scores, strict=False)
    )


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, DECIMALS)


def _cell(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


if __name__ == "__main__":
    command.exit_process(command.run(PROGRAM, main))
