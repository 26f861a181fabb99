"""The exponential moving average of a model's weights, for evaluation; training continues with the weights themselves.

    average <- d average + (1 - d) weights      after step n, with d = min(decay, (n - 1) / (n + 8))

The first average is the weights after the first step, and early weights are forgotten early: otherwise the random
initial weights would stay in the average for 1 / (1 - decay) steps.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence

import keras
import numpy as np
import tensorflow as tf

SLOW_START = 8.0  # an average over n steps reaches back n / 9 of them, until the decay limits it


class WeightAverage:
    """Averages of weights, one variable per weight; to be made within the strategy's scope, which mirrors them.

    Attributes:
      variables: the averages, in the order of the weights; zeros before the first step.
    """

    def __init__(self, weights: Sequence[keras.Variable], decay: float):
        self._weights, self._decay = weights, decay
        self.variables = [
            keras.Variable(
                np.zeros(weight.shape, np.float32), dtype="float32", trainable=False, name=f"{weight.name}_average"
            )
            for weight in weights
        ]

    def update(self, strategy: tf.distribute.Strategy, num_steps: tf.Tensor) -> None:
        """Adds the weights of a step, on every replica separately, since all have the same weights.

        Args:
          strategy: of the run.
          num_steps: steps so far, including this one.
        """
        n = tf.cast(num_steps, tf.float32)
        new_share = 1 - tf.minimum(self._decay, (n - 1) / (n + SLOW_START))
        for average, weight in zip(self.variables, self._weights, strict=True):
            strategy.extended.update(average.value, _add_weights, args=(weight.value, new_share))

    @contextlib.contextmanager
    def in_place(self) -> Iterator[None]:
        """Inside, the weights are their averages; afterwards they are what they were, to the bit."""
        kept = [np.array(weight.value) for weight in self._weights]
        try:
            _assign(self._weights, [np.asarray(average.value) for average in self.variables])
            yield
        finally:
            _assign(self._weights, kept)


def _add_weights(average: tf.Variable, weight: tf.Tensor, new_share: tf.Tensor) -> None:
    average.assign_add(new_share * (weight - average))


def _assign(variables: Sequence[keras.Variable], values: Sequence[np.ndarray]) -> None:
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)
