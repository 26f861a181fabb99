"""Whether a bundle's field table fits a dataset, for evaluation and for training that starts from a bundle."""

from __future__ import annotations

import numpy as np

from job_runtime.problem_report import first_few
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
            sentences.append(f"does not know {field.name} {first_few(unknown.tolist())}, which the {split} split holds")
    others = values["program"][values["program"] != table.only_program]
    if table.only_program is not None and others.size:
        only = f"knows only program {table.only_program}"
        sentences.append(f"{only}, but the {split} split holds program {first_few(others.tolist())}")
    return sentences
