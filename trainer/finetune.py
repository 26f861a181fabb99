"""Fine-tunes a model on what is better: pairs of its own pieces (DPO), or rewards of pieces that it draws (GRPO).

    python -m trainer.finetune --bundle run/bundle --data dataset --pairs pairs.json --output better
    python -m trainer.finetune --bundle run/bundle --data dataset --rewards screening,key_share --output better

`generation_jobs.pairs` writes the pairs. Rewards are `screening`, 1 for a piece that would not be rejected; a measure
of docs/evaluate_music.md, which is higher where the corpus has more pieces like it than the model makes; or a function
of your own, MODULE:NAME. The run has checkpoints, validations and a bundle like one of `trainer.task`: the same command
resumes a run that was stopped, and does nothing if the run is finished. What is kept is the model with the lowest loss
on held-out pairs, or the highest reward, that is still near the start: see --max-kl and --max-nats-lost.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from job_runtime import command, storage
from job_runtime.command_line import settings as settings_lib
from job_runtime.command_line.flags import Parser, group_of
from job_runtime.problem_report import UserError
from job_runtime.watched_stop import WatchedStop
from midi_codec.dataset import dataset_info, pairs_file
from midi_codec.measures import thresholds
from midi_codec.music.notes import BEATS
from trainer import box_model
from trainer.data import split_cache
from trainer.distribution import cluster
from trainer.evaluation import compatibility
from trainer.finetuning import finetune_run, rewards
from trainer.finetuning.config import REWARDS, FinetuneConfig, PairConfig, RewardConfig
from trainer.finetuning.finetune_run import Objective
from trainer.run_output import run_folder

if TYPE_CHECKING:
    from trainer.bundle import Bundle
    from trainer.finetuning.pair_plan import NamedPair
    from trainer.run_output.run_state import RunState

PROGRAM = "python -m trainer.finetune"
MOST_NOTES = 4096  # of a piece: gradients flow through the whole of it


def make_parser() -> Parser:
    parser = command.make_parser(PROGRAM, __doc__)
    add = parser.add_argument
    add("--bundle", required=True, help="the model to start from: RUN/bundle, or box for the model in the box")
    add("--data", required=True, help="a dataset folder to compare with; box: that of the model in the box")
    add("--pairs", help="a file that generation_jobs.pairs wrote")
    add("--output", required=True, help="a run folder: checkpoints, metrics, bundle")
    for each in (RewardConfig, FinetuneConfig, PairConfig):
        settings_lib.add_flags(parser, each)
    text = "thresholds for the reward screening, or box (default: those of the training split)"
    group_of(parser, REWARDS).add_argument("--screen", help=text)
    add = group_of(parser, "devices").add_argument
    add("--num-workers", type=int, help="processes that train together (default: what TF_CONFIG says)")
    add("--worker-host-pattern", help="address of a worker, such as train-{index}.train:2222")
    add("--cache-dir", help=split_cache.HELP)
    return parser


def main(argv: Sequence[str]) -> int:
    args, problems = make_parser().parse(argv)
    from trainer import bundle as bundle_lib

    info, start = None, None
    problems += storage.output_problems("--output", args.output) + split_cache.folder_problems(args.cache_dir)
    settings = FinetuneConfig(**settings_lib.read_flags(FinetuneConfig, args, problems))
    with command.collecting(problems):
        cluster.set_tf_config(args.num_workers, args.worker_host_pattern)
    with command.collecting(problems, "--bundle"):
        start = bundle_lib.load(args.bundle) if args.bundle else None
    with command.collecting(problems, "--data"):
        args.data = args.data and box_model.resolve_data(args.data, start.fields.time_base if start else None)
        info = dataset_info.load(args.data) if args.data else None
    if start is not None and info is not None:
        problems += _misfits(start, info, args)
    objective = _read_objective(args, start, problems)
    if problems or info is None or start is None:
        raise UserError(problems)

    described = finetune_run.describe(settings, objective, start, info)
    run_folder.check(args.output, described)
    with WatchedStop() as stop:
        outcome = finetune_run.finetune(
            settings,
            objective,
            start,
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
        print_summary(args.output, outcome.state, settings)
    return command.OK


def _read_objective(args: Any, start: Bundle | None, problems: list[str]) -> Objective:
    """The objective that the flags name; adds every mistake in its flags and files."""
    values = {each: settings_lib.read_flags(each, args, problems) for each in (PairConfig, RewardConfig)}
    if (args.pairs is None) == (args.rewards is None):
        problems.append(f"{'both' if args.rewards else 'neither'} of --pairs and --rewards given, want one of them")
        return Objective(PairConfig())
    cls, other, title = (
        (PairConfig, RewardConfig, "--pairs") if args.rewards is None else (RewardConfig, PairConfig, "--rewards")
    )
    unused = [settings_lib.flag(name) for name in values[other]]
    unused += ["--screen"] if args.screen and cls is PairConfig else []
    problems += [f"{name} is given, which {title} does not use" for name in unused]
    if cls is PairConfig:
        return _read_pairs(args, start, PairConfig(**values[cls]), problems)
    own = RewardConfig(**values[cls])
    time_base = start.fields.time_base if start else BEATS
    problems += [f"--rewards: {each}" for each in rewards.names_problems(own.rewards or (), time_base)]
    screen = None
    with command.collecting(problems, "--screen"):
        if args.screen is not None:
            screen = thresholds.load(box_model.resolve_data(args.screen, time_base, box_model.THRESHOLDS))
            if start and time_base != screen.time_base:
                problems.append(f"--screen is on a grid of {screen.time_base}, the model on that of {time_base}")
            if rewards.SCREENING not in (own.rewards or ()):
                problems.append(f"--screen is given, want {rewards.SCREENING} among --rewards, which alone uses it")
    return Objective(own, screen=screen)


def _read_pairs(args: Any, start: Bundle | None, own: PairConfig, problems: list[str]) -> Objective:
    pairs: Sequence[NamedPair] = ()
    digest = None
    with command.collecting(problems, "--pairs"):
        pairs, time_base = pairs_file.read(args.pairs)
        digest = hashlib.sha256(storage.read_bytes(args.pairs)).hexdigest()[:32]
        if start is not None and time_base != start.fields.time_base:
            problems.append(f"{args.pairs} is on a grid of {time_base}, the model on that of {start.fields.time_base}")
        elif start is not None:
            examples = {piece.name: piece for pair in pairs for piece in pair}
            for piece in examples.values():
                where = f"{args.pairs}: pieces.{piece.name}"
                problems += [f"{where}: {each}" for each in start.fields.problems(piece.notes)]
                if len(piece.notes) > MOST_NOTES:
                    problems.append(f"{where} has {len(piece.notes)} notes, want at most {MOST_NOTES}")
    return Objective(own, pairs, digest)


def _misfits(start: Bundle, info: dataset_info.DatasetInfo, args: Any) -> list[str]:
    """What of the data the model cannot take, and what of the model the objectives cannot."""
    problems = []
    if start.fields.labels:
        names = ", ".join(each.name for each in start.fields.labels)
        problems.append(f"{args.bundle} is told labels ({names}), which neither objective gives it, want one without")
    if not info.splits["validation"].num_notes:
        problems.append(f"{args.data}: the validation split holds no note, want at least one")
    if args.rewards and not info.splits["train"].num_notes:
        problems.append(f"{args.data}: the training split holds no note, want at least one")
    return problems + [f"{args.bundle}: {each}" for each in compatibility.problems(start.fields, info, "validation")]


def _lost(line: Mapping[str, Any], first: Mapping[str, Any]) -> float:
    return line["validation_nll"] - first["validation_nll"]


def print_summary(folder: str, state: RunState, settings: FinetuneConfig) -> None:
    """What the kept model gained and lost."""
    first, best = state.metrics[0], next(line for line in state.metrics if line["step"] == state.best_step)
    print(f"\nkept: step {state.best_step} of {state.step}")
    print(f"{'':32}{'start':>9}{'kept':>9}")
    rows = {
        "validation, nats per note": "validation_nll",
        "loss of held-out pairs": "pair_loss",
        "held-out pairs ordered right": "pairs_right",
        "reward, gain of all together": "reward",
        **{name.replace("_", " ", 1): name for name in first if name.startswith("reward_")},
        "divergence, nats per note": "kl",
    }
    for title, name in rows.items():
        if name in first:
            print(f"{title:32}{first[name]:9.3f}{best[name]:9.3f}")
    if not state.best_step:
        print("no step was better than the start and near enough to it, so the bundle is the start's")
        if any(line["kl"] > settings.max_kl or _lost(line, first) > settings.max_nats_lost for line in state.metrics):
            nearer = "--beta" if "pair_loss" in first else "--kl-weight"
            print(f"some were too far from it: a lower --learning-rate stays nearer, or a higher {nearer}")
    print(f"bundle: {storage.join(folder, 'bundle')}")


if __name__ == "__main__":
    command.exit_process(command.run(PROGRAM, main))
