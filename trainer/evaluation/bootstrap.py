"""How far a figure would move with other music of the same kind: bootstrap confidence intervals.

Whole groups of pieces are drawn with replacement (a piece is a group of its own unless it shares its music with
others), because the notes of a piece, and several performances of it, are not independent observations. A figure is a
ratio of sums, such as nats over notes; each resample gives one ratio, and the interval is between their quantiles
(Efron's percentile method, 1979). The figures of several models come from the same resamples, so the interval of a
difference is
paired: what is hard for all models does not widen it.
"""

from __future__ import annotations

import numpy as np

from trainer.data.batches import keyed_rng

LEVEL = 0.95
BLOCK = 1 << 20  # draws in memory at once


def resample_sums(columns: np.ndarray, group: np.ndarray, *, num_resamples: int, rng_seed: int) -> np.ndarray:
    """Sums of the columns over draws with replacement of as many groups as there are.

    Args:
      columns: `[num_pieces, num_columns]` float64, what each piece adds.
      group: `[num_pieces]` int, equal for pieces that are drawn together.
      num_resamples: how many draws.
      rng_seed: the same number gives the same draws for the same groups, on any machine.

    Returns:
      `[num_resamples, num_columns]` float64.
    """
    names, unit = np.unique(group, return_inverse=True)
    units = np.zeros((len(names), columns.shape[1]))
    np.add.at(units, unit, columns)
    rng = keyed_rng(rng_seed)
    sums = np.empty((num_resamples, columns.shape[1]))
    block = max(1, BLOCK // len(units))
    for start in range(0, num_resamples, block):
        size = min(block, num_resamples - start)
        drawn = rng.integers(0, len(units), (size, len(units)))
        cells = (drawn + len(units) * np.arange(size)[:, None]).ravel()
        counts = np.bincount(cells, minlength=size * len(units)).reshape(size, len(units))
        sums[start : start + size] = counts.astype(np.float64) @ units
    return sums


def interval(draws: np.ndarray) -> tuple[float, float]:
    """The ends of the middle `LEVEL` of the `[num_resamples]` draws."""
    low, high = np.quantile(draws, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)
