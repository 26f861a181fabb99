"""Whether a model hears its labels: the likelihood of each piece with its own value, with none, and with others.

    own        nats with the piece's labels as they are
    unknown    with this one label unknown, the others as they are
    others     the mean over other values of this label
    likeliest  1 where no other value makes the piece likelier; of n values that do equally well each counts 1 / n
    known      1 for the pieces that are measured: those with a value that the model knows

All are sums per piece, named `own_LABEL` and so on, and 0 for pieces whose value the model does not know. A label with
many values is measured with some of them for each piece: its own, and others that are drawn by the piece's identity.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from trainer.data.batches import keyed_rng
from trainer.data.pieces import Pieces

OWN, UNKNOWN, OTHERS, LIKELIEST, KNOWN = "own", "unknown", "others", "likeliest", "known"


@dataclasses.dataclass(frozen=True)
class Changed:
    """Pieces that have another value of one label: one row for each such piece and value.

    Attributes:
      piece: `[num_rows]` int64, ascending for each label.
      label: `[num_rows]` int64, which of the labels is another.
      value: `[num_rows]` int32, the index of the value that it is instead; 0 for unknown.
      num_values: of each label, how many values a piece is measured with, its own included.
    """

    piece: np.ndarray
    label: np.ndarray
    value: np.ndarray
    num_values: tuple[int, ...]

    def labels(self, pieces: Pieces) -> np.ndarray:
        """`[num_rows, labels]` int32, what the model is told."""
        told = pieces.labels[self.piece]
        told[np.arange(len(told)), self.label] = self.value
        return told


def plan(pieces: Pieces, *, most_values: int) -> Changed:
    """All rows for all labels; for `most_values` 0 none, for 1 only those whose value is unknown."""
    rows: list[tuple[int, int, int]] = []
    num_values = tuple(min(most_values, len(each.values)) for each in pieces.vocabularies)
    for label, vocabulary in enumerate(pieces.vocabularies):
        own = pieces.labels[:, label]
        for piece in np.flatnonzero(own).tolist() if most_values else ():
            rng = keyed_rng(int.from_bytes(pieces.piece_id[piece], "big"))
            others = 1 + rng.choice(len(vocabulary.values) - 1, num_values[label] - 1, replace=False)
            others += others >= own[piece]
            rows += [(piece, label, value) for value in (0, *np.sort(others).tolist())]
    piece, label, value = np.array(rows, np.int64).reshape(-1, 3).T
    return Changed(piece, label, value.astype(np.int32), num_values)


def evaluate_labels(
    measure_nats: Callable[[Pieces, np.ndarray], np.ndarray], pieces: Pieces, own_nats: np.ndarray, changed: Changed
) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Measures the pieces with the values of the plan.

    Args:
      measure_nats: gives the nats of each piece, `[num_rows]`, for pieces and the labels that the model is told.
      own_nats: `[num_pieces]`, with the pieces' own labels.

    Returns:
      The sums per piece of the module's docstring, and for each label the number of pieces, of values that each was
      measured with, the share of pieces that a guess gets right, and a guess that always says the commonest value.
    """
    if not len(changed.piece):
        return {}, {}
    rows = dataclasses.replace(pieces, index=pieces.index[changed.piece])
    nats = measure_nats(rows, changed.labels(pieces))
    sums: dict[str, np.ndarray] = {}
    about: dict[str, Any] = {}
    for label, vocabulary in enumerate(pieces.vocabularies):
        own, is_known = pieces.labels[:, label], pieces.labels[:, label] > 0
        if not is_known.any():
            continue
        num_values = changed.num_values[label]
        found = nats[changed.label == label].reshape(-1, num_values)  # unknown, then the other values
        columns = _compare(own_nats[is_known], found)
        for name, column in columns.items():
            sums[f"{name}_{vocabulary.name}"] = np.zeros(pieces.num_pieces)
            sums[f"{name}_{vocabulary.name}"][is_known] = column
        about[vocabulary.name] = {
            "num_pieces": int(is_known.sum()),
            "num_values": num_values,
            "by_chance": 1 / num_values,
            "commonest": float(np.bincount(own[is_known]).max() / is_known.sum()),
        }
    return sums, about


def _compare(own: np.ndarray, found: np.ndarray) -> Mapping[str, np.ndarray]:
    """The sums of pieces from their nats: `[n]` with their own value, `[n, num_values]` without and with others."""
    columns = {KNOWN: np.ones(len(own)), OWN: own, UNKNOWN: found[:, 0]}
    if found.shape[1] > 1:
        all_values = np.column_stack([own, found[:, 1:]])
        is_best = all_values == all_values.min(axis=1, keepdims=True)
        columns |= {OTHERS: found[:, 1:].mean(axis=1), LIKELIEST: is_best[:, 0] / is_best.sum(axis=1)}
    return columns
