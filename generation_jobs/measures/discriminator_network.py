"""The discriminator's network: embedded notes -> LSTM -> mean over the window -> log odds. Imports TensorFlow."""

from __future__ import annotations

from collections.abc import Sequence

import keras
import numpy as np
import tensorflow as tf

from trainer.model.recurrent.lstm import LSTM

UNITS, EMBEDDED = 64, 48
DROPOUT, LEARNING_RATE = 0.3, 3e-3


class Network:
    """An LSTM with its optimizer; the same calls give the same weights.

    Args:
      num_values: how many values each column of the bins may have.
    """

    def __init__(self, num_values: Sequence[int]):
        keras.utils.set_random_seed(0)
        layers = keras.layers
        self._embeddings = [layers.Embedding(count, EMBEDDED) for count in num_values]
        self._lstm, self._dense = LSTM(UNITS), layers.Dense(1)
        self._drops = [layers.Dropout(DROPOUT, seed=seed) for seed in (1, 2)]
        self._log_odds(tf.zeros([1, 1, len(num_values)], tf.int32), training=False)
        used = [*self._embeddings, self._lstm, self._dense]
        self.weights = [weight for layer in used for weight in layer.trainable_variables]
        self._optimizer = keras.optimizers.Adam(LEARNING_RATE)
        self._optimizer.build(self.weights)
        self._variables = [*self.weights, *self._optimizer.variables]
        self._start = [np.array(variable.value) for variable in self._variables]
        bins, column = tf.TensorSpec([None, None, len(num_values)], tf.int32), tf.TensorSpec([None], tf.float32)
        self._train = tf.function(self._step, input_signature=[bins, column, column], autograph=False)
        self._judge = tf.function(self._log_odds, input_signature=[bins], autograph=False)

    def reset(self) -> None:
        """Forgets what was learned."""
        for variable, value in zip(self._variables, self._start, strict=True):
            variable.assign(value)

    def get_weights(self) -> list[np.ndarray]:
        return [np.array(weight.value) for weight in self.weights]

    def set_weights(self, values: Sequence[np.ndarray]) -> None:
        for weight, value in zip(self.weights, values, strict=True):
            weight.assign(value)

    def train(self, bins: np.ndarray, is_real: np.ndarray, weights: np.ndarray) -> None:
        """One step on some windows: `bins` `[n, notes, columns]`, and for each window 1 or 0, and its weight."""
        self._train(bins.astype(np.int32), is_real.astype(np.float32), weights.astype(np.float32))

    def log_odds(self, bins: np.ndarray) -> np.ndarray:
        """`[n]`, of being real."""
        return self._judge(bins.astype(np.int32)).numpy()

    def _log_odds(self, bins: tf.Tensor, training: bool = False) -> tf.Tensor:
        embedded = tf.add_n([embed(bins[:, :, column]) for column, embed in enumerate(self._embeddings)])
        hidden, _, _ = self._lstm(self._drops[0](embedded, training=training))
        return self._dense(self._drops[1](tf.reduce_mean(hidden, axis=1), training=training))[:, 0]

    def _step(self, bins: tf.Tensor, is_real: tf.Tensor, weights: tf.Tensor) -> None:
        with tf.GradientTape() as tape:
            costs = tf.nn.sigmoid_cross_entropy_with_logits(is_real, self._log_odds(bins, training=True))
            loss = tf.reduce_mean(weights * costs)
        self._optimizer.apply(tape.gradient(loss, [weight.value for weight in self.weights]), self.weights)
