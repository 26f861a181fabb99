"""Starting from a bundle instead of from random weights: what must fit, and what follows from it.

The model keeps the bundle's field table, since its weights mean those bins; the new corpus must fit into it.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from midi_codec import dataset_info
from midi_codec.command import UserError
from midi_codec.fields import TIME, FieldSpec, FieldTable
from trainer.bundle import Bundle
from trainer.config import TrainConfig

SHOWN = 8  # values named of those that do not fit


def settings_of(bundle: Bundle) -> dict[str, Any]:
    """The settings that the bundle fixes: size and build of the model, loss of its times."""
    return {**bundle.config, "timing_loss": bundle.fields["step"].loss}


def check_settings(bundle: Bundle, config: TrainConfig, place: str) -> None:
    """Raises UserError naming every setting that differs from the bundle's."""
    problems = [
        f"{name} is {getattr(config, name)}, but the bundle {place} has {value}; want the same or leave it out"
        for name, value in settings_of(bundle).items()
        if getattr(config, name) != value and not name.endswith("dropout")
    ]
    if problems:
        raise UserError(problems)


def fit_table(bundle: Bundle, info: dataset_info.DatasetInfo, place: str) -> FieldTable:
    """The bundle's field table for this dataset; its samplers may draw times as long as either corpus has.

    Raises:
      UserError: the dataset has a grid, a field or values that the bundle's table does not; all at once.
    """
    table = bundle.fields
    problems = []
    if info.time_base != table.time_base:
        problems.append(f"{place} lies on a grid of {info.time_base}, but the bundle's is {table.time_base}")
    known = {table.only_program} if table.only_program is not None else set(table["program"].values)
    unknown = sorted(set(info.programs) - known)
    if unknown:
        problems.append(f"{place} has {_shown(np.array(unknown))} in program, which the bundle does not know")
    for field in table:
        if field.name == "program":
            continue
        values = np.concatenate([np.asarray(info.histograms[split][field.name].values) for split in info.splits])
        missing = field.unknown(values.astype(np.int64))
        if missing.size:
            problems.append(f"{place} has {_shown(missing)} in {field.name}, for which the bundle has no bin")
    if problems:
        raise UserError(problems)
    return dataclasses.replace(table, fields=tuple(_lengthened(field, info) for field in table))


def _lengthened(field: FieldSpec, info: dataset_info.DatasetInfo) -> FieldSpec:
    """A time field that may draw what the new corpus has too: up to the end of the bin of its largest value."""
    longest = max(info.histograms["train"][field.name].values)
    if field.kind != TIME or longest <= field.largest:
        return field
    return dataclasses.replace(field, largest=next(edge for edge in field.edges if edge > longest) - 1)


def _shown(values: np.ndarray) -> str:
    more = f" and {len(values) - SHOWN} more" if len(values) > SHOWN else ""
    return ", ".join(map(str, values[:SHOWN])) + more
