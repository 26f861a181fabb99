"""The model in the box: a small bundle that comes with the package, so that there is music before any training.

    model_in_the_box/GRID/              a bundle for each grid that it knows
    model_in_the_box/styles/NAME.jsonl  seed lists: openings of one of its sources

`docs/model_card.md` says what it was trained on and its licence; `make box-model` trains it again.
"""

from __future__ import annotations

import importlib.resources
import os

from job_runtime.problem_report import UserError
from midi_codec.music.notes import BEATS, TIME_BASES

BOX = "box"  # what stands for it where a bundle's path is asked for
NAME = "the model in the box"
CARD = "docs/model_card.md"
MAX_BYTES = 16_000_000  # of everything


def root() -> str:
    """The folder of everything, among this package's files."""
    return str(importlib.resources.files("trainer") / "model_in_the_box")


def folder(time_base: str = BEATS) -> str:
    """The path of the bundle for a grid."""
    return os.path.join(root(), time_base)


def styles_folder() -> str:
    return os.path.join(root(), "styles")


def grids() -> tuple[str, ...]:
    """The grids that there is a bundle for."""
    return tuple(grid for grid in TIME_BASES if os.path.isdir(folder(grid)))


def resolve(path: str, time_base: str) -> str:
    """The folder of a bundle: the path itself, or for `BOX` the model in the box on a grid.

    Raises:
      UserError: the box has none for this grid.
    """
    if path != BOX:
        return path
    if time_base not in grids():
        raise UserError(f"{NAME} knows a grid of {' or '.join(grids())}, but the dataset has one of {time_base}")
    return folder(time_base)
