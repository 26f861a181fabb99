"""The input of all models of `benchmarks.performances`, written once per dataset.

arrays.npz     for S in `train` and `validation`: `S_bins` `[num_events, num_fields]` int64, zeros at END,
               `S_first_event` `[num_pieces + 1]`, `S_is_drum` `[num_events]`
about.json     the field table for the transformer, sizes, and the costs of the counting baselines
"""

from __future__ import annotations

import json
import os
import pathlib
from typing import Any

import numpy as np

from job_runtime.problem_report import UserError
from job_runtime.storage import array_file
from midi_codec import fields
from midi_codec.dataset import dataset_info
from trainer.config import TrainConfig
from trainer.data import pieces, split_cache
from trainer.evaluation import baselines
from trainer.training import run_checks

ARRAYS, ABOUT = "arrays.npz", "about.json"


def prepare(data: str, folder: pathlib.Path) -> None:
    """Writes both files, unless this dataset's are there.

    Raises:
      UserError: those of another dataset are there.
    """
    info = dataset_info.load(data)
    if (folder / ABOUT).exists():
        saved_hash = read_about(folder)["dataset"]
        if saved_hash != info.hash:
            raise UserError(
                f"{folder} belongs to dataset {saved_hash}, but {data} is {info.hash}; want another --output"
            )
        return
    folder.mkdir(parents=True, exist_ok=True)
    table = run_checks.make_field_table(info, TrainConfig(), data)
    train, validation = (split_cache.load_split(data, info, name, table) for name in ("train", "validation"))
    arrays = {**arrays_of("train", train, table), **arrays_of("validation", validation, table)}
    array_file.write(str(folder / ARRAYS), arrays)
    about = describe(info, table, train, validation)
    (folder / f"{ABOUT}.part").write_text(json.dumps(about) + "\n")
    os.replace(folder / f"{ABOUT}.part", folder / ABOUT)


def read_about(folder: pathlib.Path) -> dict[str, Any]:
    return json.loads((folder / ABOUT).read_text())


def arrays_of(name: str, split: pieces.Pieces, table: fields.FieldTable) -> dict[str, np.ndarray]:
    """A split's arrays, by name in the file."""
    bins = bins_of(split, table).astype(np.int64)
    first_event = np.append(split.first_event, split.total_events)
    return {f"{name}_bins": bins, f"{name}_first_event": first_event, f"{name}_is_drum": pieces.is_drum(split.events)}


def bins_of(split: pieces.Pieces, table: fields.FieldTable) -> np.ndarray:
    """`[num_events, num_fields]` int32, zeros at END."""
    block = split.block()
    bins = table.encode(block.raw)
    bins[block.is_end] = 0
    return bins


def describe(
    info: dataset_info.DatasetInfo, table: fields.FieldTable, train: pieces.Pieces, validation: pieces.Pieces
) -> dict[str, Any]:
    """The content of `about.json`."""
    from trainer.data.whole_pieces import piece_seconds

    scores = {name: score.by_field for name, score in baselines.score_baselines(train, validation, table).items()}
    return {
        "dataset": info.hash,
        "table": {
            "fields": list(table.names),
            "num_bins": [field.num_bins for field in table],
            "log_spans": [field.log_spans.tolist() for field in table],
        },
        "train": {"num_pieces": train.num_pieces, "num_notes": train.num_notes},
        "validation": {
            "num_pieces": validation.num_pieces,
            "num_notes": validation.num_notes,
            "seconds": float(piece_seconds(validation).sum()),
        },
        "baselines": scores,
    }
