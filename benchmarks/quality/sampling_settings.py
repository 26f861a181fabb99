"""Which sampling settings give music like the corpus: a grid of settings, each compared with the validation split.

    python -m benchmarks.sampling_settings --bundle run/bundle --data dataset
    python -m benchmarks.sampling_settings --bundle run/bundle --data dataset --setting "--temperature 0.9 --min-p 0.02"

Each setting continues the same openings of validation pieces (--primer-notes 0: starts from silence), with the same
random streams. The pieces are compared as by `generation_jobs.evaluate` (overlapping area, relative to the ceiling) and
by `generation_jobs.compare` (the longest runs shared with the training split, beside those of validation pieces of the
same lengths). Without --setting, it uses `GRID`. Prints a table, then a column per measure, then one line of JSON.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import pathlib
import shlex
import time
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from benchmarks.harness import machine
from generation_jobs import compare, evaluate
from generation_jobs.decoder import bundles
from generation_jobs.job.job import request_key
from generation_jobs.memorisation import corpus_index
from generation_jobs.memorisation.corpus_index import Index
from generation_jobs.output.generated_music import GeneratedPiece, shapes_of
from generation_jobs.seeds import setting_conflicts
from generation_jobs.settings.requests import Settings
from job_runtime import command
from job_runtime.command_line.flags import Parser
from job_runtime.command_line.settings import add_flags, add_number, read_flags
from job_runtime.problem_report import UserError
from midi_codec.dataset import dataset_info, split_reader
from midi_codec.dataset.dataset_info import DatasetInfo
from midi_codec.music.notes import Notes

PROGRAM = "python -m benchmarks.sampling_settings"
GRID = (
    "--temperature 1",
    "--temperature 0.95",
    "--temperature 0.9",
    "--temperature pitch=0.95",
    "--temperature pitch=0.9",
    "--temperature step=0.9,duration=0.9",
    "--top-p 0.99",
    "--top-p 0.95",
    "--top-p pitch=0.95",
    "--min-p 0.01",
    "--min-p 0.03",
    "--min-p pitch=0.03",
)
SPLIT = "validation"
TITLES = ("lowest", "mean", "below", "copied", "held out", "ended", "nats", "s")
WIDTHS = (8, 7, 6, 9, 9, 7, 7, 6)


def main(argv: Sequence[str]) -> int:
    args, problems = make_parser().parse(argv)
    settings = check(args, problems)
    info = dataset_info.load(args.data)
    models = bundles.load(args.bundle)
    problems = [
        f"--setting {text!r}: {problem}"
        for text, setting in settings.items()
        for problem in setting_conflicts.of_settings(setting, models[0].fields)
    ]
    openings = read_openings(args.data, info, args.num_pieces, args.primer_notes)
    if not openings:
        problems.append(f"--data: no {SPLIT} piece has more than {args.primer_notes} notes, want some to continue")
    if problems:
        raise UserError(problems)
    index = corpus_index.build(args.data, info)
    rows = list(sweep(settings, models, openings, args, info, index))
    print("\n".join(measure_table(rows)))
    held_out = held_out_ends(args.data, info, args.primer_notes, args.max_notes)
    report = {
        "dataset": info.hash,
        "bundles": [model.hash for model in models],
        "split": SPLIT,
        "openings": len(openings),
        "num_pieces": args.num_pieces,
        "primer_notes": args.primer_notes,
        "max_notes": args.max_notes,
        "held_out_ended": held_out,
        "settings": rows,
        "machine": machine.describe(["tensorflow", "numpy"], {}),
    }
    if args.output:
        pathlib.Path(args.output).write_text(json.dumps(report) + "\n")
    print(json.dumps(report), flush=True)
    return command.OK


def make_parser() -> Parser:
    parser = command.make_parser(PROGRAM, __doc__)
    add = parser.add_argument
    add("--bundle", action="append", required=True, help="a folder that the trainer wrote; several are an ensemble")
    add("--data", required=True, help="the dataset that it was trained on")
    add(
        "--setting",
        action="append",
        metavar="FLAGS",
        help="sampling flags of generate, as one argument (default: a grid)",
    )
    add_number(parser, "--num-pieces", 128, "pieces per setting", at_least=1, at_most=100_000)
    add_number(parser, "--primer-notes", 16, "notes of the opening, 0 for silence", at_least=0, at_most=10_000)
    add_number(parser, "--max-notes", 256, "notes to generate at most", at_least=1, at_most=100_000)
    add_number(parser, "--num-slots", 64, "pieces decoded at once", at_least=1, at_most=4096)
    add("--output", help="file for the line of JSON")
    return parser


def check(args: argparse.Namespace, problems: list[str]) -> dict[str, Settings]:
    """The settings by their text.

    Raises:
      UserError: every mistake in the flags.
    """
    settings = dict[str, Settings]()
    for text in args.setting or GRID:
        try:
            settings[text] = parse_setting(text)
        except UserError as error:
            problems += [f"--setting {text!r}: {problem}" for problem in error.problems]
    if problems:
        raise UserError(problems)
    return settings


def parse_setting(text: str) -> Settings:
    """Parses flags of `generate`; what they do not name is left to the model.

    Raises:
      UserError: unknown flags or invalid values.
    """
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    add_flags(parser, Settings)
    try:
        args, rest = parser.parse_known_args(shlex.split(text))
    except (argparse.ArgumentError, ValueError) as error:
        raise UserError(str(error)) from error
    problems = [f"{word!r} is not a sampling flag" for word in rest]
    settings = Settings(**read_flags(Settings, args, problems))
    if problems:
        raise UserError(problems)
    return settings


def read_openings(data: str, info: DatasetInfo, most: int, primer_notes: int) -> list[tuple[Notes | None, str]]:
    """Openings of longer validation pieces, each with a name; shards are sorted by hash, so the choice is fair."""
    if not primer_notes:
        return [(None, "silence")]
    found: list[tuple[Notes | None, str]] = []
    for piece in split_reader.read_split(data, info, SPLIT, label="openings"):
        if len(piece.notes) > primer_notes and len(found) < most:
            found.append((piece.notes.take(slice(primer_notes)).from_first_onset(), f"opening-{len(found)}"))
    return found


def held_out_ends(data: str, info: DatasetInfo, primer_notes: int, max_notes: int) -> float | None:
    """The share of validation pieces that end within `max_notes` notes after the primer."""
    lengths = np.array([len(piece.notes) for piece in split_reader.read_split(data, info, SPLIT, label="ends")])
    lengths = lengths[lengths > primer_notes]
    return round(float(np.mean(lengths < primer_notes + max_notes)), 4) if lengths.size else None


def sweep(
    settings: dict[str, Settings],
    models: Sequence[Any],
    openings: list[tuple[Notes | None, str]],
    args: argparse.Namespace,
    info: DatasetInfo,
    index: Index,
) -> Iterator[dict[str, Any]]:
    """Yields one row per setting, and prints it."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    from generation_jobs.decoder.decoder import Decoder

    decoder = Decoder(models, num_slots=args.num_slots)
    print(f"{'setting':<40}" + "".join(f"{title:>{width}}" for title, width in zip(TITLES, WIDTHS, strict=True)))
    for text, setting in settings.items():
        start = time.perf_counter()
        pieces = generate(decoder, openings, args, setting)
        row = {"setting": text, **judge(pieces, args.data, info, index), "seconds": 0.0}
        row["seconds"] = round(time.perf_counter() - start, 1)
        print(line(row), flush=True)
        yield row


