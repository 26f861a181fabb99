"""Measures bundles on a split of a dataset, and compares them.

    python -m trainer.evaluate --bundle run/bundle --data dataset
    python -m trainer.evaluate --bundle small/bundle large/bundle --data dataset --split test --output figures.json

Exact likelihoods of whole pieces by field, with confidence intervals and paired differences; how often the likeliest
values are right; errors of times in milliseconds; calibration; unigram, bigram and 5-gram baselines; of a model with
labels, what each piece's own are worth. `docs/evaluate.md` explains every figure.
"""

from __future__ import annotations

import argparse
import importlib
import json
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from job_runtime import command, storage
from job_runtime.command_line.flags import Parser
from job_runtime.command_line.settings import add_number
from job_runtime.logs.progress import progress, stage
from job_runtime.problem_report import UserError
from job_runtime.watched_stop import WatchedStop
from midi_codec import fields
from midi_codec.dataset import dataset_info
from midi_codec.dataset.labels import MOST_VALUES
from trainer import box_model
from trainer.doubts import BASELINES
from trainer.evaluation import compatibility
from trainer.model import precision

if TYPE_CHECKING:
    from trainer.bundle import Bundle
    from trainer.data.pieces import Pieces
    from trainer.evaluation.figures import Measured
    from trainer.evaluation.piece_evaluation import PieceSums

PROGRAM = "python -m trainer.evaluate"


def main(argv: Sequence[str]) -> int:
    args, problems = make_parser().parse(argv)
    with WatchedStop() as stop:
        info, bundles = _check(args, problems)
        print(precision.describe(args.precision), flush=True)
        with stage("loading TensorFlow"):
            importlib.import_module("tensorflow")
        report = evaluate(args, info, bundles, stop)
        from trainer.evaluation import tables

        if args.output is not None:
            storage.write_bytes(args.output, (json.dumps(report) + "\n").encode())
        print(tables.format_report(report), flush=True)
        if args.output is not None:
            print(f"\nthese figures and the sums of every piece: {args.output}")
    return command.OK


def make_parser() -> Parser:
    parser = command.make_parser(PROGRAM, __doc__)
    add = parser.add_argument
    add("--bundle", required=True, nargs="+", action="extend", help="folders that the trainer wrote: RUN/bundle")
    add("--data", required=True, help="a dataset folder, as encode_corpus wrote it")
    add("--split", choices=dataset_info.SPLITS, default="validation", help="which pieces (default: %(default)s)")
    add("--output", help="file for all figures and the sums of every piece, as JSON")
    add(
        "--no-baselines",
        dest="baselines",
        action="store_false",
        help="leave out the baselines, which need the training split",
    )
    add(
        "--precision",
        choices=precision.CHOICES,
        default=precision.FLOAT32,
        help="precision of matrix products; auto: bfloat16 where the processor multiplies it faster, else float32"
        " (default: %(default)s)",
    )
    add_number(parser, "--batch-size", 64, "the most pieces at once", at_least=1, at_most=65_536)
    add_number(
        parser, "--num-resamples", 2000, "resamples for the confidence intervals", at_least=100, at_most=1_000_000
    )
    add_number(
        parser,
        "--label-values",
        8,
        "of a model with labels: the most values of a label that each piece is measured with, each as long as the"
        " evaluation itself; 1 compares only with unknown, 0 leaves this out",
        at_least=0,
        at_most=MOST_VALUES,
    )
    add_number(parser, "--rng-seed", 0, "random number seed of the resamples", at_least=0, at_most=2**63 - 1)
    return parser


def _check(args: argparse.Namespace, problems: list[str]) -> tuple[dataset_info.DatasetInfo, dict[str, Bundle]]:
    """Reads the dataset's description and the bundles.

    Raises:
      UserError: every mistake in the flags and everything that does not fit, all at once.
    """
    from trainer import bundle as bundle_lib

    problems += _flag_problems(args)
    if args.precision == precision.AUTO:
        args.precision = precision.fastest()
    info, bundles = None, {}
    with command.collecting(problems):
        args.data = args.data and box_model.resolve_data(args.data, None)
        info = dataset_info.load(args.data) if args.data else None
    if info is not None and not info.splits[args.split].num_notes:
        others = [name for name in dataset_info.SPLITS if info.splits[name].num_notes]
        problems.append(f"{args.data}: the {args.split} split holds no note; there are notes in {', '.join(others)}")
    for path in dict.fromkeys(args.bundle or ()):
        try:
            bundles[path] = bundle_lib.load(path)
        except UserError as error:
            problems += error.problems
            continue
        if info is not None:
            problems += [
                f"{path}: {problem}" for problem in compatibility.problems(bundles[path].fields, info, args.split)
            ]
    if problems:
        raise UserError(problems)
    assert info is not None
    return info, bundles


