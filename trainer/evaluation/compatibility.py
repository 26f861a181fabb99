"""Whether a bundle's field table and a dataset fit each other: for evaluation, and for training on from a bundle."""

from __future__ import annotations

import numpy as np

from midi_codec import fields
from midi_codec.dataset import dataset_info


def misfits(table: fields.FieldTable, info: dataset_info.DatasetInfo, split: str) -> list[str]:
    """Why a model with this table cannot take these notes; empty when it can."""
    found = []
    if info.time_base != table.time_base:
        found.append(f"knows a grid of {table.time_base}, but the dataset lies on one of {info.time_base}")
    values = {name: np.array(column.values, np.int64) for name, column in info.histograms[split].items()}
    for field in table:
        unknown = field.unknown(values[field.name])
        if unknown.size:
            found.append(f"does not know {field.name} {some(unknown)}, which the {split} split holds")
    others = values["program"][values["program"] != table.only_program]
    if table.only_program is not None and others.size:
        found.append(f"knows only program {table.only_program}, but the {split} split holds program {some(others)}")
    return found


def some(values: np.ndarray) -> str:
    """A few of them, and how many more."""
    shown = ", ".join(map(str, values[:5]))
    return shown if len(values) <= 5 else f"{shown} and {len(values) - 5} more"
