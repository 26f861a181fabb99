"""Whether a bundle's field table fits a dataset, for evaluation and for training that starts from a bundle."""

from __future__ import annotations

import numpy as np

from midi_codec import fields
from midi_codec.dataset import dataset_info


def problems(table: fields.FieldTable, info: dataset_info.DatasetInfo, split: str) -> list[str]:
    """Why a model with this table cannot take the notes of a split; empty if it can."""
    sentences = []
    if info.time_base != table.time_base:
        sentences.append(f"knows a grid of {table.time_base}, but the dataset has one of {info.time_base}")
    values = {name: np.array(column.values, np.int64) for name, column in info.histograms[split].items()}
    for field in table:
        unknown = field.unknown(values[field.name])
        if unknown.size:
            sentences.append(f"does not know {field.name} {some_of(unknown)}, which the {split} split holds")
    others = values["program"][values["program"] != table.only_program]
    if table.only_program is not None and others.size:
        only = f"knows only program {table.only_program}"
        sentences.append(f"{only}, but the {split} split holds program {some_of(others)}")
    return sentences


def some_of(values: np.ndarray) -> str:
    """The first few values, and how many more there are."""
    shown = ", ".join(map(str, values[:5]))
    return shown if len(values) <= 5 else f"{shown} and {len(values) - 5} more"
