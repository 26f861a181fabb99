"""Trains a note model on a dataset and leaves a bundle.

    python -m trainer.task --data DATASET --output RUN [--config run.yaml] [--any-setting value]

The devices decide the strategy: several workers (TF_CONFIG, or --num-workers with --worker-host-pattern) train as one,
several GPUs of one machine too, else the one device. The same command goes on with a run that was stopped, and does
nothing for one that is finished.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
from collections.abc import Sequence
from typing import Any

from midi_codec import command, dataset_info, fields, storage
from midi_codec.command import UserError
from midi_codec.notes import BEATS
from trainer import config as config_lib

RUN_FILE = "run.json"


def make_parser() -> argparse.ArgumentParser:
    parser = command.make_parser("python -m trainer.task", __doc__)
    parser.add_argument("--data", required=True, help="dataset folder, as encode_corpus writes it")
    parser.add_argument("--output", required=True, help="run folder: checkpoints, metrics, bundle")
    parser.add_argument("--num-workers", type=int, help="processes that train together (default: what TF_CONFIG says)")
    parser.add_argument("--worker-host-pattern", help="their addresses, with {index}, such as train-{index}.train:2222")
    config_lib.add_flags(parser)
    return parser


def main(argv: Sequence[str]) -> int:
    args = make_parser().parse_args(argv)
    config = config_lib.read(args)
    info = dataset_info.load(args.data)
    table = make_field_table(info, config, args.data)
    check_folder(args.output, config, info)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # TensorFlow's start-up notices are not news here
    with command.StopSignal() as stop:
        return train(args, config, info, table, stop)


def make_field_table(info: dataset_info.DatasetInfo, config: config_lib.TrainConfig, place: str) -> fields.FieldTable:
    """The field table of the training split.

    Raises:
      UserError: a split that training needs is empty, or a setting does not fit the grid.
    """
    problems = [
        f"{place}: the {split} split holds no piece, want at least one"
        for split in ("train", "validation")
        if not info.splits[split].num_notes
    ]
    if config.tempo and info.time_base == BEATS:
        problems.append(f"tempo is {config.tempo} but {place} lies on a grid of {BEATS}, which has no tempo; want 0")
    if problems:
        raise UserError(problems)
    histograms = info.histograms["train"]
    return fields.build_field_table(
        {name: (histograms[name].values, histograms[name].counts) for name in ("step", "duration")},
        programs=info.programs,
        time_base=info.time_base,
        timing_loss=config.timing_loss,
    )


def claim_folder(folder: str, config: config_lib.TrainConfig, info: dataset_info.DatasetInfo) -> None:
    """Writes `run.json`, or compares it with the one that is there, as `check_folder` does."""
    text = json.dumps(_described(config, info), indent=1) + "\n"
    if not storage.write_bytes(storage.join(folder, RUN_FILE), text.encode(), only_if_absent=True):
        check_folder(folder, config, info)


def _described(config: config_lib.TrainConfig, info: dataset_info.DatasetInfo) -> dict[str, Any]:
    return {**dataclasses.asdict(config), "dataset": info.hash}


def check_folder(folder: str, config: config_lib.TrainConfig, info: dataset_info.DatasetInfo) -> None:
    """Compares the run with the one that is in the folder, if there is one.

    Raises:
      UserError: the folder holds a run with other settings or another dataset; every difference at once.
    """
    wanted, path = _described(config, info), storage.join(folder, RUN_FILE)
    try:
        there = json.loads(storage.read_bytes(path))
    except FileNotFoundError:
        return
    except ValueError as error:
        raise UserError(f"{path}: not JSON: {error}") from error
    names = sorted(wanted.keys() | there.keys())
    raise_for = [
        f"{path}: {name} is {there.get(name)!r} there and {wanted.get(name)!r} here; want the same, or another --output"
        for name in names
        if there.get(name) != wanted.get(name)
    ]
    if raise_for:
        raise UserError(raise_for)


def train(
    args: argparse.Namespace,
    config: config_lib.TrainConfig,
    info: dataset_info.DatasetInfo,
    table: fields.FieldTable,
    stop: command.StopSignal,
) -> int:
    """Everything after the arguments are known to be right; imports TensorFlow."""
    from trainer import baselines, pieces, strategy

    strategy.set_tf_config(args.num_workers, args.worker_host_pattern)
    devices = strategy.make_strategy()
    stop.listen()  # with several workers TensorFlow puts a handler of its own on SIGTERM
    replicas = devices.num_replicas_in_sync
    if config.batch_size % replicas:
        raise UserError(f"--batch-size is {config.batch_size}, want a multiple of the {replicas} replicas")
    is_chief = strategy.is_chief(devices)
    if is_chief:
        claim_folder(args.output, config, info)
    from trainer.loop import Run
    from trainer.train_step import TrainStep

    print(f"training on {replicas} replica(s) with {strategy.name_of(devices)}", flush=True)
    splits = {name: pieces.load_split(args.data, info, name, table) for name in ("train", "validation")}
    scores = baselines.score_baselines(splits["train"], splits["validation"], table)
    origin = {
        "dataset": {"hash": info.hash, "time_base": info.time_base, "num_notes": splits["train"].num_notes},
        "baselines": {name: dataclasses.asdict(score) for name, score in scores.items()},
    }
    step = TrainStep(config, table, devices)
    run = Run(config, step, devices, folder=args.output, is_chief=is_chief)
    if run.state.finished:
        print(f"{args.output} is finished already")
    run.train(splits["train"], splits["validation"], stop=stop, origin=origin)
    if is_chief:
        print_summary(args.output)
    return command.OK


def print_summary(folder: str) -> None:
    """A table of the best model beside the baselines, nats a note by field."""
    from trainer import bundle

    described = bundle.load_description(storage.join(folder, "bundle"))
    metrics = described["metrics"]
    names = [field["name"] for field in described["fields"]["fields"]]
    rows = {name: score for name, score in metrics["baselines"].items()}
    rows["model"] = {"nll": metrics["validation_nll"], "by_field": metrics["validation_nll_by_field"]}
    print(f"\nvalidation, nats a note (END included), best at step {metrics['step']}")
    print(f"{'':10}{'all':>9}" + "".join(f"{name:>10}" for name in names))
    for name, row in rows.items():
        print(f"{name:10}{row['nll']:9.3f}" + "".join(f"{row['by_field'][field]:10.3f}" for field in names))
    for title, key, unit in (("right", "accuracy", 100), ("error, ms", "error_milliseconds", 1)):
        if metrics[key]:
            shown = ", ".join(
                f"{name} {unit * value:.1f}{'%' if unit == 100 else ''}" for name, value in metrics[key].items()
            )
            print(f"{title}: {shown}")
    print(f"bundle: {storage.join(folder, 'bundle')} ({described['hash']})")


if __name__ == "__main__":
    command.exit_process(command.run("python -m trainer.task", main))
