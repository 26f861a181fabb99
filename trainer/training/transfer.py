"""Starting from a bundle instead of random weights: what must fit, and what follows from it.

The model keeps the bundle's field table, since its weights mean those bins; the new corpus must fit into it.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from job_runtime.problem_report import UserError
from midi_codec.dataset import dataset_info
from midi_codec.fields import TIME, FieldSpec, FieldTable
from trainer.bundle import Bundle
from trainer.config import TrainConfig
from trainer.evaluation import compatibility


def settings_of(bundle: Bundle) -> dict[str, Any]:
    """The settings that the bundle fixes: size and shape of the model, and the loss of times."""
    fixed = {name: tuple(value) if isinstance(value, list) else value for name, value in bundle.config.items()}
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


def fit_table(bundle: Bundle, info: dataset_info.DatasetInfo, path: str) -> FieldTable:
    """The bundle's field table for this dataset; samplers may draw times as long as in either corpus.

    Raises:
      UserError: the dataset has a grid, a field or values that the bundle's table does not have; all at once.
    """
    table = bundle.fields
    problems = [problem for split in info.splits for problem in compatibility.problems(table, info, split)]
    if problems:
        raise UserError(f"{path}: the bundle {problem}" for problem in dict.fromkeys(problems))
    return dataclasses.replace(table, fields=tuple(_lengthened(field, info) for field in table))


def _lengthened(field: FieldSpec, info: dataset_info.DatasetInfo) -> FieldSpec:
    """A time field that may also draw the new corpus's times: up to the end of the bin of its largest value."""
    longest = max(info.histograms["train"][field.name].values)
    if field.kind != TIME or longest <= field.largest:
        return field
    return dataclasses.replace(field, largest=next(edge for edge in field.edges if edge > longest) - 1)
