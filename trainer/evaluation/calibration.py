"""Whether a model's probabilities are right. Counts are made in the graph, the figures from them in NumPy.

**Reliability** of a categorical head (Guo et al. 2017): notes are sorted by the probability of their likeliest bin into
`CONFIDENCE_BINS` equal intervals; in each, the mean probability should equal the share of notes with that bin. The mean
distance between the two, weighted by notes, is the expected calibration error. Chance alone makes it larger than 0, so
the error that notes drawn from the model's own probabilities would give is reported beside it.

**PIT** (probability integral transform) of a time head: the interval of the note's tick in the predicted distribution,
F(tick - 1) to F(tick). Ticks are discrete, so each note spreads evenly over its interval (Czado, Gneiting and Held
2009, "nonrandomized"); over all notes the histogram is flat if the distribution is right. A U shape means that it is
too narrow, a hump too wide, a slope biased.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import tensorflow as tf

from midi_codec import fields
from trainer.model import likelihoods, mixture

CONFIDENCE_BINS = 15
PIT_BINS = 20
_NARROWEST = 1e-9  # narrower intervals count as this wide


def reliability_counts(logits: tf.Tensor, bins: tf.Tensor, is_note: tf.Tensor) -> tf.Tensor:
    """How sure the head was and how often it was right.

    Args:
      logits: `[..., width]`.
      bins: `[...]` int32, the notes'.
      is_note: `[...]`, 1 where there is one.

    Returns:
      `[CONFIDENCE_BINS, 3]` float64: notes, the sum of their confidences, and how many were in the likeliest bin.
    """
    is_note = tf.cast(is_note, tf.float64)
    weights = tf.exp(logits - tf.reduce_max(logits, axis=-1, keepdims=True))  # in the logits' own precision
    confidence = 1 / tf.cast(tf.reduce_sum(weights, axis=-1), tf.float64)
    hit = tf.cast(tf.argmax(logits, axis=-1, output_type=tf.int32) == bins, tf.float64)
    row = tf.minimum(tf.cast(confidence * CONFIDENCE_BINS, tf.int32), CONFIDENCE_BINS - 1)
    values = tf.stack([is_note, confidence * is_note, hit * is_note], axis=-1)
    return tf.math.unsorted_segment_sum(tf.reshape(values, [-1, 3]), tf.reshape(row, [-1]), CONFIDENCE_BINS)


def tick_interval(
    field: fields.FieldSpec, output: tf.Tensor, bins: tf.Tensor, ticks: tf.Tensor, deviation: tf.Tensor | None
) -> tuple[tf.Tensor, tf.Tensor]:
    """The probability that a time head gives to ticks below the note's tick, and to ticks up to it.

    Args:
      field: of kind `time`.
      output: the head's.
      bins, ticks: `[...]` int32, the notes'.
      deviation: of an MSE head, the standard deviation of its residual in ticks.

    Returns:
      `[...]` float64 each, F(tick - 1) and F(tick).
    """
    if field.loss == fields.MSE:
        ticks, mean = tf.cast(ticks, tf.float64), tf.cast(output, tf.float64)
        below, up_to = (tf.exp(likelihoods.log_normal_cdf((ticks + x - mean) / deviation)) for x in (-0.5, 0.5))
        return tf.where(ticks == 0, tf.zeros_like(below), below), up_to
    if field.loss == fields.MIXTURE:
        ticks, predicted = tf.cast(ticks, tf.float64), mixture.Mixture.of(tf.cast(output, tf.float64))
        below, up_to = (_mixture_cdf(mixture.axis(ticks + x, field.shift), predicted) for x in (-0.5, 0.5))
        return tf.where(ticks == 0, tf.zeros_like(below), below), up_to
    probabilities = tf.nn.softmax(tf.cast(output, tf.float64))
    before = tf.cast(tf.range(field.width) < bins[..., None], tf.float64)
    own = tf.gather(probabilities, bins, batch_dims=bins.shape.rank)
    per_tick = own / tf.gather(tf.constant(field.spans, tf.float64), bins)
    within_bin = tf.cast(ticks, tf.float64) - tf.gather(tf.constant(field.lows, tf.float64), bins)
    below = tf.reduce_sum(probabilities * before, axis=-1) + within_bin * per_tick
    return below, below + per_tick


def _mixture_cdf(positions: tf.Tensor, predicted: mixture.Mixture) -> tf.Tensor:
    """`[...]` probability below the `[...]` positions on the mixture's axis."""
    z = (positions[..., None] - predicted.locations) * tf.exp(-predicted.log_scales)
    return tf.reduce_sum(tf.exp(predicted.log_weights) * tf.sigmoid(z), axis=-1)


def pit_counts(below: tf.Tensor, up_to: tf.Tensor, is_note: tf.Tensor) -> tf.Tensor:
    """The PIT histogram of a batch.

    Args:
      below, up_to: `[...]` float64, of `tick_interval`.
      is_note: `[...]`, 1 where there is one.

    Returns:
      `[PIT_BINS]` float64, notes.
    """
    below = tf.minimum(below, 1 - _NARROWEST)[..., None]
    up_to = tf.maximum(tf.minimum(up_to, 1.0)[..., None], below + _NARROWEST)
    edges = tf.linspace(tf.constant(0.0, tf.float64), 1.0, PIT_BINS + 1)
    shares = (tf.minimum(tf.maximum(edges, below), up_to) - below) / (up_to - below)
    counts = (shares[..., 1:] - shares[..., :-1]) * tf.cast(is_note, tf.float64)[..., None]
    return tf.reduce_sum(tf.reshape(counts, [-1, PIT_BINS]), axis=0)


def describe_reliability(counts: np.ndarray) -> dict[str, Any]:
    """Figures of `[CONFIDENCE_BINS, 3]` counts as JSON: `error`, `error_by_chance`, and the bins."""
    notes, confidences, hits = counts.T
    total, filled = notes.sum(), notes > 0
    mean = np.divide(confidences, notes, out=np.zeros(len(notes)), where=filled)
    share = np.divide(hits, notes, out=np.zeros(len(notes)), where=filled)
    # The mean distance of a normal variable from its mean is sqrt(2 / pi) standard deviations.
    by_chance = np.sqrt(2 / math.pi * notes * mean * (1 - mean)).sum() / total
    return {
        "error": float((notes * abs(mean - share)).sum() / total),
        "error_by_chance": float(by_chance),
        "bins": [
            {"notes": int(notes[index]), "confidence": float(mean[index]), "right": float(share[index])}
            for index in np.flatnonzero(filled)
        ],
    }


def describe_pit(counts: np.ndarray) -> dict[str, Any]:
    """`histogram`, shares that add up to 1, and `distance`, the share of notes to move to flatten it."""
    shares = counts / counts.sum()
    return {"distance": float(abs(shares - 1 / len(shares)).sum() / 2), "histogram": [float(x) for x in shares]}
