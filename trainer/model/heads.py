"""What the heads predict, what a note costs under it, and their best guess: one rule per loss.

categorical   logits over the field's bins; the position within a bin costs the log of the bin's span
mse           one number in ticks; in evaluation a Gaussian around it, integrated over each tick
mixture       a mixture of logistics on a logarithmic time axis, integrated over each tick (`trainer.model.mixture`)
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from midi_codec import fields
from trainer.model import likelihoods, mixture

MASKED_LOGIT = -1e9
NORM_EPSILON = 1e-5


@dataclasses.dataclass(frozen=True)
class HeadOutputs:
    """What the heads predict at each position.

    Attributes:
      end_logit: `[batch, time]`, log odds that the piece ends here.
      fields: by field, a categorical head's logits `[batch, time, width]`, an MSE head's prediction in ticks
        `[batch, time]`, or a mixture's log weights, locations and log scales `[batch, time, mixture.WIDTH]`.
    """

    end_logit: tf.Tensor
    fields: dict[str, tf.Tensor]


def output_width(field: fields.FieldSpec) -> int:
    """Columns of a head's output. An MSE head uses only the first of `WIDTH_MULTIPLE`."""
    if field.loss == fields.MIXTURE:
        return mixture.WIDTH
    return field.width if field.loss == fields.CATEGORICAL else fields.WIDTH_MULTIPLE


def logit_mask(field: fields.FieldSpec) -> np.ndarray:
    """`[width]` float32 that, added to logits, leaves padding columns without probability."""
    return np.where(np.arange(field.width) < field.num_bins, 0.0, MASKED_LOGIT).astype(np.float32)


def head_output(field: fields.FieldSpec, product: tf.Tensor, bias: tf.Tensor) -> tf.Tensor:
    """What `HeadOutputs` holds for a field: logits, ticks that cannot be negative, or a mixture.

    Args:
      field: of the head.
      product: `[..., width]` of its hidden layer with its output kernel.
      bias: `[width]`.
    """
    if field.loss == fields.MIXTURE:
        return mixture.output_of(product, bias, shift=field.shift)
    raw = product + bias
    if field.loss == fields.MSE:
        return tf.nn.softplus(raw[..., 0]) * np.float32(field.scale)
    return raw + logit_mask(field)


def field_losses(
    table: fields.FieldTable,
    outputs: HeadOutputs,
    targets: Mapping[str, Any],
) -> dict[str, tf.Tensor]:
    """What training minimises, by field: nats, or half the scaled squared error for an MSE head.

    Args:
      table: the fields.
      outputs: of the model.
      targets: `bins` and `raw` `[batch, time, num_fields]` int32, `is_note` and `is_end` `[batch, time]` float32.

    Returns:
      `[batch, time]` float32 by field, 0 where nothing is predicted; END's cost is in `pitch`.
    """
    losses = {}
    for index, field in enumerate(table):
        output = outputs.fields[field.name]
        if field.loss == fields.MSE:
            cost = likelihoods.squared_error(targets["raw"][..., index], output, field.scale)
        elif field.loss == fields.MIXTURE:
            cost = mixture.tick_nll(targets["raw"][..., index], output, shift=field.shift)
        else:
            cost = likelihoods.categorical_nll(output, targets["bins"][..., index], tf.constant(field.log_spans))
        losses[field.name] = cost * targets["is_note"]
    losses["pitch"] += end_cost(outputs.end_logit, targets)
    return losses


def end_cost(end_logit: tf.Tensor, targets: Mapping[str, Any]) -> tf.Tensor:
    """`[batch, time]` nats, in the logit's type: -log P(end) at an END, -log(1 - P(end)) at a note."""
    is_note, is_end = (tf.cast(targets[name], end_logit.dtype) for name in ("is_note", "is_end"))
    return tf.nn.sigmoid_cross_entropy_with_logits(labels=is_end, logits=end_logit) * (is_note + is_end)


def value_nll(
    field: fields.FieldSpec, output: tf.Tensor, bins: tf.Tensor, values: tf.Tensor, deviation: tf.Tensor | float | None
) -> tf.Tensor:
    """`[...]` float64, exact nats of values over the ticks of the grid.

    Args:
      field: of the head.
      output: `[..., width]`, or `[...]` for an MSE head.
      bins, values: `[...]` int32.
      deviation: of an MSE head, the standard deviation of its residual in ticks; others ignore it.
    """
    if field.loss == fields.MSE:
        return likelihoods.gaussian_tick_nll(values, output, deviation)
    if field.loss == fields.MIXTURE:
        return mixture.tick_nll(values, tf.cast(output, tf.float64), shift=field.shift)
    log_spans = tf.constant(np.log(field.spans), tf.float64)
    return likelihoods.categorical_nll(tf.cast(output, tf.float64), bins, log_spans)


def guess(field: fields.FieldSpec, output: tf.Tensor) -> tf.Tensor:
    """`[...]` float64, the value that a head finds likeliest.

    That is an MSE head's number, the middle of the likeliest bin, or, for a mixture, the likeliest of the ticks at its
    components' locations, none of them above the corpus's largest.
    """
    if field.loss == fields.MSE:
        return tf.cast(output, tf.float64)
    if field.loss == fields.MIXTURE:
        return tf.cast(mixture.likeliest_tick(output, shift=field.shift, largest=field.largest), tf.float64)
    middles = tf.constant(field.lows + (field.spans - 1) / 2, tf.float64)
    return tf.gather(middles, tf.argmax(output, axis=-1, output_type=tf.int32))


def standardise(x: tf.Tensor, *, axis: int = -1) -> tf.Tensor:
    """`[..., units]` with mean 0 and variance 1 over the units: layer norm without its scale and shift."""
    centred = x - tf.reduce_mean(x, axis=axis, keepdims=True)
    variance = tf.reduce_mean(tf.square(centred), axis=axis, keepdims=True)
    return centred * tf.math.rsqrt(variance + NORM_EPSILON)


def tied_kernel(field: fields.FieldSpec, projection: tf.Tensor, embedding: tf.Tensor) -> tf.Tensor:
    """`[head_units, width]` output kernel: `[head_units, units]` times the rows of the field's bins, padded."""
    kernel = tf.matmul(projection, embedding[: field.num_bins], transpose_b=True)
    return tf.pad(kernel, [[0, 0], [0, field.width - field.num_bins]])
