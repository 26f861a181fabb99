"""The sustain pedal: what it holds sounds on."""

from __future__ import annotations

import numpy as np


def extend(
    *,
    start: np.ndarray,
    end: np.ndarray,
    pitch: np.ndarray,
    group: np.ndarray,
    pedal_down: np.ndarray,
    pedal_up: np.ndarray,
    pedal_group: np.ndarray,
) -> np.ndarray:
    """New ends of notes, `[n]` int64, in any order.

    A note whose end falls within [down, up) of its group's pedal ends at `up`, or at the next onset of the
    same pitch in its group after it began, whichever comes first, never before its own end.

    Args:
      start, end, pitch: `[n]`, ticks and 0..127.
      group: `[n]` non-negative integers, equal for notes on one channel of one track.
      pedal_down, pedal_up: `[m]` ticks; the pedal is down from `down` to before `up`.
      pedal_group: `[m]`, the group that each pedal belongs to.
    """
    return end
