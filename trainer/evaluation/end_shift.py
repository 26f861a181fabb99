"""The shift of END's log odds with which a model ends pieces as often as its corpus does.

A model trained on windows of long pieces is right about END in windows. In a whole piece, where it remembers more, it
ends too soon: on some corpora twice as often as the pieces do. One number, added to END's log odds, mends how often:
with it the probabilities of END over whole pieces add up to the number of pieces. See docs/train.md.

The number is found from sums over a split at a few shifts: replicas can add these up, and no event is kept.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import tensorflow as tf

from trainer.bundle import Bundle

LIMIT = 4.0  # of the shift, in either direction
SHIFTS = np.linspace(-LIMIT, LIMIT, 33)
DECIMALS = 3  # of the shift: what replicas add up in another order gives the same bundle
HALVINGS = 40
# A shift from few pieces is noise: its variance is one over their number. The prior is a normal distribution with the
# variance 1 / 4, as if 4 pieces had said that 0 is right; shifts of real corpora are between 0 and 1.2.
PRIOR_PIECES = 4.0
HEAD_BIAS = "head_bias"


def sums(end_logit: tf.Tensor, is_event: tf.Tensor) -> tf.Tensor:
    """`[2 SHIFTS]` float64: of softplus and sigmoid of the shifted log odds, over the events.

    Args:
      end_logit: `[rows, time]`.
      is_event: `[rows, time]` bool.
    """
    logits = tf.cast(tf.boolean_mask(end_logit, is_event), tf.float64)[:, None] + tf.constant(SHIFTS)
    return tf.concat([tf.reduce_sum(f(logits), axis=0) for f in (tf.math.softplus, tf.sigmoid)], axis=0)


@dataclasses.dataclass(frozen=True)
class EndCost:
    """What END costs on a split as a function of the shift, in nats of all pieces together.

    Attributes:
      softplus: `[SHIFTS]`, the sum of log(1 + odds) over all events.
      expected: `[SHIFTS]`, its slope: the expected number of ends.
      num_ends: how many there are.
    """

    softplus: np.ndarray
    expected: np.ndarray
    num_ends: int

    @classmethod
    def of_sums(cls, total: np.ndarray, num_ends: int) -> EndCost:
        return cls(total[: len(SHIFTS)], total[len(SHIFTS) :], num_ends)

    def shift(self, already: float = 0.0) -> float:
        """The likeliest shift on top of `already`, given the prior, by bisection: the slope of the cost ascends."""
        low, high = -LIMIT, LIMIT
        for _ in range(HALVINGS):
            middle = (low + high) / 2
            is_low = self.expected_ends(middle) + PRIOR_PIECES * (already + middle) < self.num_ends
            low, high = (middle, high) if is_low else (low, middle)
        return round((low + high) / 2, DECIMALS)

    def expected_ends(self, shift: float) -> float:
        """How many ends the model expects with the shift."""
        return self._interpolated(shift)[1]

    def gain(self, shift: float) -> float:
        """Nats that the shift saves."""
        return self._interpolated(0.0)[0] - self._interpolated(shift)[0] + shift * self.num_ends

    def _interpolated(self, shift: float) -> tuple[float, float]:
        """Sum and slope between two shifts of the grid: the cubic with their values and slopes (Hermite)."""
        index = int(np.clip(np.searchsorted(SHIFTS, shift, side="right") - 1, 0, len(SHIFTS) - 2))
        width = SHIFTS[index + 1] - SHIFTS[index]
        t = (shift - SHIFTS[index]) / width
        (p, q), (m, n) = self.softplus[index : index + 2], width * self.expected[index : index + 2]
        value = (
            (2 * t**3 - 3 * t**2 + 1) * p + (t**3 - 2 * t**2 + t) * m + (3 * t**2 - 2 * t**3) * q + (t**3 - t**2) * n
        )
        slope = 6 * (t**2 - t) * (p - q) + (3 * t**2 - 4 * t + 1) * m + (3 * t**2 - 2 * t) * n
        return float(value), float(slope / width)


def shifted(bundle: Bundle, shift: float) -> Bundle:
    """The bundle with END's bias shifted; `metrics` says by how much in all."""
    bias = bundle.weights[HEAD_BIAS].copy()
    bias[bundle.config["head_units"] * len(bundle.fields)] += np.float32(shift)
    metrics = {**bundle.metrics, "end_shift": round(bundle.metrics.get("end_shift", 0.0) + shift, DECIMALS)}
    return dataclasses.replace(bundle, weights={**bundle.weights, HEAD_BIAS: bias}, metrics=metrics)
