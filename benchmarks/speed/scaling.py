"""How long jobs of many pods take, and what they cost in machine hours: a simulation from measured rates.

    python -m benchmarks.scaling
    python -m benchmarks.scaling --num-files 178561 --num-pieces 100000 --preemptions-per-hour 0.05

Nothing here was measured on a cluster. What is assumed, for encode and generate:

- A job is cut into equal indexes; `completions` equals `parallelism`, so every index has a pod of its own.
- A pod works at the measured rate of a core times its cores, times a factor of its own: log-normal around 1, a new one
  for every start (`SPREAD`: nodes differ, and neighbours on them are noisy).
- A start takes `START_SECONDS` (node, image, imports, compilation). Preemptions come at random, at a constant rate;
  the replacement starts at once, and what was not saved since the last save is lost.
- A bucket takes so many requests a second (what a new one of Google's takes; it takes more after some time): pods that
  ask for more than their share of that wait.
- The last step (encode-finish, generate-merge) is one pod that looks at everything once.

For train: all workers go at the pace of the slowest, lose `EFFICIENCY` for meeting, and start anew together when one of
them is preempted, from the last checkpoint.

Money is machine hours times your price; `docs/cluster.md` has the formula.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import pathlib
import sys
from collections.abc import Sequence

import numpy as np

if not __package__:  # run as a file: the rooms lie some folders up
    sys.path[0] = str(pathlib.Path(__file__).resolve().parents[2])

from job_runtime import command
from job_runtime.command import UserError

SPREAD = 0.15  # standard deviation of the logarithm of a pod's speed
START_SECONDS = 90.0
EFFICIENCY = 0.9  # of each worker of several, as benchmarks.distribution measured on one machine
DRAWS = 101
NUM_PODS = (1, 4, 16, 64, 256)
NUM_WORKERS = (1, 2, 4, 8)


@dataclasses.dataclass(frozen=True)
class Kind:
    """What one job is made of; rates are a pod's.

    Attributes:
      units: what there is to do.
      rate: units a second of a pod of ordinary speed.
      save_seconds: how much of a pod's work is lost at a preemption, at most.
      requests: of the bucket, a unit.
      request_limit: of the bucket, a second.
      last_rate: units a second of the last step.
    """

    units: float
    rate: float
    save_seconds: float
    requests: float
    request_limit: float
    last_rate: float


@dataclasses.dataclass(frozen=True)
class Outcome:
    """Of many draws: median and 95 % quantile of the time until all is done, and the median of machine time; hours."""

    hours: float
    hours_95: float
    pod_hours: float


def simulate(kind: Kind, num_pods: int, preemptions_per_hour: float, rng: np.random.Generator) -> tuple[float, float]:
    """One draw: seconds until the last step is done, and seconds of all pods together."""
    rate = kind.rate
    if kind.requests:
        rate = min(rate, kind.request_limit / kind.requests / num_pods)
    spent = np.zeros(num_pods)
    left = np.full(num_pods, kind.units / num_pods)
    open_ones = np.arange(num_pods)
    while open_ones.size:
        speed = rate * np.exp(rng.normal(0.0, SPREAD, open_ones.size))
        needed = START_SECONDS + left[open_ones] / speed
        until = np.full(open_ones.size, np.inf)
        if preemptions_per_hour > 0:
            until = rng.exponential(3600 / preemptions_per_hour, open_ones.size)
        is_done = needed <= until
        worked = np.maximum(until - START_SECONDS, 0.0)
        kept = np.maximum(worked - kind.save_seconds * rng.random(open_ones.size), 0.0)
        spent[open_ones] += np.minimum(needed, until)
        left[open_ones] = np.where(is_done, 0.0, left[open_ones] - np.where(is_done, 0.0, kept * speed))
        open_ones = open_ones[~is_done]
    last = START_SECONDS + kind.units / kind.last_rate
    return float(spent.max()) + last, float(spent.sum()) + last


def simulate_training(
    notes: float,
    rate: float,
    num_workers: int,
    save_seconds: float,
    preemptions_per_hour: float,
    rng: np.random.Generator,
) -> tuple[float, float]:
    """The same of a training that reads so many notes, at `rate` notes a second of a worker alone."""
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
        "encode": Kind(args.num_files, args.files_per_second * args.cores, 30.0, 1.0, args.reads_per_second, 50_000.0),
        "generate": Kind(args.num_pieces, pieces_per_second, 10.0, 2.0, writes, 1_500.0),
        "generate, tar shards": Kind(args.num_pieces, pieces_per_second, 20.0, 0.01, writes, 5_000.0),
    }
    found: dict[str, dict[int, Outcome]] = {}
    for name, kind in jobs.items():
        found[name] = {}
        for num_pods in NUM_PODS:
            rng = np.random.default_rng([args.rng_seed, num_pods])
            draws = [simulate(kind, num_pods, args.preemptions_per_hour, rng) for _ in range(DRAWS)]
            found[name][num_pods] = summarise(draws)
    found["train"] = {}
    for num_workers in NUM_WORKERS:
        rng = np.random.default_rng([args.rng_seed, num_workers])
        training = (args.training_notes, args.training_notes_per_second, num_workers, 600.0, args.preemptions_per_hour)
        found["train"][num_workers] = summarise([simulate_training(*training, rng) for _ in range(DRAWS)])
    print("\n".join(_table(found)))
    line = {"benchmark": "scaling", "settings": vars(args)}
    hours = {name: {str(n): dataclasses.asdict(one) for n, one in rows.items()} for name, rows in found.items()}
    print(json.dumps({**line, "hours": hours}))
    return command.OK


def _table(found: dict[str, dict[int, Outcome]]) -> list[str]:
    lines = [f"{'job':<22}{'pods':>6}{'hours':>10}{'95 %':>10}{'pod hours':>12}"]
    for name, rows in found.items():
        lines += [
            f"{name:<22}{n:>6}{one.hours:>10.2f}{one.hours_95:>10.2f}{one.pod_hours:>12.1f}" for n, one in rows.items()
        ]
    return lines


def _parse_args(argv: Sequence[str]) -> argparse.Namespace:
    parser = command.make_parser("python -m benchmarks.scaling", __doc__)
    add = parser.add_argument
    add("--num-files", type=float, default=1e6, help="to encode (%(default)g)")
    add("--num-pieces", type=float, default=1e6, help="to generate (%(default)g)")
    add("--notes-per-piece", type=float, default=300, help="of them (%(default)g)")
    add("--training-notes", type=float, default=1e9, help="that a training reads, all epochs together (%(default)g)")
    add("--cores", type=float, default=1, help="of a pod that encodes or generates (%(default)g)")
    add("--files-per-second", type=float, default=1060, help="of a core, benchmarks.encode (%(default)g)")
    add("--notes-per-second", type=float, default=12_000, help="of a core, benchmarks.generate (%(default)g)")
    add("--training-notes-per-second", type=float, default=200_000, help="of a worker: your GPU's (%(default)g)")
    add("--preemptions-per-hour", type=float, default=0.05, help="of a pod (%(default)g)")
    add("--reads-per-second", type=float, default=5000, help="of a bucket (%(default)g)")
    add("--writes-per-second", type=float, default=1000, help="of a bucket (%(default)g)")
    add("--rng-seed", type=int, default=0, help="of the draws (%(default)s)")
    args = parser.parse_args(argv)
    zero_is_fine = ("preemptions_per_hour", "rng_seed")
    problems = [
        f"--{name.replace('_', '-')} is {value}, want a number {'from' if name in zero_is_fine else 'above'} 0"
        for name, value in vars(args).items()
        if not (value >= 0 if name in zero_is_fine else 0 < value < np.inf) or not np.isfinite(value)
    ]
    if problems:
        raise UserError(problems)
    return args


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    command.exit_process(command.run("python -m benchmarks.scaling", main))
