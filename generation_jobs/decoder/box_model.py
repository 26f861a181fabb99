"""The model in the box: a small bundle that comes with the package, so that there is music before any training.

`docs/model_card.md` says what it was trained on and its licence; `make box-model` trains it again.
"""

from __future__ import annotations

import importlib.resources

NAME = "the model in the box"
CARD = "docs/model_card.md"
MAX_BYTES = 8_000_000  # of the folder


def folder() -> str:
    """The path of its bundle, among this package's files."""
    return str(importlib.resources.files("generation_jobs") / "model_in_the_box")
