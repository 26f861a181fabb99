"""The model in the box: a small bundle that comes with the package, so that there is music before any training.

`docs/model_card.md` says what it learned from and on what terms; `make box-model` trains it anew.
"""

from __future__ import annotations

import importlib.resources

NAME = "the model in the box"
CARD = "docs/model_card.md"
MAX_BYTES = 8_000_000  # of the folder


def folder() -> str:
    """Where its bundle lies, among this package's files."""
    return str(importlib.resources.files("generation_jobs") / "model_in_the_box")
