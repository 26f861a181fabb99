"""Everything about a run that can be wrong before a device is touched. Needs no TensorFlow."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

from job_runtime import storage
from job_runtime.problem_report import UserError
from midi_codec import fields
from midi_codec.dataset import dataset_info
from midi_codec.music.notes import BEATS
from trainer import bundle as bundle_lib
from trainer.config import TrainConfig
from trainer.run_output import run_folder
from trainer.training import transfer


@dataclasses.dataclass(frozen=True)
class RunInputs:
    """What a run begins from, checked.

    Attributes:
      info: of the dataset.
      table: the note fields.
      bundle: the run starts from its weights; None for random weights.
      described: settings and hashes, as `run.json` holds them.
    """

    info: dataset_info.DatasetInfo
    table: fields.FieldTable
    bundle: bundle_lib.Bundle | None
    described: dict[str, Any]


def check(config: TrainConfig, *, data: str, folder: str, init_from: str | None = None) -> RunInputs:
    """Reads and checks what a run begins from; arguments as for `trainer.training.whole_run.train`.

    Raises:
      UserError: settings, dataset, bundle or folder do not fit.
    """
    info = dataset_info.load(data)
    bundle = bundle_lib.load(init_from) if init_from else None
    if bundle is None:
        table = make_field_table(info, config, data)
    else:
        check_dataset(info, config, data)
        transfer.check_settings(bundle, config, str(init_from))
        table = transfer.make_table(bundle, info, data, labels=config.condition_on)
    described = run_folder.describe(config, dataset=info.hash, init_from=bundle.hash if bundle else None)
    run_folder.check(folder, described)
    return RunInputs(info, table, bundle, described)


def check_bins(folder: str, table: fields.FieldTable) -> None:
    """Raises UserError if the run in the folder has other bins: another version of the programs chose them."""
    path = storage.join(folder, "bundle")
    if not storage.exists(storage.join(path, bundle_lib.FILE_NAME)):
        return
    there = bundle_lib.load_description(path)["fields"]
    if there != json.loads(json.dumps(table.to_json())):
        raise UserError(
            f"{folder} was begun by another version of the programs, which chose other bins for the times of this"
            " dataset; want another --output"
        )


def check_dataset(info: dataset_info.DatasetInfo, config: TrainConfig, path: str) -> None:
    """Raises UserError where a split that training needs is empty, or a setting does not fit the grid or the labels."""
    problems = [
        f"{path}: the {split} split holds no piece, want at least one"
        for split in ("train", "validation")
        if not info.splits[split].num_notes or not info.histograms[split]["step"].values
    ]
    for name in config.condition_on:
        if name not in info.labels:
            known = ", ".join(info.labels) or "none: see --label-regex and --labels of encode_corpus"
            problems.append(f"condition_on names {name!r}, which is no label of {path}; it has {known}")
        elif "train" not in info.labels[name]:
            few = "more values than a model can know" if not info.labels[name] else "no value in the train split"
            problems.append(f"condition_on names {name!r}, which has {few} in {path}")
    if config.label_dropout != TrainConfig.label_dropout and not config.condition_on:
        problems.append(
            f"label_dropout is {config.label_dropout:g} but condition_on names no label; want one, or neither"
        )
    if config.tempo and info.time_base == BEATS:
        problems.append(f"tempo is {config.tempo} but {path} is on a grid of {BEATS}, which has no tempo; want 0")
    if problems:
        raise UserError(problems)


def make_field_table(info: dataset_info.DatasetInfo, config: TrainConfig, path: str) -> fields.FieldTable:
    """The field table of the training split; raises as `check_dataset` does."""
    check_dataset(info, config, path)
    return fields.dataset_table(info, timing_loss=config.timing_loss, labels=config.condition_on)
