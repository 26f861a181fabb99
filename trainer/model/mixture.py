"""A time as a mixture of logistics on a logarithmic axis, discretised to the grid of ticks.

    u(t) = log(1 + t / shift)                   the axis: a musician's freedom in timing grows with the length of a note
    P(tick) = sum over k of weight_k (F_k(u(tick + 1/2)) - F_k(u(tick - 1/2)))    F_k logistic: location, scale

Tick 0 takes all of the mixture below 1/2, and `fields.MAX_TICK` all above it, so the probabilities of the ticks from 0
to MAX_TICK add up to 1 (for the discretisation see Salimans et al. 2017, "PixelCNN++"). With z at the two borders of a
tick, the difference of two logistic functions is

    log(F(z1) - F(z0)) = log F(z1) + log(1 - F(z0)) + log(1 - exp(z0 - z1))

where nothing cancels: z1 - z0 is computed from the width of the tick on the axis, not from its borders.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import tensorflow as tf

from midi_codec import fields
from trainer.model import random_streams

COMPONENTS = fields.WIDTH_MULTIPLE
WIDTH = 3 * COMPONENTS  # columns of a head's output: log weights, locations, log scales
SMALLEST_SCALE = 1e-4
LARGEST_LOG_SCALE = 8.0
CENTRE_UNIT = 0.01
MAX_FLOAT_TICK = 2**31 - 128  # the largest float32 that int32 holds


@dataclasses.dataclass(frozen=True)
class Mixture:
    """`[..., COMPONENTS]` each: log weights that sum to 1 as weights, locations and log scales on the axis."""

    log_weights: tf.Tensor
    locations: tf.Tensor
    log_scales: tf.Tensor

    @classmethod
    def of(cls, output: tf.Tensor) -> Mixture:
        """The mixture of a head's output `[..., WIDTH]`, in its dtype."""
        logits, locations, log_scales = tf.split(output, 3, axis=-1)
        return cls(tf.nn.log_softmax(logits), locations, log_scales)


def output_of(product: tf.Tensor, bias: tf.Tensor, *, shift: float) -> tf.Tensor:
    """A head's output `[..., WIDTH]`: the product depends on the note, the bias is the same for every note.

    The bias holds each component's centre on the axis, in units of `CENTRE_UNIT`; the product moves the location away
    from it, in units of the scale. So a narrow component (a length on a grid of beats) takes small steps in training
    and a wide one takes large steps; in units of the axis the gradients of the narrow ones, 1 / scale each, would drown
    out all others. No scale is smaller than the one that puts all of a component into the tick at its centre.

    Args:
      product: `[..., WIDTH]`.
      bias: `[WIDTH]`.
      shift: ticks of the axis.
    """
    logits, offsets, log_scales = tf.split(product, 3, axis=-1)
    logit_bias, centre_bias, log_scale_bias = tf.split(bias, 3)
    centres = CENTRE_UNIT * centre_bias
    log_scales = tf.minimum(log_scales + log_scale_bias, LARGEST_LOG_SCALE)
    log_smallest = tf.math.log(smallest_scales(centres, shift))
    log_scales += tf.nn.softplus(log_smallest - log_scales)
    locations = centres + tf.exp(log_scales) * offsets
    return tf.concat([logits + logit_bias, locations, log_scales], axis=-1)


def smallest_scales(centres: tf.Tensor, shift: float) -> tf.Tensor:
    """Scales at which a logistic has all but 0.07 % of its mass within the tick around a centre on the axis."""
    tick_widths = tf.math.log1p(tf.exp(-tf.maximum(centres, 0.0)) / shift)
    return tf.maximum(tick_widths / 16, SMALLEST_SCALE)


def bias_of(log_weights: np.ndarray, centres: np.ndarray, scales: np.ndarray, *, shift: float) -> np.ndarray:
    """`[WIDTH]` float32, the bias with which a head predicts this for every note; scales above the smallest."""
    smallest = smallest_scales(tf.constant(centres), shift).numpy()
    log_scales = np.log(np.maximum(scales - smallest, 0.01 * smallest))
    return np.concatenate([log_weights, centres / CENTRE_UNIT, log_scales]).astype(np.float32)


def axis(ticks: tf.Tensor, shift: float) -> tf.Tensor:
    """Positions on the axis, float64, of times in ticks."""
    return tf.math.log1p(tf.cast(ticks, tf.float64) / shift)


