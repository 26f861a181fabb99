"""Searches for good settings: trains trials of a search space until there are enough, and reports the best.

    python -m trainer.tune --data DATASET --space space.yaml --output OUTPUT --study NAME --num-trials 50

Any number of workers may run the same command with the same --storage: they share the study, and --num-trials counts
the trials of all of them. If a worker is stopped or dies, another continues its trial from the checkpoint. The same
command continues a study; if nothing is left to do, it writes the report again.

    OUTPUT/trials/0007/     run folder of a trial, as trainer.task leaves it
    OUTPUT/report.html, trials.json, best.yaml
"""

from __future__ import annotations

import argparse
import functools
import importlib
import os
import socket
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from job_runtime import command, storage
from job_runtime.command_line.flags import Parser, group_of
from job_runtime.command_line.settings import add_number
from job_runtime.problem_report import UserError
from job_runtime.watched_stop import WatchedStop
from midi_codec.dataset import dataset_info
from trainer.data import split_cache
from trainer.distribution import cluster
from trainer.training import run_checks, whole_run
from trainer.tune import search_space

if TYPE_CHECKING:
    from optuna.study import Study

MEDIAN, HALVING, NO_PRUNER = PRUNERS = ("median", "halving", "none")
TRIAL_DEFAULTS = {"samples": 0}  # samples of trials are not needed
STUDY_FORMAT = 2  # of the attributes of trials
HIGHEST_RNG_SEED = 2**31 - 1


def make_parser() -> Parser:
    parser = command.make_parser("python -m trainer.tune", __doc__)
    add = parser.add_argument
    add("--data", required=True, help="a dataset folder, as encode_corpus writes it")
    add("--space", required=True, help="a YAML file: which settings vary, and how; see docs/tune.md")
    add("--config", help="YAML file of settings, as for trainer.task, for those that the space does not name")
    add("--output", required=True, help="a folder for the trials' run folders and the report")
    add("--study", default="tune", help="name of the study in the storage (default: tune)")
    add(
        "--storage",
        help="where the study is kept: sqlite:///FILE, postgresql://USER@HOST/DATABASE (password from PGPASSWORD), or"
        " the path of a journal file (default: $TUNE_STORAGE, else sqlite in --output if that is local)",
    )
    add_number(parser, "--num-trials", 50, "trials of all workers and starts together", at_least=1, at_most=10**6)
    add(
        "--pruner",
        choices=PRUNERS,
        default=MEDIAN,
        help="end a trial that is worse than the median of the others at the same validation, or than the best quarter"
        " of them (halving) (default: median)",
    )
    add_number(parser, "--rng-seed", 0, "random number seed of the search", at_least=0, at_most=HIGHEST_RNG_SEED)
    add("--best-config", help="file for the best trial's settings, for trainer.task --config")
    workers = group_of(parser, "several workers")
    workers.add_argument("--cache-dir", help=split_cache.HELP)
    add_number(
        workers,
        "--heartbeat-seconds",
        20,
        "a worker silent for three times as long counts as dead",
        at_least=1,
        at_most=3600,
    )
    modes = group_of(parser, "parts of the work").add_mutually_exclusive_group()
    modes.add_argument("--create-only", action="store_true", help="create the study and exit; workers will find it")
    modes.add_argument("--report-only", action="store_true", help="write the report of the study so far, and exit")
    modes.add_argument(
        "--retry-running",
        action="store_true",
        help="first take over all trials that count as running; use it after a crash, when no other worker is running",
    )
    return parser


def main(argv: Sequence[str]) -> int:
    args, flag_problems = make_parser().parse(argv)
    space, info = _check(args, flag_problems)
    identity = {
        **space.to_json(),
        "format": STUDY_FORMAT,
        "dataset": info.hash,
        "--pruner": args.pruner,
        "--rng-seed": args.rng_seed,
    }
    if args.create_only:
        _open(args, identity)
        print(f"study {args.study!r} exists")
        return command.OK
    if args.report_only:
        study = _open(args, identity, only_load=True)
        _report(study, space, args)
        return command.OK
    with WatchedStop() as stop:
        study = _open(args, identity)
        _work(study, space, args, stop)
    _report(study, space, args)
    return command.OK


def _check(
    args: argparse.Namespace, flag_problems: Sequence[str]
) -> tuple[search_space.SearchSpace, dataset_info.DatasetInfo]:
    """Reads the search space and the dataset's description.

    Raises:
      UserError: every mistake in flags and files, all at once.
    """
    problems = [*flag_problems, *_flag_problems(args)]
    space = info = None
    with command.collecting(problems):
        space = search_space.read(args.space, base_path=args.config, defaults=TRIAL_DEFAULTS) if args.space else None
    with command.collecting(problems):
        info = dataset_info.load(args.data) if args.data else None
    if space is not None and info is not None:
        space = space.planned(info, TRIAL_DEFAULTS)
        problems += _dataset_problems(space, info, args.data)
    if problems:
        raise UserError(problems)
    assert space is not None and info is not None
    return space, info


