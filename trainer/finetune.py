"""Fine-tunes a model on preferences: pairs of its own pieces, of which one is better (DPO).

    python -m trainer.finetune --bundle run/bundle --data dataset --pairs pairs.json --output better

`generation_jobs.pairs` writes the pairs. The run has checkpoints, validations and a bundle like one of `trainer.task`:
the same command resumes a run that was stopped, and does nothing if the run is finished. What is kept is the model with
the lowest loss on held-out pairs that is still near the start: see --max-kl and --max-nats-lost.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from job_runtime import command, storage
from job_runtime.command_line import settings as settings_lib
from job_runtime.command_line.flags import Parser, group_of
from job_runtime.problem_report import UserError
from job_runtime.watched_stop import WatchedStop
from midi_codec.dataset import dataset_info, pairs_file
from trainer import box_model
from trainer.data import split_cache
from trainer.distribution import cluster
from trainer.evaluation import compatibility
from trainer.preference.config import FinetuneConfig
from trainer.run_output import run_folder

if TYPE_CHECKING:
    from trainer.bundle import Bundle
    from trainer.preference.pair_plan import NamedPair
    from trainer.run_output.run_state import RunState

PROGRAM = "python -m trainer.finetune"
MOST_NOTES = 4096  # of a piece: gradients flow through the whole of it


def make_parser() -> Parser:
    parser = command.make_parser(PROGRAM, __doc__)
    add = parser.add_argument
    add("--bundle", required=True, help="the model to start from: RUN/bundle, or box for the model in the box")
    add("--data", required=True, help="a dataset folder, for its validation split; box: that of the model in the box")
    add("--pairs", required=True, help="a file that generation_jobs.pairs wrote")
    add("--output", required=True, help="a run folder: checkpoints, metrics, bundle")
    settings_lib.add_flags(parser, FinetuneConfig)
    add = group_of(parser, "devices").add_argument
    add("--num-workers", type=int, help="processes that train together (default: what TF_CONFIG says)")
    add("--worker-host-pattern", help="address of a worker, such as train-{index}.train:2222")
    add("--cache-dir", help=split_cache.HELP)
    return parser


def main(argv: Sequence[str]) -> int:
    args, problems = make_parser().parse(argv)
    from trainer import bundle as bundle_lib

    info, start, pairs, time_base = None, None, None, None
    problems += storage.output_problems("--output", args.output) + split_cache.folder_problems(args.cache_dir)
    settings = FinetuneConfig(**settings_lib.read_flags(FinetuneConfig, args, problems))
    with command.collecting(problems):
        cluster.set_tf_config(args.num_workers, args.worker_host_pattern)
    with command.collecting(problems, "--bundle"):
        start = bundle_lib.load(args.bundle) if args.bundle else None
    with command.collecting(problems, "--data"):
        args.data = args.data and box_model.resolve_data(args.data, start.fields.time_base if start else None)
        info = dataset_info.load(args.data) if args.data else None
    with command.collecting(problems, "--pairs"):
        pairs, time_base = pairs_file.read(args.pairs) if args.pairs else (None, None)
    if start is not None:
        problems += _misfits(start, info, pairs, time_base, args)
    if problems or info is None or start is None or pairs is None:
        raise UserError(problems)

    from trainer.preference import preference_run

    digest = hashlib.sha256(storage.read_bytes(args.pairs)).hexdigest()[:32]
    described = preference_run.describe(settings, start, info, digest)
    run_folder.check(args.output, described)
    with WatchedStop() as stop:
        outcome = preference_run.finetune(
            settings,
            start,
            pairs,
            data=args.data,
            info=info,
            described=described,
            folder=args.output,
            stop=stop,
            cache_dir=args.cache_dir,
        )
    if outcome.was_finished:
        print(f"{args.output} is finished already")
    if outcome.is_chief:
        print_summary(args.output, outcome.state)
    return command.OK


def _misfits(
    start: Bundle,
    info: dataset_info.DatasetInfo | None,
    pairs: Sequence[NamedPair] | None,
    time_base: str | None,
    args: Any,
) -> list[str]:
    """What of the data and the pairs the model cannot take."""
    problems = []
    if start.fields.labels:
        names = ", ".join(each.name for each in start.fields.labels)
        problems.append(f"{args.bundle} is told labels ({names}), which pairs do not have, want a model without")
    if info is not None:
        if not info.splits["validation"].num_notes:
            problems.append(f"{args.data}: the validation split holds no note, want at least one")
        problems += [f"{args.bundle}: {each}" for each in compatibility.problems(start.fields, info, "validation")]
    if time_base not in (None, start.fields.time_base):
        problems.append(f"{args.pairs} is on a grid of {time_base}, the model on that of {start.fields.time_base}")
        return problems
    examples = {piece.name: piece for pair in pairs or () for piece in pair}
    for piece in examples.values():
        problems += [f"{args.pairs}: pieces.{piece.name}: {each}" for each in start.fields.problems(piece.notes)]
        if len(piece.notes) > MOST_NOTES:
            problems.append(
                f"{args.pairs}: pieces.{piece.name} has {len(piece.notes)} notes, want at most {MOST_NOTES}"
            )
    return problems


def print_summary(folder: str, state: RunState) -> None:
    """What the kept model gained and lost."""
    first, best = state.metrics[0], next(line for line in state.metrics if line["step"] == state.best_step)
    print(f"\nkept: step {state.best_step} of {state.step}")
    print(f"{'':32}{'start':>9}{'kept':>9}")
    rows = {
        "validation, nats per note": "validation_nll",
        "loss of held-out pairs": "pair_loss",
        "held-out pairs ordered right": "pairs_right",
        "divergence, nats per note": "kl",
    }
    for title, name in rows.items():
        print(f"{title:32}{first[name]:9.3f}{best[name]:9.3f}")
    if not state.best_step:
        print("no step was better than the start and near enough to it, so the bundle is the start's;")
        print("a higher --beta or a lower --learning-rate stays nearer")
    print(f"bundle: {storage.join(folder, 'bundle')}")


if __name__ == "__main__":
    command.exit_process(command.run(PROGRAM, main))
