"""Starting from a bundle instead of random weights: what must fit, and what follows from it.

The model gets the field table of its own corpus; the bundle's weights are mapped to it (`weight_mapping`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from job_runtime.problem_report import UserError
from midi_codec import fields
from midi_codec.dataset import dataset_info
from midi_codec.fields import CATEGORICAL, FieldTable
from trainer.bundle import Bundle
from trainer.config import TrainConfig
from trainer.model.model_config import ModelConfig
from trainer.training.weight_mapping import map_weights


def settings_of(bundle: Bundle) -> dict[str, Any]:
    """The settings that the bundle fixes: size and shape of the model, and the loss of times."""
    fixed = dataclasses.asdict(ModelConfig(**bundle.config))  # an old bundle lacks what came later
    return {**fixed, "timing_loss": bundle.fields["step"].loss}


def check_settings(bundle: Bundle, config: TrainConfig, path: str) -> None:
    """Raises UserError naming every setting that differs from the bundle's."""
    problems = [
        f"{name} is {getattr(config, name)}, but the bundle {path} has {value}; want the same or leave it out"
        for name, value in settings_of(bundle).items()
        if getattr(config, name) != value and not name.endswith("dropout")
    ]
    if problems:
        raise UserError(problems)


def make_table(bundle: Bundle, info: dataset_info.DatasetInfo, path: str, *, labels: Sequence[str] = ()) -> FieldTable:
    """The field table of a dataset for a model that starts from the bundle, and is conditioned on these labels.

    Raises:
      UserError: the dataset has another grid.
    """
    if info.time_base != bundle.fields.time_base:
        raise UserError(
            f"{path}: the bundle knows a grid of {bundle.fields.time_base}, but the dataset has one of {info.time_base}"
        )
    table = fields.dataset_table(info, timing_loss=bundle.fields["step"].loss, labels=labels)
    own = tuple(
        field
        if field.loss == CATEGORICAL  # otherwise the head's numbers are in the bundle's units
        else dataclasses.replace(field, scale=bundle.fields[field.name].scale, shift=bundle.fields[field.name].shift)
        for field in table
    )
    return dataclasses.replace(table, fields=own)


def start_weights(
    bundle: Bundle, table: FieldTable, info: dataset_info.DatasetInfo, fresh: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """The bundle's weights for a table of `make_table`.

    Args:
      fresh: initial weights of a model with this table.
    """
    return map_weights(
        bundle.weights,
        bundle.fields,
        table,
        head_units=bundle.config["head_units"],
        fresh=fresh,
        histograms=info.histograms["train"],
    )
