"""How long the pieces of a corpus are: quantiles of their notes, as a bundle keeps them. No TensorFlow here."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

PERCENTAGES = (0, 1, 2, 5, 10, 25, 50, 75, 90, 95, 98, 99, 100)
SHORT = 5.0  # per cent of the pieces; the shortest 2 % of all are among them


def describe(num_notes: np.ndarray) -> dict[str, float]:
    """The notes of a piece at each of `PERCENTAGES`; empty without a piece."""
    if not len(num_notes):
        return {}
    quantiles = np.percentile(num_notes, PERCENTAGES)
    return {str(percentage): round(float(notes), 2) for percentage, notes in zip(PERCENTAGES, quantiles, strict=True)}


def is_valid(described: Mapping[str, float]) -> bool:
    """Whether `describe` may have written this."""
    try:
        percentages = [float(name) for name in described]
    except ValueError:
        return False
    notes = list(described.values())
    rise = np.diff([percentages, notes]) if len(notes) > 1 else np.zeros((2, 0))
    return bool(np.all(rise[0] > 0) and np.all(rise[1] >= 0) and np.all(np.array(notes) >= 0))


def short_shares(described: Mapping[str, float]) -> np.ndarray:
    """`[lengths]` float32: the share of the corpus's pieces that have at most 0, 1, 2 ... notes.

    It ends before the length that the shortest `SHORT` per cent have; empty if the lengths are unknown.
    """
    if not described:
        return np.zeros(0, np.float32)
    percentages, notes = np.array([float(name) for name in described]), np.array(list(described.values()))
    end = int(np.ceil(np.interp(SHORT, percentages, notes)))
    # of several quantiles with the same number of notes the highest counts
    last = np.append(notes[1:] > notes[:-1], True)
    return (np.interp(np.arange(end), notes[last], percentages[last], left=0.0) / 100).astype(np.float32)
