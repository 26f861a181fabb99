"""What a training worker does with corpora of several sizes, without the model: seconds, and memory of its own.

    python -m benchmarks.large_corpus --millions 1 20 100 --folder SCRATCH

For each number of million notes it makes a dataset of performances (a thousand different ones, over and over), and a
process does what a run does: builds the caches, opens them, counts for the baselines (--baselines), plans an epoch,
takes shuffled batches from a file that is no longer in the page cache, and goes through the validation split. Memory
is RssAnon: what the process itself holds, without files that it maps. The dataset and caches, about 17 bytes per note,
are deleted after each size.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import pathlib
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from benchmarks.harness import synthetic
from benchmarks.harness.phases import phase
from job_runtime import command, storage
from midi_codec import fields
from midi_codec.dataset import dataset_info, records
from midi_codec.dataset.dataset_info import DatasetInfo, Histogram, SplitInfo
from trainer.data import split_cache
from trainer.data.pieces import lay_out
from trainer.data.shard_reader import LaidOut

PIECES_PER_SHARD, NOTES_PER_PIECE = 1000, 1000
VALIDATION_SHARE = 0.01
BATCHES = 400
TRAINING: dict[str, Any] = {"batch_size": 64, "window": 128, "transpose": 5}
MEMORY = 144  # notes before a window


def main(argv: Sequence[str]) -> int:
    parser = command.make_parser("python -m benchmarks.large_corpus", __doc__)
    parser.add_argument("--millions", type=int, nargs="+", default=[1, 20], help="notes of the training split")
    parser.add_argument("--folder", required=True, help="for datasets and caches, on a local disk")
    parser.add_argument("--baselines", action="store_true", help="count for the baselines, too")
    parser.add_argument(
        "--one-shard", action="store_true", help="decode one shard only, and build with its notes over and over"
    )
    parser.add_argument("--work", help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    if args.work is not None:
        print(json.dumps(work(args.work, baselines=args.baselines, one_shard=args.one_shard)), flush=True)
        return command.OK
    for millions in args.millions:
        folder = pathlib.Path(args.folder) / f"{millions}-million"
        try:
            write_dataset(str(folder / "dataset"), millions * 10**6, one_shard=args.one_shard)
            child = [sys.executable, "-m", "benchmarks.large_corpus", "--folder", args.folder, "--work", str(folder)]
            child += ["--baselines"] * args.baselines + ["--one-shard"] * args.one_shard
            done = subprocess.run(child, stdout=subprocess.PIPE, check=True)
            print(json.dumps({"million_notes": millions, **json.loads(done.stdout.splitlines()[-1])}), flush=True)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    return command.OK


def write_dataset(root: str, num_notes: int, *, one_shard: bool) -> None:
    """All shards have the same bytes; it is the trainer that is measured, not the encode."""
    notes = [synthetic.make_notes(key, NOTES_PER_PIECE) for key in range(PIECES_PER_SHARD)]
    shard = records.write_records(
        records.serialize_example(records.Piece(piece.piece_id, piece.piece_id, f"{key:08d}.mid", piece))
        for key, piece in enumerate(notes)
    )
    per_shard = PIECES_PER_SHARD * NOTES_PER_PIECE
    shards = {"train": num_notes // per_shard, "validation": max(1, int(VALIDATION_SHARE * num_notes) // per_shard)}
    shards["test"] = 0
    splits = {
        split: SplitInfo(
            num_pieces=PIECES_PER_SHARD * number,
            num_notes=per_shard * number,
            seconds=sum(piece.seconds for piece in notes) * number,
            shard_lengths=(PIECES_PER_SHARD,) * number,
        )
        for split, number in shards.items()
    }
    columns = {name: np.concatenate([getattr(piece, name) for piece in notes]) for name in dataset_info.COLUMNS}
    found = {name: np.unique(values, return_counts=True) for name, values in columns.items()}
    info = DatasetInfo.of_examples(
        time_base=notes[0].time_base,
        programs=(0,),
        splits=splits,
        histograms={
            split: {
                name: Histogram(values=tuple(values.tolist()), counts=tuple((counts * number).tolist()))
                if number
                else Histogram()
                for name, (values, counts) in found.items()
            }
            for split, number in shards.items()
        },
    )
    for split in shards:
        for path in dataset_info.shard_paths(root, info, split)[: 1 if one_shard else None]:
            storage.write_bytes(path, shard, durable=False)
    dataset_info.save(root, info)


def work(folder: str, *, baselines: bool, one_shard: bool) -> dict[str, Any]:
    """One process's figures: seconds and the most megabytes of its own, by phase."""
    from trainer.config import TrainConfig
    from trainer.data.batches import make_batch
    from trainer.data.epoch_plan import EpochPlan
    from trainer.data.feed import Feed, Position
    from trainer.data.split_cache import _Cache, load_splits
    from trainer.data.whole_pieces import CHUNK, piece_seconds, plan_whole_pieces
    from trainer.evaluation.baselines import score_baselines

    root, cache = os.path.join(folder, "dataset"), os.path.join(folder, "cache")
    info = dataset_info.load(root)
    table = fields.dataset_table(info)
    config = TrainConfig(**TRAINING)
    figures: dict[str, Any] = {}
    if one_shard:
        split_cache.read_shards = repeat_first_shard
    splits = ("train", "validation")
    with phase(figures, "build"):
        train, validation = load_splits(root, info, splits, table, folder=cache)
    figures["cache_megabytes"] = sum(entry.size for entry in storage.list_files(cache)) // 10**6
    with phase(figures, "open"):
        train, validation = load_splits(root, info, splits, table, folder=cache)
    if baselines:
        with phase(figures, "baselines"):
            train.count_duplicates()
            score_baselines(train, validation, table)
    with phase(figures, "plan"):
        EpochPlan(train, window=config.window, batch_size=config.batch_size, rng_seed=0, epoch=0)
    del train  # pages that are mapped stay in the page cache
    drop_from_page_cache(cache)
    train = _Cache(root, info, "train", None).map(os.path.join(cache, f"{info.hash}-train.columns"), table, cache)
    read_before = bytes_read()
    feed = Feed(train, table, config, start_bins=table.start_bins, position=Position(), memory=MEMORY)
    with contextlib.closing(feed):
        next(feed)
        with phase(figures, "feed"):
            notes = sum(next(feed)[0].num_events for _ in range(BATCHES))
    figures["feed"]["megabytes_read"] = (bytes_read() - read_before) // 10**6
    figures["feed"]["notes_per_second"] = round(notes / figures["feed"]["seconds"])
    figures["feed"]["notes_per_processor_second"] = round(notes / figures["feed"]["processor_seconds"])
    with phase(figures, "validation"):
        piece_seconds(validation)
        for chunks in plan_whole_pieces(validation.num_events, chunk=CHUNK, batch_size=64):
            for windows in chunks:
                make_batch(validation, windows, table=table, batch_size=len(windows), start_bins=table.start_bins)
    return figures


def repeat_first_shard(root: str, info: DatasetInfo, split: str, dtype: np.dtype) -> Iterator[LaidOut]:
    """Stands in for `read_shards`: all shards have the same bytes."""
    path = dataset_info.shard_paths(root, info, split)[0]
    pieces = list(records.read_pieces(path, time_base=info.time_base))
    names = [piece.piece_id for piece in pieces]
    notes, sources = [piece.notes for piece in pieces], [piece.source for piece in pieces]
    events, index, text = lay_out(
        notes, dtype, piece_ids=names, group_ids=names, sources=sources, labels=[{}] * len(pieces)
    )
    for _ in info.splits[split].shard_lengths:
        yield LaidOut(events, index.copy(), text)  # the builder moves its positions


def bytes_read() -> int:
    """From disks, by this process, its own and those of files that it maps."""
    return int(pathlib.Path("/proc/self/io").read_text().split("\nread_bytes: ")[1].split()[0])


def drop_from_page_cache(folder: str) -> None:
    for entry in storage.list_files(folder):
        with open(entry.path, "rb") as file:
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


if __name__ == "__main__":
    command.exit_process(command.run("python -m benchmarks.large_corpus", main))
