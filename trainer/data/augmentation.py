"""Changes to training windows that keep the music plausible: transposition, tempo, velocity.

Each window draws its own changes from those that keep all its notes valid, so nothing is clipped.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from midi_codec import fields

NUM_DRAWS = 3  # per window, whatever the amounts


@dataclasses.dataclass(frozen=True, kw_only=True)
class Augmentation:
    """How far a window may be changed.

    Attributes:
      transpose: semitones up or down; drums keep their pitch.
      tempo: times are scaled by a factor between 1 / (1 + tempo) and 1 + tempo; only for the milliseconds grid.
      velocity: steps of velocity up or down.
    """

    transpose: int = 0
    tempo: float = 0.0
    velocity: int = 0


def augment(
    raw: np.ndarray,
    *,
    is_note: np.ndarray,
    is_drum: np.ndarray,
    table: fields.FieldTable,
    amounts: Augmentation,
    draws: np.ndarray,
) -> np.ndarray:
    """Applies one change of each kind per window.

    Args:
      raw: `[windows, time, num_fields]` int32 values.
      is_note: `[windows, time]` bool; other positions are not changed.
      is_drum: `[windows, time]` bool.
      draws: `[windows, NUM_DRAWS]` in [0, 1).

    Returns:
      a changed copy of `raw`.
    """
    raw = raw.copy()
    for name, amount, draw, where in (
        ("pitch", amounts.transpose, draws[:, 0], is_note & ~is_drum),
        ("velocity", amounts.velocity, draws[:, 1], is_note),
    ):
        column = table.names.index(name)
        if amount:
            values = table[name].values
            raw[..., column] += _shift(raw[..., column], where, amount, draw, low=values[0], high=values[-1])
    if amounts.tempo:
        for name in ("step", "duration"):
            column = table.names.index(name)
            scaled = scale_times(raw[..., column], amounts, draws)
            raw[..., column] = np.where(is_note, scaled, raw[..., column])
    return raw


def scale_times(ticks: np.ndarray, amounts: Augmentation, draws: np.ndarray) -> np.ndarray:
    """`[windows, ...]` times at each window's tempo, rounded to the tick, in the dtype of `ticks`.

    Args:
      ticks: not negative.
      draws: as for `augment`, which changes steps and durations by the same factors.
    """
    if not amounts.tempo:
        return ticks
    factor = np.exp((2 * draws[:, 2] - 1) * np.log1p(amounts.tempo))
    scaled = np.floor(ticks * factor.reshape(-1, *[1] * (ticks.ndim - 1)) + 0.5)
    return np.minimum(scaled, fields.MAX_TICK).astype(ticks.dtype)


def _shift(values: np.ndarray, where: np.ndarray, amount: int, draw: np.ndarray, *, low: int, high: int) -> np.ndarray:
    """`[windows, time]` int32, one shift per window, drawn evenly from those that keep it within low..high."""
    smallest = np.where(where, values, high).min(axis=1)
    largest = np.where(where, values, low).max(axis=1)
    down = np.maximum(-amount, low - smallest)
    up = np.minimum(amount, high - largest)
    shift = down + np.floor(draw * (up - down + 1)).astype(np.int32)
    return np.where(where, shift[:, None], 0).astype(np.int32)
