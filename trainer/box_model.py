"""The model in the box: a small bundle that comes with the package, so that there is music before any training.

    model_in_the_box/GRID/              a bundle for each grid that it knows
    model_in_the_box/styles/NAME.jsonl  seed lists: openings of one of its sources
    model_in_the_box/corpus_GRID/       a dataset of what it learned from, compressed, as much as fits, and thresholds

`docs/model_card.md` says what it was trained on and its licence; `make box-model` trains it again.
"""

from __future__ import annotations

import importlib.resources
import json
import os

from job_runtime.problem_report import UserError
from midi_codec.music.notes import BEATS, TIME_BASES

BOX = "box"  # what stands for it where a bundle's path is asked for
NAME = "the model in the box"
CARD = "docs/model_card.md"
MAX_BYTES = 16_000_000  # of all bundles
MAX_CORPUS_BYTES = 5_000_000  # of each grid
THRESHOLDS = "thresholds.json"  # of screening, in the folder of a corpus


def root() -> str:
    """The folder of everything, among this package's files."""
    return str(importlib.resources.files("trainer") / "model_in_the_box")


def folder(time_base: str = BEATS) -> str:
    """The path of the bundle for a grid."""
    return os.path.join(root(), time_base)


def styles_folder() -> str:
    return os.path.join(root(), "styles")


def corpus_folder(time_base: str = BEATS) -> str:
    """The path of the dataset for a grid."""
    return os.path.join(root(), f"corpus_{time_base}")


def resolve_data(path: str, time_base: str | None, file: str = "") -> str:
    """The path of a dataset, or of a file in its folder: the path itself, or for `BOX` that of the model in the box.

    Args:
      time_base: of the music or the model; None: not known.

    Raises:
      UserError: the box has none for this grid.
    """
    if path != BOX:
        return path
    folder = corpus_folder(time_base or BEATS)
    if not os.path.isdir(folder):
        raise UserError(f"{NAME} has no corpus on a grid of {time_base}")
    return os.path.join(folder, file) if file else folder


def time_base_of(bundle: str) -> str:
    """The grid of the bundle with this hash, if it is in the box; otherwise beats."""
    return next((grid for grid in grids() if _hash_of(grid) == bundle), BEATS)


def has(bundle: str) -> bool:
    """Whether a bundle with this hash is in the box."""
    return any(_hash_of(grid) == bundle for grid in grids())


def _hash_of(grid: str) -> str:
    with open(os.path.join(folder(grid), "bundle.json"), encoding="utf-8") as file:
        return json.load(file)["hash"]


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
