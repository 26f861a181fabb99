"""The note model on the piano rolls of Boulanger-Lewandowski et al. 2012: exact nats per frame.

    python -m benchmarks.pianoroll calibrate --data jsb_chorales.npz
    python -m benchmarks.pianoroll train --data jsb_chorales.npz --output B [--minutes M] [--SETTING VALUE ...]
    python -m benchmarks.pianoroll evaluate --bundle B --data jsb_chorales.npz --split valid
    python -m benchmarks.pianoroll pack --bundle B --output benchmarks/bundles/jsb_chorales
    python -m benchmarks.pianoroll quality --set jsb_chorales --data jsb_chorales.npz

`train` makes a dataset of the rolls in B/dataset and trains on it as `trainer.task` does; the same command resumes a
stopped run. Settings come from benchmarks/quality/pianoroll/SET.yaml, if there is one for the set (by default the
file's name), then --config, then flags. `evaluate` ends with a line of JSON; several bundles are evaluated as an
ensemble. `quality` trains, packs and evaluates. docs/quality.md explains the figures.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import pathlib
import time
from collections.abc import Sequence
from typing import Any

from benchmarks.quality.pianoroll import pianoroll_data, pianoroll_score
from job_runtime import command, storage
from job_runtime.command_line.flags import one_of
from job_runtime.problem_report import UserError
from job_runtime.watched_stop import WatchedStop
from trainer import bundle as bundle_lib
from trainer import config as config_lib
from trainer import task
from trainer.config import TrainConfig
from trainer.training import whole_run

SETTINGS = pathlib.Path(__file__).resolve().parent
MAX_BYTES = 6_000_000  # of a bundle in the repository
DATASET = "dataset"  # folder in a run folder
MAX_TRANSPOSED = 6  # semitones: these reach every key


def make_parser() -> argparse.ArgumentParser:
    parser = command.make_parser("python -m benchmarks.pianoroll", __doc__)
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")

    def add_action(name: str, text: str) -> argparse.ArgumentParser:
        action = actions.add_parser(name, help=text, description=text)
        if name != "pack":
            action.add_argument("--data", metavar="FILE.npz", help="piano rolls; see docs/quality.md")
        return action

    add_action("calibrate", "independent pitches on every part of the file, to check that it is read correctly")
    for name, text in (("train", "train a model, or resume"), ("quality", "train, pack, evaluate; or resume")):
        action = add_action(name, text)
        action.add_argument("--output", required=name == "train", metavar="FOLDER", help="run folder")
        action.add_argument("--set", metavar="NAME", help="whose settings to take (default: the file's name)")
        action.add_argument("--minutes", metavar="FLOAT", help="the same as --max-minutes")
        config_lib.add_flags(action)
    evaluate = add_action("evaluate", "nats per frame of a bundle, or of several as an ensemble")
    evaluate.add_argument("--bundle", required=True, action="append", help="a bundle, or run folder; may be repeated")
    evaluate.add_argument(
        "--transposed",
        type=int,
        default=0,
        metavar="N",
        choices=range(0, MAX_TRANSPOSED + 1),
        help=f"an ensemble of each bundle in 2N + 1 transpositions, N at most {MAX_TRANSPOSED} (default: 0)",
    )
    evaluate.add_argument("--split", choices=pianoroll_data.PARTS, default="valid", help="default: valid")
    pack = add_action("pack", f"a bundle's weights as float16, at most {MAX_BYTES / 1e6:g} MB")
    pack.add_argument("--bundle", required=True, help="a bundle, or run folder")
    pack.add_argument("--output", required=True, help="a folder for the packed bundle")
    return parser


def main(argv: Sequence[str]) -> int:
    args = make_parser().parse_args(argv)
    if args.action != "pack" and not args.data:
        raise UserError(f"--data is not given; {pianoroll_data.SOURCE}")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    {"calibrate": calibrate, "train": train, "evaluate": evaluate, "pack": pack, "quality": quality}[args.action](args)
    return command.OK


def calibrate(args: argparse.Namespace) -> None:
    rolls = pianoroll_data.load(args.data)
    known = pianoroll_data.part_of(rolls, "train", args.data)
    for part, sequences in rolls.items():
        frames = sum(map(len, sequences))
        nats = pianoroll_score.independent_pitches(known, sequences)
        print(f"{part:6}{len(sequences):6} sequences{frames:9} frames{nats:9.4f} nats per frame", flush=True)
    print_json({part: pianoroll_score.independent_pitches(known, rolls[part]) for part in rolls})


def train(args: argparse.Namespace) -> None:
    config = settings_of(args)
    folder = storage.join(args.output, DATASET)
    pianoroll_data.write_dataset(folder, pianoroll_data.load(args.data))
    with WatchedStop() as stop:
        outcome = whole_run.train(config, data=folder, folder=args.output, stop=stop)
    if outcome.was_finished:
        print(f"{args.output} is finished already")
    task.print_summary(args.output)


def settings_of(args: argparse.Namespace) -> TrainConfig:
    """The trainer's settings: from the set's file, then --config, then the flags.

    Raises:
      UserError: an unknown set, setting or value.
    """
    name = args.set or pathlib.Path(args.data).stem
    path = SETTINGS / f"{name}.yaml"
    if args.set and not path.is_file():
        known = sorted(file.stem for file in SETTINGS.glob("*.yaml"))
        raise UserError(f"--set is {name!r}, want {one_of(known)}")
    base = TrainConfig(timing_loss="categorical")
    if path.is_file():
        base = config_lib.read(argparse.Namespace(config=str(path)), base=base)
    if args.minutes is not None and args.max_minutes is not None:
        raise UserError("--minutes and --max-minutes are the same; want only one of them")
    if args.minutes is not None:
        args.max_minutes = args.minutes
    config = config_lib.read(args, base=base)
    if config.timing_loss != base.timing_loss:
        raise UserError(f"--timing-loss is {config.timing_loss!r}, want {base.timing_loss}: frames are whole numbers")
    return config


def evaluate(args: argparse.Namespace) -> None:
    rolls = pianoroll_data.load(args.data)
    pieces = [pianoroll_data.to_piece(roll) for roll in pianoroll_data.part_of(rolls, args.split, args.data)]
    bundles = [bundle_lib.load(bundle_folder(name)) for name in args.bundle]
    counts = rests_of(bundles[0], rolls, args.data)
    start = time.monotonic()
    from benchmarks.quality.pianoroll.pianoroll_model import (
        decisions_of,  # imports TensorFlow, so only after all checks
    )

    members = [
        decisions_of(bundle, pieces, name=name, shift=shift)
        for bundle, name in zip(bundles, args.bundle, strict=True)
        for shift in range(-args.transposed, args.transposed + 1)
    ]
    figure = pianoroll_score.figure(pieces, pianoroll_score.mean_probabilities(members), counts)
    parameters = [sum(array.size for array in bundle.weights.values()) for bundle in bundles]
    sizes = f"{figure.sequences} sequences, {figure.frames} frames"
    print(f"{args.split}: {figure.nats_per_frame:.4f} nats per frame, {sizes}")
    about = {"split": args.split, "transposed": args.transposed, "parameters": parameters}
    about["bundles"] = [bundle.hash for bundle in bundles]
    print_json({**figure.to_json(), "seconds": round(time.monotonic() - start, 1), **about})


def bundle_folder(name: str) -> str:
    """The bundle's folder, given the bundle or its run folder."""
    inner = storage.join(name, "bundle")
    return inner if storage.exists(storage.join(inner, bundle_lib.FILE_NAME)) else name


