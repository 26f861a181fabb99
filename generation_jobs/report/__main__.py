"""Makes one HTML page of generated music: piano rolls, players, a comparison with the corpus, training curves.

The page is one file that needs no server and no network. It includes the sound of some twenty highlights, and
synthesizes the sound of the other pieces when they are played. Of more than 5,000 pieces it shows a sample.
docs/report.md says more.

    python -m generation_jobs.report --music run/music --data run/dataset --run run/training --output run/report.html
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from job_runtime import command
from job_runtime.command_line.flags import Parser
from job_runtime.problem_report import UserError

if TYPE_CHECKING:
    from generation_jobs.measures.corpus_comparison import Comparison
    from generation_jobs.output.generated_music import GeneratedPiece
    from generation_jobs.output.manifest import Line
    from generation_jobs.report.training_run import Run
    from midi_codec.dataset.dataset_info import DatasetInfo

PAGE_SUFFIXES = (".html", ".htm")
MAX_PIECES = 5_000  # a browser opens such a page within seconds; of a larger set it shows a sample


def main(argv: Sequence[str]) -> int:
    args = make_parser().parse_args(argv)
    started = time.monotonic()
    run, info, lines, num_all = _check(args)

    from generation_jobs import compare
    from generation_jobs.measures.corpus_comparison import cut_alike
    from generation_jobs.output import generated_music
    from generation_jobs.report import midi_files, page_content, page_texts, piece_figures, piece_sounds, seed_originals
    from generation_jobs.report import page as report_page
    from job_runtime import storage

    time_base = info.time_base if info else run.time_base if run else "milliseconds"
    pieces = list(generated_music.with_notes(args.music, lines, time_base=time_base))
    corpus = generated_music.corpus_notes(args.data, info, "train") if info else ()
    figures = piece_figures.figures_of(pieces, time_base, cut_alike(corpus, generated_music.shapes_of(pieces)))
    highlights = piece_figures.choose_highlights(figures.distances)
    with piece_sounds.rendering(pieces, highlights=highlights) as finish_sounds:
        comparisons, comparison_note = _compare(pieces, args.data, info) if info else ([], None)
        runs = compare.longest_runs(pieces, args.data, info) if info else None
        midi = midi_files.pack(pieces, args.music)
        originals = seed_originals.find(pieces, args.data, info) if info else {}
        with command.StopSignal() as stop:
            sounds = finish_sounds(stop)
    given = (("Music", args.music), ("Corpus", args.data), ("Training run", args.run))
    content = page_content.make_content(
        pieces,
        num_all=num_all,
        highlights=highlights,
        figures=figures,
        sounds=sounds,
        midi=midi,
        midi_links=midi_files.links(pieces, args.music, args.output),
        originals=originals,
        run=run,
        info=info,
        comparisons=comparisons,
        comparison_note=comparison_note,
        runs=runs,
        facts=[(label, value) for label, value in given if value],
    )
    page = report_page.render(content)
    storage.write_bytes(args.output, page)
    print(
        f"{args.output}: {page_texts.counted(len(pieces), num_all)}, {len(page) / 1e6:.1f} MB with the sound of "
        f"{len(sounds)}, {time.monotonic() - started:.0f} s"
    )
    return command.OK


def make_parser() -> Parser:
    parser = command.make_parser("python -m generation_jobs.report", __doc__)
    parser.add_argument("--music", required=True, help="the output folder of generation_jobs.generate")
    parser.add_argument("--data", help="dataset to compare with, or box (default: no comparison)")
    parser.add_argument("--run", help="run folder of trainer.task, for curves and scores (default: none)")
    parser.add_argument("--output", required=True, help="the page to write, a name that ends in .html")
    return parser


def _check(args: argparse.Namespace) -> tuple[Run | None, DatasetInfo | None, list[Line], int]:
    """Checks the flags, and reads the run, the dataset's info, and the lines of the pieces to show, of how many.

    Raises:
      UserError: all problems at once.
    """
    from generation_jobs import corpus_command
    from generation_jobs.output import generated_music
    from generation_jobs.report import training_run
    from job_runtime import storage
    from midi_codec.dataset import split_reader

    problems: list[str] = []
    run, info = None, None
    lines: list[Line] = []
    num_all = 0
    if not args.output.lower().endswith(PAGE_SUFFIXES):
        problems.append(f"--output is {args.output!r}, want a name that ends in .html")
    problems += storage.output_problems("--output", args.output, is_file=True)
    with command.collecting(problems):
        lines, num_all = generated_music.sample(args.music, num_pieces=MAX_PIECES)
    with command.collecting(problems):
        run = training_run.Run(args.run) if args.run else None
    with command.collecting(problems):
        if args.data:
            args.data = corpus_command.resolve_data(args.data, args.music)
            info = split_reader.load_trainable(args.data)
    if problems:
        raise UserError(problems)
    return run, info, lines, num_all


def _compare(pieces: Sequence[GeneratedPiece], root: str, info: DatasetInfo) -> tuple[list[Comparison], str]:
    """Compares the generated notes with the train split, with the validation split as the ceiling; and a note for the
    reader."""
    from generation_jobs import evaluate
    from generation_jobs.output import generated_music

    comparisons = evaluate.compare(pieces, root, info, "validation")
    counts = [info.splits[split].num_pieces for split in ("train", "validation")]
    shown = [
        f"{min(count, generated_music.MAX_CORPUS_PIECES):,} of {count:,} {name}"
        for count, name in zip(counts, ("training pieces", "validation pieces"), strict=True)
    ]
    note = (
        f"Generated notes, without those of primers, compared with {shown[0]}, cut to the same lengths. The number is "
        "the overlapping area of the two histograms: 1 means equal. The table also has the Wasserstein distance, in "
        "bins."
    )
    if counts[1]:
        note += (
            f" Next to it is how well the corpus matches itself: {shown[1]} compared with the training pieces, the "
            "median of 200 draws of the size of the generated set."
        )
    return comparisons, note


if __name__ == "__main__":
    command.exit_process(command.run("python -m generation_jobs.report", main))
