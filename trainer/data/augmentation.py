"""Changes to training windows that leave music music: transposition, tempo, velocity.

Each window draws its own, within what keeps every note of it valid: nothing is clamped.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from midi_codec import fields

NUM_DRAWS = 3  # a window, whatever the amounts


@dataclasses.dataclass(frozen=True, kw_only=True)
class Augmentation:
    """How far a window may be changed.

    Attributes:
      transpose: semitones up or down; drums keep theirs.
      tempo: times are scaled by up to 1 + tempo, or down by as much; only for the milliseconds grid.
      velocity: steps of velocity up or down.
    """

    transpose: int = 5
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
    """Applies one change of each kind a window.

    Args:
      raw: `[windows, time, num_fields]` int32 values.
      is_note: `[windows, time]` bool; other positions are left alone.
      is_drum: `[windows, time]` bool.
      draws: `[windows, NUM_DRAWS]` in [0, 1): what each window drew.

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
    """`[windows, ...]` times at each window's tempo, rounded to the tick, in the type of `ticks`.

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
    """`[windows, time]` int32, a whole shift a window drawn evenly from those that keep it inside low..high."""
    smallest = np.where(where, values, high).min(axis=1)
    largest = np.where(where, values, low).max(axis=1)
    down = np.maximum(-amount, low - smallest)
    up = np.minimum(amount, high - largest)
    shift = down + np.floor(draw * (up - down + 1)).astype(np.int32)
    return np.where(where, shift[:, None], 0).astype(np.int32)