def rests_of(bundle: bundle_lib.Bundle, rolls: dict[str, Any], path: str) -> dict[str, Any]:
    """Counts of empty frames around sequences: those packed with the bundle, else those of the file."""
    if "rests" in bundle.dataset:
        return bundle.dataset["rests"]
    known = pianoroll_data.part_of(rolls, "train", path)
    return pianoroll_data.count_rests([pianoroll_data.to_piece(roll) for roll in known])


def pack(args: argparse.Namespace) -> None:
    pack_bundle(args.bundle, args.output)


def pack_bundle(name: str, output: str) -> None:
    """Writes a bundle with float16 weights and the counts of empty frames from its run's dataset.

    Raises:
      UserError: it is too large, or a weight does not fit float16.
    """
    from midi_codec.dataset import dataset_info

    packed = bundle_lib.as_float16(bundle_lib.load(bundle_folder(name)), max_bytes=MAX_BYTES)
    about = dict(packed.dataset)
    dataset = storage.join(name, DATASET)
    if storage.exists(storage.join(dataset, dataset_info.FILE_NAME)):
        about["rests"] = dataset_info.load(dataset).settings["rests"]
    bundle_lib.save(output, dataclasses.replace(packed, dataset=about))
    size = sum(array.nbytes for array in packed.weights.values())
    print(f"{output}: {size / 1e6:.2f} MB of weights", flush=True)


def quality(args: argparse.Namespace) -> None:
    name = args.set or pathlib.Path(args.data).stem
    args.output = args.output or storage.join("run", "quality", name)
    train(args)
    packed = storage.join(args.output, "packed")
    pack_bundle(args.output, packed)
    evaluate(argparse.Namespace(bundle=[packed], data=args.data, split="valid", transposed=0))


def print_json(value: dict[str, Any]) -> None:
    print(json.dumps(value), flush=True)


if __name__ == "__main__":
    command.exit_process(command.run("python -m benchmarks.pianoroll", main))
