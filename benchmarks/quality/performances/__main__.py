"""Nats per note on performances: our model with each timing head, counting baselines, and a transformer, in equal time.

    python -m benchmarks.performances --data pop909=DATASET --data groove=DATASET --minutes 10 --output FOLDER

For every dataset: unigram, bigram and a 5-gram with Kneser-Ney smoothing; our model with each timing head; a PyTorch
transformer with as many parameters (`make peers`) that sees the same notes, bins and augmentation. Each trains for the
same time and is validated at equal intervals (`benchmarks.peers.timed_training` defines time). The same command skips
finished trainings and resumes interrupted ones. The last line is JSON.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import pathlib
import subprocess
import sys
from collections.abc import Iterator, Sequence
from typing import Any

from benchmarks.harness import machine
from benchmarks.harness.peer_process import PYTHON as PEER_PYTHON
from benchmarks.harness.peer_process import peers_installed
from benchmarks.quality.performances import performance_data, performance_report
from job_runtime import command
from job_runtime.problem_report import UserError
from midi_codec.dataset import dataset_info
from midi_codec.fields import CATEGORICAL, MIXTURE, MSE
from trainer import config as config_lib

PROGRAM = "python -m benchmarks.performances"
HEADS = (CATEGORICAL, MIXTURE, MSE)
TRANSFORMER = "transformer"
OUR_SETTINGS = config_lib.TrainConfig(batch_size=16)  # small steps for short trainings; the rest are defaults
TRANSFORMER_SETTINGS = {
    "width": 160,
    "layers": 4,
    "heads": 5,
    "window": 256,
    "batch_size": 4,
    "dropout": 0.1,
    "weight_decay": 0.1,
    "learning_rate": 2e-3,
}
QUICK_TRANSFORMER = {**TRANSFORMER_SETTINGS, "width": 32, "layers": 1, "heads": 2, "window": 32, "batch_size": 8}
QUICK_CONFIG = {"units": 32, "layers": 1, "head_units": 16, "batch_size": 8, "window": 32}
QUICK_MINUTES = 0.02


def main(argv: Sequence[str]) -> int:
    args = make_parser().parse_args(argv)
    datasets, config = check(args)
    with_peer = peers_installed(required=not args.quick)
    output = pathlib.Path(args.output)
    for name, path in datasets.items():
        performance_data.prepare(path, output / name)
        for run in plan(name, path, config, args, with_peer=with_peer):
            execute(run)
    report = performance_report.collect(output, list(datasets))
    report["machine"] = machine.describe(["tensorflow", "keras", "numpy"], performance_report.peer_versions(output))
    (output / "report.json").write_text(json.dumps(report) + "\n")
    performance_report.draw(report, output)
    print(performance_report.as_text(report))
    print(json.dumps(report), flush=True)
    return command.OK


def make_parser() -> argparse.ArgumentParser:
    parser = command.make_parser(PROGRAM, __doc__)
    add = parser.add_argument
    add("--data", action="append", required=True, metavar="NAME=DATASET", help="a dataset folder; may be repeated")
    add("--output", required=True, help="a folder for the results; the same folder resumes")
    add("--minutes", type=float, default=10.0, help="training time per model (default: %(default)s)")
    add("--validations", type=int, default=10, help="per training, at equal intervals (default: %(default)s)")
    add("--cores", type=int, default=0, help="cores per training; 0 for all (default: %(default)s)")
    add("--config", help="YAML file with settings of our model, as for trainer.task")
    add("--quick", action="store_true", help="tiny models, a second of training: only shows that it runs")
    return parser


def check(args: argparse.Namespace) -> tuple[dict[str, str], config_lib.TrainConfig]:
    """The datasets by name, and the settings of our model.

    Raises:
      UserError: every mistake in the flags and the datasets, all at once.
    """
    problems, datasets, config = [], dict[str, str](), OUR_SETTINGS
    for given in args.data:
        name, equals, path = given.partition("=")
        if not (equals and name.isidentifier() and path):
            problems.append(f"--data is {given!r}, want NAME=DATASET, the name of letters, digits and _")
        elif name in datasets:
            problems.append(f"--data names {name} twice, want other names")
        else:
            datasets[name] = path
            problems += data_problems(path)
    if not 0 < args.minutes < 1e6:
        problems.append(f"--minutes is {args.minutes}, want a number above 0")
    if not 1 <= args.validations <= 1000:
        problems.append(f"--validations is {args.validations}, want 1 to 1000")
    available = len(os.sched_getaffinity(0))
    if not 0 <= args.cores <= available:
        problems.append(f"--cores is {args.cores}, want 0 to {available}, as many as there are")
    try:
        config = config_lib.read(argparse.Namespace(config=args.config), base=OUR_SETTINGS)
    except UserError as error:
        problems += error.problems
    if problems:
        raise UserError(problems)
    return datasets, config


def data_problems(path: str) -> Iterator[str]:
    """Why a dataset cannot be used."""
    try:
        info = dataset_info.load(path)
    except UserError as error:
        yield from error.problems
        return
    for split in ("train", "validation"):
        if not info.splits[split].num_notes:
            yield f"{path}: the {split} split holds no note, want at least one"


@dataclasses.dataclass(frozen=True)
class TimedRun:
    """A training in a process of its own.

    Attributes:
      command: its command line, before the path of the setup.
      setup: JSON that it reads; `output` is its folder.
    """

    command: list[str]
    setup: dict[str, Any]

    @property
    def folder(self) -> pathlib.Path:
        return pathlib.Path(self.setup["output"])


def plan(
    name: str, path: str, config: config_lib.TrainConfig, args: argparse.Namespace, *, with_peer: bool
) -> Iterator[TimedRun]:
    """The trainings of a dataset; the transformer follows the model whose size it copies."""
    folder = pathlib.Path(args.output).resolve() / name
    cores = sorted(os.sched_getaffinity(0))[-args.cores :]
    minutes = QUICK_MINUTES if args.quick else args.minutes
    common = {"seconds": 60 * minutes, "validations": 2 if args.quick else args.validations, "cores": cores}
    for head in HEADS:
        changes: dict[str, Any] = {"timing_loss": head, "max_minutes": minutes, **(QUICK_CONFIG if args.quick else {})}
        settings = dataclasses.asdict(dataclasses.replace(config, **changes))
        setup = {**common, "data": str(pathlib.Path(path).resolve()), "output": str(folder / head), "config": settings}
        yield TimedRun([sys.executable, "-m", "benchmarks.quality.performances.performance_lstm"], setup)
        if head == CATEGORICAL and with_peer:
            setup = {
                **common,
                **(QUICK_TRANSFORMER if args.quick else TRANSFORMER_SETTINGS),
                **performance_data.read_about(folder)["table"],
                "arrays": str(folder / performance_data.ARRAYS),
                "output": str(folder / TRANSFORMER),
                "parameters": json.loads((folder / head / "curve.json").read_text())["about"]["parameters"],
                **{key: settings[key] for key in ("head_units", "transpose", "rng_seed")},
            }
            yield TimedRun([str(PEER_PYTHON), "-m", "benchmarks.peers.transformer"], setup)


def execute(run: TimedRun) -> None:
    """Runs or resumes a training, unless it is finished.

    Raises:
      UserError: the folder holds a run with other settings.
      RuntimeError: the process failed.
    """
    run.folder.mkdir(parents=True, exist_ok=True)
    setup_path = run.folder / "setup.json"
    if setup_path.exists():
        saved = json.loads(setup_path.read_text())
        wanted = json.loads(json.dumps(run.setup))  # JSON has no tuples
        different = sorted(key for key in {*saved, *wanted} - {"cores"} if saved.get(key) != wanted.get(key))
        if different:
            raise UserError(f"{run.folder} holds a run with other {', '.join(different)}; want another --output")
    if is_finished(run):
        return
    setup_path.write_text(json.dumps(run.setup) + "\n")
    print(f"\n{run.folder.parent.name}, {run.folder.name}", flush=True)
    status = subprocess.run([*run.command, str(setup_path)], cwd=machine.ROOT).returncode
    if status:
        raise RuntimeError(f"{' '.join(run.command)} {setup_path} ended with status {status}")


def is_finished(run: TimedRun) -> bool:
    """Whether all its validations are done."""
    path = run.folder / "curve.json"
    return path.exists() and len(json.loads(path.read_text())["points"]) >= run.setup["validations"]


if __name__ == "__main__":
    command.exit_process(command.run(PROGRAM, main))