def tick_nll(ticks: tf.Tensor, output: tf.Tensor, *, shift: float) -> tf.Tensor:
    """`[...]` nats of whole ticks, in the output's dtype: float32 for training, float64 for evaluation.

    Args:
      ticks: `[...]` int32 from 0.
      output: `[..., WIDTH]`.
      shift: ticks of the axis.
    """
    mixture = Mixture.of(output)
    return -tf.reduce_logsumexp(mixture.log_weights + component_log_probabilities(ticks, mixture, shift), axis=-1)


def component_log_probabilities(ticks: tf.Tensor, mixture: Mixture, shift: float) -> tf.Tensor:
    """`[..., COMPONENTS]`, log probability of each tick under each component, in the mixture's dtype."""
    dtype = mixture.locations.dtype
    below = tf.maximum(tf.cast(ticks, tf.float64) - 0.5, 0.0)  # the lower border; tick 0 has none
    width = tf.math.log1p(1.0 / (below + shift))
    lower, width = (tf.cast(value, dtype)[..., None] for value in (axis(below, shift), width))
    inverse_scale = tf.exp(-mixture.log_scales)
    z0 = (lower - mixture.locations) * inverse_scale
    dz = width * inverse_scale
    is_first, is_last = (ticks == 0)[..., None], (ticks == fields.MAX_TICK)[..., None]
    first_upper = (tf.cast(axis(0.5, shift), dtype) - mixture.locations) * inverse_scale
    z1 = tf.where(is_first, first_upper, z0 + dz)
    zero = tf.zeros_like(dz)
    log_up_to = tf.where(is_last, zero, -tf.nn.softplus(-z1))
    log_from = tf.where(is_first, zero, -tf.nn.softplus(z0))
    log_between = tf.where(is_first | is_last, zero, tf.math.log(-tf.math.expm1(-dz)))
    return log_up_to + log_from + log_between


def draw(
    output: tf.Tensor, uniforms: tuple[tf.Tensor, tf.Tensor], temperature: tf.Tensor, *, shift: float, largest: int
) -> tf.Tensor:
    """`[rows]` int32, ticks drawn from the mixture, conditional on being at most `largest`.

    Args:
      output: `[rows, WIDTH]` float32.
      uniforms: two of `[rows]` in (0, 1); the first chooses the component, the second the position in it.
      temperature: `[rows]` above 0; divides the log weights and multiplies the scales.
      shift: ticks of the axis.
      largest: the largest tick.
    """
    largest = min(largest, MAX_FLOAT_TICK)
    mixture, temperature = Mixture.of(output), temperature[:, None]
    scales = tf.exp(mixture.log_scales) * temperature
    end = tf.constant(np.log1p((largest + 0.5) / shift), tf.float32)
    beyond = (mixture.locations - end) / scales
    log_share = -tf.nn.softplus(beyond)  # log of each component's mass below the end
    logits = mixture.log_weights / temperature + log_share
    component = random_streams.choose(tf.exp(logits - tf.reduce_max(logits, axis=1, keepdims=True)), uniforms[0])
    location, scale, beyond, share = (
        tf.gather(column, component, axis=1, batch_dims=1) for column in (mixture.locations, scales, beyond, log_share)
    )
    log_below = tf.math.log(uniforms[1]) + share  # of the component, below the position drawn
    # location + scale (log F - log(1 - F)), measured from the end if the location is beyond it
    above = tf.math.log(uniforms[1]) - tf.nn.softplus(-tf.abs(beyond)) - tf.math.log(-tf.math.expm1(log_below))
    position = tf.minimum(tf.minimum(location, end) + scale * above, end)
    ticks = tf.floor(shift * tf.math.expm1(position) + 0.5)
    return tf.cast(tf.clip_by_value(ticks, 0.0, np.float32(largest)), tf.int32)  # tick 0 takes everything below it


def likeliest_tick(output: tf.Tensor, *, shift: float, largest: int) -> tf.Tensor:
    """`[...]` int32, the likeliest of the ticks at the components' locations, clipped to 0 and `largest`.

    Args:
      output: `[..., WIDTH]` float32.
      shift: ticks of the axis.
      largest: the largest tick.
    """
    largest = min(largest, MAX_FLOAT_TICK)
    _, locations, _ = tf.split(output, 3, axis=-1)
    positions = tf.clip_by_value(locations, 0.0, np.float32(np.log1p(largest / shift)))
    ticks = tf.cast(tf.minimum(tf.floor(shift * tf.math.expm1(positions) + 0.5), np.float32(largest)), tf.int32)
    nll = tick_nll(ticks, output[..., None, :], shift=shift)  # [..., COMPONENTS]
    best = tf.argmin(nll, axis=-1, output_type=tf.int32)
    return tf.gather(ticks, best, axis=-1, batch_dims=len(ticks.shape) - 1)