def generate(
    decoder: Any, openings: list[tuple[Notes | None, str]], args: argparse.Namespace, settings: Settings
) -> list[GeneratedPiece]:
    """Generates `--num-pieces` pieces, from the openings in turn."""
    chosen = [(*openings[number % len(openings)], number // len(openings)) for number in range(args.num_pieces)]
    settings = dataclasses.replace(settings, max_notes=args.max_notes)
    requests = [settings.request(request_key(0, name, sample), primer) for primer, name, sample in chosen]
    pieces: list[GeneratedPiece | None] = [None] * len(requests)
    for number, result in decoder.generate(requests):
        line = {
            "seed_id": chosen[number][1],
            "sample": chosen[number][2],
            "path": f"{chosen[number][1]}-{chosen[number][2]}",
            "num_primer_notes": result.num_primer_notes,
            "log_likelihood": result.log_likelihood,
            "ended": result.ended,
        }
        pieces[number] = GeneratedPiece(line, result.notes)
    return [piece for piece in pieces if piece is not None]


def judge(pieces: Sequence[GeneratedPiece], data: str, info: DatasetInfo, index: Index) -> dict[str, Any]:
    """Every measure relative to its ceiling, and copied runs with those of validation pieces."""
    comparisons = evaluate.compare(pieces, data, info, SPLIT)
    shares = {comparison.measure.name: comparison.of_ceiling for comparison in comparisons}
    known = [share for share in shares.values() if share is not None]
    copied = [index.longest_run(*piece.part) for piece in pieces]
    reference = list(compare.reference_runs(index, data, info, SPLIT, shapes_of(pieces)))
    num_notes = sum(piece.num_generated for piece in pieces)
    return {
        "of_ceiling": {name: None if share is None else round(share, 4) for name, share in shares.items()},
        "lowest": round(min(known), 4) if known else None,
        "mean": round(float(np.mean(known)), 4) if known else None,
        "below": sorted(name for name, share in shares.items() if share is not None and share < evaluate.FLOOR),
        "copied": compare.quantiles([run.num_notes for run in copied]),
        "held_out_copied": compare.quantiles([run.num_notes for run in reference]),
        "num_beyond_held_out": sum(run.num_notes > (compare.threshold(reference) or 0) for run in copied),
        "ended": round(float(np.mean([bool(piece.line["ended"]) for piece in pieces])), 4),
        "nats_per_note": round(-sum(piece.line["log_likelihood"] for piece in pieces) / max(num_notes, 1), 4),
        "notes": num_notes,
    }


def line(row: dict[str, Any]) -> str:
    """One row of the table."""
    copied, held_out = (f"{row[name]['median']}/{row[name]['longest']}" for name in ("copied", "held_out_copied"))
    shares = (f"{row['lowest']:.3f}", f"{row['mean']:.3f}", str(len(row["below"])))
    others = (f"{row['ended']:.2f}", f"{row['nats_per_note']:.2f}", f"{row['seconds']:.0f}")
    cells = zip((*shares, copied, held_out, *others), WIDTHS, strict=True)
    return f"{row['setting']:<40}" + "".join(f"{cell:>{width}}" for cell, width in cells)


def measure_table(rows: Sequence[dict[str, Any]]) -> Iterator[str]:
    """The share of the ceiling, one column per measure; a star marks less than 0.9."""
    names = list(rows[0]["of_ceiling"])
    yield " ".join([f"{'of the ceiling':<40}", *(f"{name[:9]:>9}" for name in names)])
    for row in rows:
        yield " ".join([f"{row['setting']:<40}", *(share_cell(row["of_ceiling"][name]) for name in names)])


def share_cell(share: float | None) -> str:
    return f"{'-':>9}" if share is None else f"{share:>8.3f}{'*' if share < evaluate.FLOOR else ' '}"


if __name__ == "__main__":
    command.exit_process(command.run(PROGRAM, main))