def _flag_problems(args: argparse.Namespace) -> list[str]:
    """Every mistake that shows without reading a file."""
    from trainer.tune import study_storage

    problems = split_cache.folder_problems(args.cache_dir)
    if not args.study or len(args.study) > 200:
        problems.append(f"--study is {args.study!r}, want a name of at most 200 characters")
    args.storage = args.storage or os.environ.get("TUNE_STORAGE") or study_storage.local_default(args.output or "")
    if args.storage is None:
        problems.append("--storage is not given and --output is a bucket, want a database: postgresql://USER@HOST/NAME")
    else:
        with command.collecting(problems):
            study_storage.check(args.storage)
    with command.collecting(problems):
        if cluster.num_workers() > 1:
            problems.append("TF_CONFIG names several workers, want none: each worker of a study trains by itself")
    return problems


def _dataset_problems(space: search_space.SearchSpace, info: dataset_info.DatasetInfo, path: str) -> list[str]:
    """Every value of the space that does not fit the dataset."""
    problems: dict[str, None] = {}
    for params in space.corners():
        try:
            run_checks.check_dataset(info, space.config_of(params), path)
        except UserError as error:
            problems.update(dict.fromkeys(error.problems))
    return list(problems)


def _open(args: argparse.Namespace, identity: dict[str, Any], *, only_load: bool = False) -> Study:
    """Opens the study, and creates it if there is none."""
    import optuna

    from trainer.tune import study_storage, trials

    warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)  # heartbeats are experimental
    optuna.logging.set_verbosity(optuna.logging.ERROR)  # `trainer.tune.worker` prints what happens
    opened = study_storage.open_storage(args.storage, beat_seconds=args.heartbeat_seconds)
    options = {
        "pruner": {
            MEDIAN: lambda: optuna.pruners.MedianPruner(n_startup_trials=5, n_warmup_steps=2),
            HALVING: lambda: optuna.pruners.SuccessiveHalvingPruner(min_resource=1),
            NO_PRUNER: optuna.pruners.NopPruner,
        }[args.pruner](),
    }
    if only_load:
        study = study_storage.load(opened, args.study, **options)
        study_storage.check_identity(study, identity)
        return study
    study = study_storage.create_or_load(opened, args.study, identity, **options)
    if args.retry_running:
        taken = trials.running(study)
        trials.take_over(study, taken)
        print(f"{len(taken)} trial(s) that counted as running are continued")
    return study


def _work(study: Study, space: search_space.SearchSpace, args: argparse.Namespace, stop: WatchedStop) -> None:
    from trainer.tune import study_report, study_storage, trials
    from trainer.tune.worker import Worker

    beats = not study_storage.is_journal(args.storage)
    if not beats:
        print("the study is in a file without heartbeats: the trial of a dead worker is not continued by others")
    if trials.has_work(study, args.num_trials):
        # Loading TensorFlow stops all threads for seconds, so it is done before a trial has to send heartbeats.
        importlib.import_module("trainer.training.loop")
    worker = Worker(
        study,
        space,
        train=functools.partial(whole_run.train, cache_dir=args.cache_dir or split_cache.default_folder(args.output)),
        data=args.data,
        output=args.output,
        num_trials=args.num_trials,
        name=socket.gethostname(),
        rng_seed=args.rng_seed,
        check_seconds=args.heartbeat_seconds,
    )
    grace = study_storage.GRACE_BEATS * args.heartbeat_seconds if beats else None

    def after_trial() -> None:
        if not stop.requested:
            study_report.write(study, space, args.output, without=_left_out(space))

    worker.run(stop, grace_seconds=grace, after_trial=after_trial)


def _left_out(space: search_space.SearchSpace) -> list[str]:
    """Settings that apply to trials only, and are left out of the best settings."""
    return [
        name for name, value in TRIAL_DEFAULTS.items() if name not in space.given and getattr(space.base, name) == value
    ]


def _report(study: Study, space: search_space.SearchSpace, args: argparse.Namespace) -> None:
    from trainer.tune import study_report

    study_report.write(study, space, args.output, without=_left_out(space))
    print(f"report: {storage.join(args.output, study_report.REPORT_FILE)}")
    best = study_report.best_params(study)
    if best is None:
        print("no trial is complete yet")
        return
    trial, value, params = best
    shown = ", ".join(f"{name} {value}" for name, value in params.items())
    print(f"best: trial {trial}, {value:.4f} nats per note: {shown}")
    if args.best_config:
        study_report.write_best(study, space, args.best_config, without=_left_out(space))
        print(f"its settings: {args.best_config}")


if __name__ == "__main__":
    command.exit_process(command.run("python -m trainer.tune", main))
