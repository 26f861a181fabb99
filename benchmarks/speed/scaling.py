"""Simulates how long jobs with many pods take, and their machine hours, from measured rates.

    python -m benchmarks.scaling
    python -m benchmarks.scaling --num-files 178561 --num-pieces 100000 --preemptions-per-hour 0.05

Nothing here was measured on a cluster. Assumptions for encode and generate:

- A job has equal indexes, and `completions` equals `parallelism`, so every index has its own pod.
- A pod's rate is the measured rate per core times its cores times a log-normal factor around 1, drawn at every start
  (`SPREAD`: nodes differ and have noisy neighbours).
- A start takes `START_SECONDS` (node, image, imports, compilation). Preemptions are random, at a constant rate. The
  replacement starts at once; work since the last save is lost.
- A bucket accepts a limited number of requests per second (here the limit of a new Google bucket; it rises later).
  Pods that need more than their share wait.
- The last step (encode-finish, generate-merge) is one pod that reads everything once.

For train: all workers run at the speed of the slowest, times `EFFICIENCY`. If one is preempted, all restart together
from the last checkpoint.

The cost is machine hours times your price; `scripts.run_cost` makes a table of it.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
from collections.abc import Sequence

import numpy as np

from job_runtime import command
from job_runtime.command_line.settings import add_number

SPREAD = 0.15  # standard deviation of the logarithm of a pod's speed
START_SECONDS = 90.0
EFFICIENCY = 0.9  # of several workers, as benchmarks.distribution measured on one machine
DRAWS = 101
NUM_PODS = (1, 4, 16, 64, 256)
NUM_WORKERS = (1, 2, 4, 8)


@dataclasses.dataclass(frozen=True)
class Workload:
    """The work of one job; rates are per pod.

    Attributes:
      units: the amount of work.
      rate: units per second of a pod of average speed.
      save_seconds: the most work that a preemption loses.
      requests: to the bucket, per unit.
      request_limit: of the bucket, per second.
      last_rate: units per second of the last step.
    """

    units: float
    rate: float
    save_seconds: float
    requests: float
    request_limit: float
    last_rate: float


@dataclasses.dataclass(frozen=True)
class Outcome:
    """Median and 95 % quantile of the time until everything is done, and median machine time, in hours."""

    hours: float
    hours_95: float
    pod_hours: float


def simulate(
    workload: Workload, num_pods: int, preemptions_per_hour: float, rng: np.random.Generator
) -> tuple[float, float]:
    """Draws once: seconds until the last step is done, and seconds of all pods together."""
    rate = workload.rate
    if workload.requests:
        rate = min(rate, workload.request_limit / workload.requests / num_pods)
    spent = np.zeros(num_pods)
    left = np.full(num_pods, workload.units / num_pods)
    open_ones = np.arange(num_pods)
    while open_ones.size:
        speed = rate * np.exp(rng.normal(0.0, SPREAD, open_ones.size))
        needed = START_SECONDS + left[open_ones] / speed
        until = np.full(open_ones.size, np.inf)
        if preemptions_per_hour > 0:
            until = rng.exponential(3600 / preemptions_per_hour, open_ones.size)
        is_done = needed <= until
        worked = np.maximum(until - START_SECONDS, 0.0)
        kept = np.maximum(worked - workload.save_seconds * rng.random(open_ones.size), 0.0)
        spent[open_ones] += np.minimum(needed, until)
        left[open_ones] = np.where(is_done, 0.0, left[open_ones] - np.where(is_done, 0.0, kept * speed))
        open_ones = open_ones[~is_done]
    last = START_SECONDS + workload.units / workload.last_rate
    return float(spent.max()) + last, float(spent.sum()) + last


def simulate_training(
    notes: float,
    rate: float,
    num_workers: int,
    save_seconds: float,
    preemptions_per_hour: float,
    rng: np.random.Generator,
) -> tuple[float, float]:
    """The same for a training that reads `notes` notes; `rate` is notes per second of a single worker."""
    left, spent = notes, 0.0
    while True:
        pace = (
            np.exp(rng.normal(0.0, SPREAD, num_workers)).min() if num_workers > 1 else np.exp(rng.normal(0.0, SPREAD))
        )
        speed = rate * num_workers * pace * (EFFICIENCY if num_workers > 1 else 1.0)
        needed = START_SECONDS + left / speed
        until = rng.exponential(3600 / preemptions_per_hour / num_workers) if preemptions_per_hour > 0 else np.inf
        if needed <= until:
            return spent + needed, (spent + needed) * num_workers
        spent += until
        left -= max(until - START_SECONDS - save_seconds * rng.random(), 0.0) * speed


def summarise(draws: Sequence[tuple[float, float]]) -> Outcome:
    hours = np.array(draws) / 3600
    return Outcome(
        *(
            round(float(value), 4)
            for value in (np.median(hours[:, 0]), np.quantile(hours[:, 0], 0.95), np.median(hours[:, 1]))
        )
    )


def main(argv: Sequence[str]) -> int:
    args = _parse_args(argv)
    pieces_per_second = args.notes_per_second * args.cores / args.notes_per_piece
    writes = args.writes_per_second
    jobs = {
        "encode": Workload(
            args.num_files, args.files_per_second * args.cores, 30.0, 1.0, args.reads_per_second, 50_000.0
        ),
        "generate": Workload(args.num_pieces, pieces_per_second, 10.0, 2.0, writes, 1_500.0),
        "generate, tar shards": Workload(args.num_pieces, pieces_per_second, 20.0, 0.01, writes, 5_000.0),
    }
    outcomes: dict[str, dict[int, Outcome]] = {}
    for name, workload in jobs.items():
        outcomes[name] = {}
        for num_pods in NUM_PODS:
            rng = np.random.default_rng([args.rng_seed, num_pods])
            draws = [simulate(workload, num_pods, args.preemptions_per_hour, rng) for _ in range(DRAWS)]
            outcomes[name][num_pods] = summarise(draws)
    outcomes["train"] = {}
    for num_workers in NUM_WORKERS:
        rng = np.random.default_rng([args.rng_seed, num_workers])
        training = (args.training_notes, args.training_notes_per_second, num_workers, 600.0, args.preemptions_per_hour)
        outcomes["train"][num_workers] = summarise([simulate_training(*training, rng) for _ in range(DRAWS)])
    print("\n".join(_table(outcomes)))
    line = {"benchmark": "scaling", "settings": vars(args)}
    hours = {name: {str(n): dataclasses.asdict(row) for n, row in rows.items()} for name, rows in outcomes.items()}
    print(json.dumps({**line, "hours": hours}))
    return command.OK


def _table(outcomes: dict[str, dict[int, Outcome]]) -> list[str]:
    lines = [f"{'job':<22}{'pods':>6}{'hours':>10}{'95 %':>10}{'pod hours':>12}"]
    for name, rows in outcomes.items():
        lines += [
            f"{name:<22}{n:>6}{row.hours:>10.2f}{row.hours_95:>10.2f}{row.pod_hours:>12.1f}" for n, row in rows.items()
        ]
    return lines


def _parse_args(argv: Sequence[str]) -> argparse.Namespace:
    parser = command.make_parser("python -m benchmarks.scaling", __doc__)
    add_number(parser, "--num-files", 1e6, "files to encode", kind=float, above=0)
    add_number(parser, "--num-pieces", 1e6, "pieces to generate", kind=float, above=0)
    add_number(parser, "--notes-per-piece", 300, "of a generated piece", kind=float, above=0)
    add_number(parser, "--training-notes", 1e9, "notes that a training reads in all epochs", kind=float, above=0)
    add_number(parser, "--cores", 1, "cores of a pod that encodes or generates", kind=float, above=0)
    add_number(parser, "--files-per-second", 1060, "per core, see benchmarks.encode", kind=float, above=0)
    add_number(parser, "--notes-per-second", 12_000, "per core, see benchmarks.generate", kind=float, above=0)
    add_number(parser, "--training-notes-per-second", 200_000, "per worker: the rate of your GPU", kind=float, above=0)
    add_number(parser, "--preemptions-per-hour", 0.05, "per pod", kind=float, at_least=0)
    add_number(parser, "--reads-per-second", 5000, "of a bucket", kind=float, above=0)
    add_number(parser, "--writes-per-second", 1000, "of a bucket", kind=float, above=0)
    add_number(parser, "--rng-seed", 0, "of the draws", at_least=0)
    return parser.parse_args(argv)


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    command.exit_process(command.run("python -m benchmarks.scaling", main))
