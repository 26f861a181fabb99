"""Notes per second from the input pipeline, against what the training step consumes; padding; loading a split.

    python -m benchmarks.feed [DATASET ...]

`feed` makes batches with every augmentation (transposition, tempo, velocity), `feed_plain` with none, `feed_half` the
rows of one of two workers (its rate counts the whole batch's notes). `load` reads the training split; `plan` cuts,
shuffles and sorts an epoch. `step` is the training step of `trainer.task` at the train benchmark's size. With datasets,
the first is fed and the padding of each is measured; without, it makes performances.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import pathlib
import tempfile
import time
from collections.abc import Iterator, Sequence
from typing import Any

from benchmarks.harness import machine, synthetic
from benchmarks.harness.rounds import Case, measure, print_report, timed
from benchmarks.speed import replicas
from job_runtime import command
from midi_codec import fields
from midi_codec.dataset import dataset_info
from trainer.config import TrainConfig
from trainer.data.batches import TIME_MULTIPLE, WHOLE, Part
from trainer.data.epoch_plan import EpochPlan
from trainer.data.feed import Feed, Position
from trainer.data.pieces import Pieces
from trainer.data.split_cache import load_split

NUM_FILES, MEAN_NOTES, NUM_ROUNDS = 400, 2000, 9
QUICK_FILES, QUICK_NOTES = 8, 300
SIZE = {"units": 512, "layers": 2, "batch": 64, "time": 128}
QUICK_SIZE = {"units": 32, "layers": 1, "batch": 4, "time": 16}
AUGMENTATION: dict[str, Any] = {"transpose": 5, "tempo": 0.1, "velocity": 4}
WATCHED_STEPS = 8  # of a real run, with feed and step together


def main(argv: Sequence[str]) -> int:
    parser = command.make_parser("python -m benchmarks.feed", __doc__)
    parser.add_argument("datasets", nargs="*", metavar="DATASET", help="dataset folders (default: made for the run)")
    parser.add_argument("--quick", action="store_true", help="tiny sizes, one round: only shows that it runs")
    args = parser.parse_args(argv)
    size = QUICK_SIZE if args.quick else SIZE
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    config = TrainConfig(
        units=size["units"], layers=size["layers"], batch_size=size["batch"], window=size["time"], **AUGMENTATION
    )
    with contextlib.ExitStack() as stack:
        folders = args.datasets or [make_dataset(stack, quick=args.quick)]
        tables = [fields.dataset_table(dataset_info.load(folder)) for folder in folders]
        loaded = [load(folder, table) for folder, table in zip(folders, tables, strict=True)]
        cases = [*feed_cases(folders[0], loaded[0], tables[0], config), step_case(size)]
        rates = measure(cases, num_rounds=1 if args.quick else NUM_ROUNDS)
        figures = {
            f"padding_percent_{pathlib.Path(folder).name if args.datasets else 'made'}": padding(pieces, config)
            for folder, pieces in zip(folders, loaded, strict=True)
        }
        figures["waited_percent_of_steps"] = wait_percent(loaded[0], tables[0], config)
    print_report(
        "feed",
        rates,
        pairs=[("feed", "step"), ("feed_plain", "step"), ("feed_half", "feed")],
        of_limit={},
        machine=machine.describe(["tensorflow", "keras", "numpy"], {}),
        figures=figures,
    )
    return command.OK


def make_dataset(stack: contextlib.ExitStack, *, quick: bool) -> str:
    """A dataset of performances in a temporary folder."""
    from beam_pipelines import encode_corpus

    scratch = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="benchmark-feed-")))
    (scratch / "corpus").mkdir()
    num_files, mean_notes = (QUICK_FILES, QUICK_NOTES) if quick else (NUM_FILES, MEAN_NOTES)
    synthetic.write_corpus(scratch / "corpus", num_files=num_files, mean_notes=mean_notes)
    folder = str(scratch / "dataset")
    encode_corpus.main(["--input", str(scratch / "corpus"), "--output", folder, "--split-percents", "90,5,5"])
    return folder


def load(folder: str, table: fields.FieldTable) -> Pieces:
    return load_split(folder, dataset_info.load(folder), "train", table)


def feed_cases(folder: str, pieces: Pieces, table: fields.FieldTable, config: TrainConfig) -> Iterator[Case]:
    plan = plan_of(pieces, config, epoch=0)
    none: dict[str, Any] = dict.fromkeys(AUGMENTATION, 0)
    plain = dataclasses.replace(config, **none)
    events = pieces.total_events

    def drain(settings: TrainConfig, part: Part) -> None:
        """Consumes an epoch as fast as it is made."""
        batches = Feed(pieces, table, settings, start_bins=table.start_bins, position=Position(), part=part)
        with contextlib.closing(batches):
            for _ in plan:
                next(batches)

    yield Case("feed", timed(lambda: drain(config, WHOLE)), events, "notes")
    yield Case("feed_plain", timed(lambda: drain(plain, WHOLE)), events, "notes")
    yield Case("feed_half", timed(lambda: drain(config, Part(index=1, count=2, replicas=2))), events, "notes")
    yield Case("plan", timed(lambda: plan_of(pieces, config, epoch=0)), events, "notes")
    yield Case("load", timed(lambda: load(folder, table)), pieces.num_notes, "notes")


def plan_of(pieces: Pieces, config: TrainConfig, *, epoch: int) -> EpochPlan:
    return EpochPlan(pieces, window=config.window, batch_size=config.batch_size, rng_seed=config.rng_seed, epoch=epoch)


def padding(pieces: Pieces, config: TrainConfig) -> float:
    """Percentage of padding in an epoch's batches, on one replica."""
    cells = sum(
        len(windows) * -(-int(windows.length.max()) // TIME_MULTIPLE) * TIME_MULTIPLE
        for windows in plan_of(pieces, config, epoch=0)
    )
    return 100 * (1 - pieces.total_events / cells)


def step_case(size: dict[str, int]) -> Case:
    run = replicas.make_step(replicas.make_strategy(1), size)
    return Case("step", timed(run), size["batch"] * size["time"], "notes")


def wait_percent(pieces: Pieces, table: fields.FieldTable, config: TrainConfig) -> float:
    """Percentage of the time spent waiting for a batch in steps of a real run, without the first."""
    from trainer.training.train_step import TrainStep

    step = TrainStep(config, table, replicas.make_strategy(1))
    batches = Feed(pieces, table, config, start_bins=table.start_bins, position=Position())
    with contextlib.closing(batches):
        step(next(batches)[0], replicas.LEARNING_RATE)
        start, waited_before = time.monotonic(), batches.waited
        for _ in range(WATCHED_STEPS):
            step(next(batches)[0], replicas.LEARNING_RATE)
        return 100 * (batches.waited - waited_before) / (time.monotonic() - start)


if __name__ == "__main__":
    command.exit_process(command.run("python -m benchmarks.feed", main))
