"""What a run will cost, in one table, from measured rates and the pods of an environment.

    python -m scripts.run_cost ../my.env --notes 33739000 --encode-seconds 59.4 --pieces 50000 --pieces-per-second 32.5

--notes and --encode-seconds (with one task) are what `encode_corpus --survey` says, --pieces and --pieces-per-second
what `generate --dry-run` says on a machine with the cores of a pod. The rest are assumptions: give those of your cloud.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections.abc import Iterator, Sequence

from job_runtime import command
from job_runtime.command_line.settings import add_number
from scripts.fill_manifests import read

PROGRAM = "python -m scripts.run_cost"
TRAIN_SHARE = 0.9  # of the notes, with the default splits
LAST_STEP = 0.1  # of an encode's seconds
CHECKED_PER_SECOND = 1500.0  # pieces, by generate-merge
WRITES_PER_PIECE = 2


@dataclasses.dataclass(frozen=True)
class Cost:
    """What the pods of a job take; seconds are those of all of them together."""

    job: str
    pods: int
    seconds: float
    cores: float
    gpus: int = 0

    @property
    def core_hours(self) -> float:
        return self.seconds / 3600 * self.cores

    @property
    def gpu_hours(self) -> float:
        return self.seconds / 3600 * self.gpus


def costs(values: dict[str, str], args: argparse.Namespace) -> Iterator[Cost]:
    """The jobs of a run that encodes, trains in one pod and generates."""
    start = args.start_seconds
    pods = int(values["ENCODE_PODS"])
    yield Cost("encode", pods, args.encode_seconds + pods * start, _cores(values["ENCODE_CPU"]))
    yield Cost("encode-finish", 1, start + args.encode_seconds * (1 / pods + LAST_STEP), 1)
    steps = args.notes * TRAIN_SHARE * args.epochs / args.training_notes_per_second
    yield Cost("train", 1, start + steps, _cores(values["TRAIN_CPU"]), int(values.get("GPUS", 0)))
    pods, seconds = int(values["GENERATE_PODS"]), args.pieces / args.pieces_per_second
    yield Cost("generate", pods, seconds + pods * start, _cores(values["GENERATE_CPU"]))
    yield Cost("generate-merge", 1, start + seconds / pods + args.pieces / CHECKED_PER_SECOND, 1)


def _cores(text: str) -> float:
    return int(text[:-1]) / 1000 if text.endswith("m") else float(text)


def table(jobs: Sequence[Cost], args: argparse.Namespace) -> Iterator[str]:
    yield f"{'job':<16}{'pods':>6}{'pod hours':>12}{'core hours':>12}{'GPU hours':>12}{'cost':>10}"
    total = 0.0
    for each in jobs:
        cost = each.core_hours * args.core_hour + each.gpu_hours * args.gpu_hour
        total += cost
        hours = f"{each.seconds / 3600:>12.2f}{each.core_hours:>12.2f}{each.gpu_hours:>12.2f}"
        yield f"{each.job:<16}{each.pods:>6}{hours}{cost:>10.2f}"
    writes = args.pieces * WRITES_PER_PIECE / args.pieces_per_shard
    total += writes / 1000 * args.thousand_writes
    yield f"{'writes':<16}{writes:>42,.0f}{writes / 1000 * args.thousand_writes:>10.2f}"
    yield f"{'all':<16}{total:>52.2f}"


def main(argv: Sequence[str]) -> int:
    parser = command.make_parser(PROGRAM, __doc__)
    parser.add_argument("environment", help="a copy of a file of k8s/environments")
    needed = (
        ("--notes", "of the corpus"),
        ("--encode-seconds", "of an encode with one task"),
        ("--pieces", "to generate"),
        ("--pieces-per-second", "of a pod"),
    )
    for flag, meaning in needed:
        add_number(parser, flag, None, meaning, kind=float, above=0)
    add_number(parser, "--epochs", 30, "of the training", kind=float, above=0)
    add_number(parser, "--training-notes-per-second", 200_000, "of the training pod", kind=float, above=0)
    add_number(parser, "--start-seconds", 90, "until a pod works: node, image, imports", kind=float, at_least=0)
    add_number(parser, "--pieces-per-shard", 1, "1: loose pieces", kind=float, at_least=1)
    add_number(parser, "--core-hour", 0.05, "price of a core for an hour", kind=float, at_least=0)
    add_number(parser, "--gpu-hour", 0.70, "price of a GPU for an hour", kind=float, at_least=0)
    add_number(parser, "--thousand-writes", 0.005, "price of a thousand writes", kind=float, at_least=0)
    args = parser.parse_args(argv)
    missing = [flag for flag, _ in needed if getattr(args, flag[2:].replace("-", "_")) is None]
    if missing:
        parser.error(f"{', '.join(missing)} missing, want what --survey and --dry-run say")
    environment, _ = read(args.environment)
    print(*table(list(costs(environment.values, args)), args), sep="\n")
    return command.OK


if __name__ == "__main__":
    sys.exit(command.run(PROGRAM, main))