def _flag_problems(args: argparse.Namespace) -> Iterator[str]:
    for path in {path for path in args.bundle or () if args.bundle.count(path) > 1}:
        yield f"--bundle {path} is given {args.bundle.count(path)} times, want each once"
    if args.output is not None:
        yield from storage.output_problems("--output", args.output, is_file=True)


def evaluate(
    args: argparse.Namespace, info: dataset_info.DatasetInfo, bundles: dict[str, Bundle], stop: command.StopSignal
) -> dict[str, Any]:
    """The report; the arguments have been checked."""
    from trainer.data.split_cache import load_split
    from trainer.data.whole_pieces import piece_seconds
    from trainer.evaluation import figures

    names = short_names(list(bundles))
    measured = _baselines(args.data, info, args.split) if args.baselines else []
    loaded: dict[Any, Pieces] = {}  # once for all tables that have the same columns and labels
    for path, bundle in bundles.items():
        columns = bundle.fields.names, bundle.fields.labels
        pieces = loaded.get(columns) or load_split(args.data, info, args.split, bundle.fields)
        loaded[columns] = pieces
        measured.append(_measure(names[path], path, bundle, pieces, args, stop))
    split = figures.Split(
        piece_id=[name.decode() for name in pieces.piece_id.tolist()],
        group=pieces.group,
        num_notes=pieces.num_events - 1,
        seconds=piece_seconds(pieces),
    )
    data = {"path": args.data, "hash": info.hash, "split": args.split, "time_base": info.time_base}
    return {
        "data": data,
        **figures.make_report(split, measured, num_resamples=args.num_resamples, rng_seed=args.rng_seed),
    }


def _baselines(root: str, info: dataset_info.DatasetInfo, split: str) -> list[Measured]:
    """Those of `BASELINES` over the dataset's own bins, learned from its training split; none if that is empty."""
    from trainer.data.split_cache import load_split
    from trainer.evaluation import baselines
    from trainer.evaluation.figures import Measured

    if not info.splits["train"].num_notes:
        return []
    table = fields.dataset_table(info)  # the bundles' bins may differ
    costs = baselines.piece_costs(load_split(root, info, "train", table), load_split(root, info, split, table), table)
    return [
        Measured(name, {f"nll_{field}": column for field, column in by_field.items()})
        for name, by_field in costs.items()
    ]


def _measure(
    name: str, path: str, bundle: Bundle, pieces: Pieces, args: argparse.Namespace, stop: command.StopSignal
) -> Measured:
    from trainer.evaluation import calibration, label_evaluation
    from trainer.evaluation.figures import Measured
    from trainer.evaluation.piece_evaluation import evaluate_pieces

    model, changed = bundle.build_model(args.precision), label_evaluation.plan(pieces, most_values=args.label_values)
    total = pieces.total_events + int(pieces.num_events[changed.piece].sum(dtype=np.int64))
    with progress(total=total, unit="events", label=f"evaluating {name}") as bar:

        def after_chunk(events: int) -> None:
            bar.update(events)
            if stop.requested:
                raise command.Interrupted("an evaluation saves nothing on the way; start the same command again")

        def measure(pieces: Pieces, labels: np.ndarray | None = None) -> PieceSums:
            return evaluate_pieces(
                model,
                pieces,
                deviations=bundle.deviations,
                batch_size=args.batch_size,
                labels=labels,
                after_chunk=after_chunk,
            )

        sums = measure(pieces)
        label_sums, label_values = label_evaluation.evaluate_labels(
            lambda rows, labels: measure(rows, labels).nats(), pieces, sums.nats(), changed
        )
    about = {
        "bundle": path,
        "hash": bundle.hash,
        "precision": args.precision,
        "trained_on": bundle.dataset["hash"],
        "deviations": bundle.deviations,
        "reliability": {field: calibration.describe_reliability(c) for field, c in sums.reliability.items()},
        "pit": {field: calibration.describe_pit(counts) for field, counts in sums.pit.items()},
        **({"label_values": label_values} if label_values else {}),
    }
    return Measured(name, {**sums.sums, **label_sums}, about)


def short_names(paths: Sequence[str]) -> dict[str, str]:
    """The name of each bundle in tables: the run's folder, or the whole path where two would have the same name."""
    names = {name: name for name in BASELINES}
    for path in paths:
        folders = [folder for folder in path.split("/") if folder]
        names[path] = folders[-2] if len(folders) > 1 and folders[-1] == "bundle" else folders[-1]
    used = list(names.values())
    return {path: path if used.count(names[path]) > 1 else names[path] for path in paths}


if __name__ == "__main__":
    command.exit_process(command.run(PROGRAM, main))
