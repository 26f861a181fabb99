"""Trains a note model on a dataset and writes a bundle.

    python -m trainer.task --data DATASET --output RUN [--config run.yaml] [--SETTING VALUE ...]

The devices decide the strategy: several workers (TF_CONFIG, or --num-workers with --worker-host-pattern) train as one,
as do several GPUs of one machine; otherwise the one device is used. Settings that are `auto` are chosen for the corpus
and the time at the start of a run, and printed. The same command resumes a run that was stopped, and does nothing if
the run is finished.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from job_runtime import command, storage
from job_runtime.command_line.flags import Parser, group_of
from job_runtime.problem_report import UserError
from job_runtime.watched_stop import WatchedStop
from midi_codec.dataset import dataset_info
from trainer import box_model
from trainer import config as config_lib
from trainer import plan as plan_lib
from trainer.data import split_cache
from trainer.distribution import cluster
from trainer.run_output import run_folder
from trainer.training import schedule, whole_run


def make_parser() -> Parser:
    parser = command.make_parser("python -m trainer.task", __doc__)
    add = parser.add_argument
    add("--data", required=True, help="a dataset folder, as encode_corpus writes it")
    add("--output", required=True, help="a run folder: checkpoints, metrics, bundle")
    add("--init-from", help="bundle to start from, such as another run's RUN/bundle; box: the model in the box")
    config_lib.add_flags(parser)
    add = group_of(parser, "devices").add_argument
    add("--num-workers", type=int, help="processes that train together (default: what TF_CONFIG says)")
    add("--worker-host-pattern", help="address of a worker, such as train-{index}.train:2222")
    add("--profile", action="store_true", help="trace a few steps for TensorBoard's profiler")
    add("--cache-dir", help=split_cache.HELP)
    return parser


def main(argv: Sequence[str]) -> int:
    args, problems = make_parser().parse(argv)
    given, dataset, init_from, start, saved, num_workers = None, None, args.init_from, None, None, 1
    problems += storage.output_problems("--output", args.output) + split_cache.folder_problems(args.cache_dir)
    with command.collecting(problems):
        dataset = dataset_info.load(args.data) if args.data else None
    with command.collecting(problems):
        if init_from == box_model.BOX:
            init_from = box_model.resolve(init_from, dataset.time_base) if dataset else None
        start = _settings_of_bundle(init_from)
    with command.collecting(problems):
        given = config_lib.read_given(args)
    with command.collecting(problems):
        cluster.set_tf_config(args.num_workers, args.worker_host_pattern)
        num_workers = cluster.num_workers()
    with command.collecting(problems):
        saved = run_folder.saved(args.output) if args.output else None
    if given is None or dataset is None or problems:
        raise UserError(problems)
    plan = plan_lib.resolve(given, dataset, start=start, saved=saved, num_workers=num_workers)
    print("\n".join(plan.lines), flush=True)
    with WatchedStop() as stop:
        outcome = whole_run.train(
            plan.config,
            data=args.data,
            folder=args.output,
            stop=stop,
            init_from=init_from,
            workers=whole_run.Workers(args.num_workers, args.worker_host_pattern),
            profile=args.profile,
            cache_dir=args.cache_dir,
        )
    if outcome.was_finished:
        print(f"{args.output} is finished already")
    if outcome.is_chief:
        if sentence := schedule.early_stop(plan.config, outcome.state):
            print(sentence)
        print_summary(args.output)
    return command.OK


def _settings_of_bundle(init_from: str | None) -> dict[str, Any] | None:
    """The settings that the bundle fixes."""
    if init_from is None:
        return None
    from trainer import bundle
    from trainer.training import transfer

    return transfer.settings_of(bundle.load(init_from))


def print_summary(folder: str) -> None:
    """Prints a table of the best model beside the baselines, in nats per note by field."""
    from trainer import bundle
    from trainer.doubts import doubts

    described = bundle.load_description(storage.join(folder, "bundle"))
    metrics = described["metrics"]
    names = [field["name"] for field in described["fields"]["fields"]]
    rows = {name: score for name, score in metrics["baselines"].items()}
    rows["model"] = {"nll": metrics["validation_nll"], "by_field": metrics["validation_nll_by_field"]}
    print(f"\nvalidation, nats per note (END included), best at step {metrics['step']}")
    print(f"{'':10}{'all':>9}" + "".join(f"{name:>10}" for name in names))
    for name, row in rows.items():
        print(f"{name:10}{row['nll']:9.3f}" + "".join(f"{row['by_field'][field]:10.3f}" for field in names))
    print(f"model: {metrics['nll_per_second']:.3f} nats per second of music")
    if "end_shift" in metrics:  # a run of an earlier version has none
        print(
            f"END's log odds: shifted by {metrics['end_shift']:+.3f}, so that pieces end as often as validation pieces"
            " do; the figures are those with the shift"
        )
    for title, key, unit in (("accuracy", "accuracy", 100), ("error, ms", "error_milliseconds", 1)):
        if metrics[key]:
            shown = ", ".join(
                f"{name} {unit * value:.1f}{'%' if unit == 100 else ''}" for name, value in metrics[key].items()
            )
            print(f"{title}: {shown}")
    for sentence in doubts(metrics, is_still_improving=_is_still_improving(folder, metrics["step"])):
        print(sentence)
    print(f"bundle: {storage.join(folder, 'bundle')} ({described['hash']})")


def _is_still_improving(folder: str, best_step: int) -> bool | None:
    """Whether the best validation was the last one; None if the run's figures are not there."""
    try:
        last = storage.read_text(storage.join(folder, "metrics.jsonl")).splitlines()[-1]
    except (FileNotFoundError, IndexError):
        return None
    return json.loads(last)["step"] == best_step


if __name__ == "__main__":
    command.exit_process(command.run("python -m trainer.task", main))
