"""Negative log-likelihoods over the ticks of the grid, in nats, so that all heads can be compared."""

from __future__ import annotations

import math

import numpy as np
import tensorflow as tf

_ASYMPTOTIC_BELOW = -25.0  # `erfc` of float64 becomes 0 below -38, and the series is not exact enough above -20
SMALLEST_PROBABILITY = 1e-30


def categorical_nll(logits: tf.Tensor, bins: tf.Tensor, log_spans: tf.Tensor) -> tf.Tensor:
    """Cross-entropy of the bin plus the cost of the position within the bin.

    Args:
      logits: `[..., width]`; columns beyond the last bin are already masked.
      bins: `[...]` int32.
      log_spans: `[num_bins]`, log of the number of values in each bin.
    """
    return tf.nn.sparse_softmax_cross_entropy_with_logits(bins, logits) + tf.gather(log_spans, bins)


def log_normal_cdf(z: tf.Tensor) -> tf.Tensor:
    """Log of the standard normal distribution function, float64, for any z.

    In the far left tail it uses the asymptotic series of Abramowitz and Stegun 26.2.12: absolute error 1e-11 below -25.
    """
    near = tf.math.log(0.5 * tf.math.erfc(-tf.maximum(z, _ASYMPTOTIC_BELOW) / math.sqrt(2.0)))
    far = tf.minimum(z, _ASYMPTOTIC_BELOW)
    inverse = 1.0 / (far * far)
    series = 1.0 - inverse * (1.0 - 3.0 * inverse * (1.0 - 5.0 * inverse * (1.0 - 7.0 * inverse)))
    tail = -0.5 * far * far - tf.math.log(-far * math.sqrt(2.0 * math.pi)) + tf.math.log(series)
    return tf.where(z < _ASYMPTOTIC_BELOW, tail, near)


def gaussian_tick_nll(ticks: tf.Tensor, mean: tf.Tensor, deviation: tf.Tensor) -> tf.Tensor:
    """The cost of a tick under an MSE head's prediction, taken as a Gaussian that is integrated over the tick.

    Tick 0 takes all of the Gaussian below 0.5, so that the probabilities of the ticks from 0 on add up to 1.

    Args:
      ticks: `[...]` whole ticks from 0.
      mean: `[...]` the prediction, in ticks.
      deviation: standard deviation of the validation residual, in ticks.

    Returns:
      `[...]` float64.
    """
    ticks, mean = tf.cast(ticks, tf.float64), tf.cast(mean, tf.float64)
    deviation = tf.cast(deviation, tf.float64)
    lower, upper = (ticks - 0.5 - mean) / deviation, (ticks + 0.5 - mean) / deviation
    flip = lower + upper > 0  # by symmetry, compute in the left tail, where differences keep their digits
    left, right = tf.where(flip, -upper, lower), tf.where(flip, -lower, upper)
    log_left, log_right = log_normal_cdf(left), log_normal_cdf(right)
    interval = log_right + tf.math.log(tf.maximum(-tf.math.expm1(log_left - log_right), SMALLEST_PROBABILITY))
    return -tf.where(ticks == 0, log_normal_cdf(upper), interval)


def squared_error(ticks: tf.Tensor, mean: tf.Tensor, scale: float) -> tf.Tensor:
    """`[...]` half the squared error in units of `scale`, which an MSE head is trained on."""
    return 0.5 * tf.square((tf.cast(ticks, tf.float32) - mean) / np.float32(scale))
