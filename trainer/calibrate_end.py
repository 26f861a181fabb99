"""Makes the pieces of an older bundle end as often as those of its corpus.

    python -m trainer.calibrate_end --bundle run/bundle --data dataset --output run/calibrated

Training does this by itself (`trainer.evaluation.end_shift`), and records how long the corpus's pieces are; this
command does both for a bundle of an earlier version. Nothing else changes. See docs/train.md.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence

from job_runtime import command, storage
from job_runtime.command_line.flags import Parser
from job_runtime.problem_report import UserError
from midi_codec.dataset import dataset_info
from midi_codec.dataset.dataset_info import DatasetInfo
from trainer import bundle as bundle_lib
from trainer import piece_lengths
from trainer.bundle import Bundle

PROGRAM = "python -m trainer.calibrate_end"
SPLITS = ("train", "validation")
BATCH_SIZE = 64


def make_parser() -> Parser:
    parser = command.make_parser(PROGRAM, __doc__)
    parser.add_argument("--bundle", required=True, help="a bundle folder that the trainer wrote")
    parser.add_argument("--data", required=True, help="the dataset that it was trained on")
    parser.add_argument("--output", required=True, help="a folder for the calibrated bundle")
    return parser


def main(argv: Sequence[str]) -> int:
    args = make_parser().parse_args(argv)
    model, info = check(args.bundle, args.data, args.output)
    from trainer.data.split_cache import load_splits
    from trainer.distribution.strategy import make_strategy
    from trainer.evaluation import end_shift
    from trainer.evaluation.validation import Evaluator

    train, validation = load_splits(args.data, info, SPLITS, model.fields)
    strategy = make_strategy(alone=True)
    with strategy.scope():
        network = model.build_model()
    before = Evaluator(network, strategy, batch_size=BATCH_SIZE).evaluate(validation)
    after = before.with_end_shift(model.metrics.get("end_shift", 0.0))
    described = dataclasses.replace(
        model,
        metrics={**model.metrics, **after.metrics()},
        dataset={**model.dataset, "notes_per_piece": piece_lengths.describe(train.num_events - 1)},
    )
    changed = end_shift.shifted(described, after.end_shift)
    bundle_lib.save(args.output, changed)
    for title, figures in (("before", before), ("after", after)):
        expected = before.end_cost.expected_ends(figures.end_shift)
        print(
            f"{title:<7} {expected:,.1f} ends expected of {validation.num_pieces:,} pieces,"
            f" {figures.nll:.3f} nats per note"
        )
    print(f"END's log odds {after.end_shift:+.3f}: {args.output} ({changed.hash})")
    return command.OK


def check(folder: str, data: str, output: str) -> tuple[Bundle, DatasetInfo]:
    """Raises UserError with every mistake."""
    problems = storage.output_problems("--output", output)
    is_own_folder = not problems and os.path.realpath(folder) == os.path.realpath(output)
    model, info = None, None
    with command.collecting(problems):
        model = bundle_lib.load(folder)
    with command.collecting(problems):
        info = dataset_info.load(data)
    if model and info and model.dataset["hash"] != info.corpus_hash:
        problems.append(
            f"--data is dataset {info.corpus_hash}, the bundle was trained on {model.dataset['hash']}; want the latter"
        )
    if info and not info.splits["validation"].num_notes:
        problems.append(f"{data}: the validation split holds no note, want some to calibrate with")
    if is_own_folder:
        problems.append("--output is the bundle's own folder, want another")
    if problems or model is None or info is None:
        raise UserError(problems)
    return model, info


if __name__ == "__main__":
    command.exit_process(command.run(PROGRAM, main))
