"""Draws one value per row from a field's head, in TensorFlow operations.

Nothing here mixes rows, and a row's result does not depend on whether other rows use `top_k` or `top_p`: a sample must
be the same whatever else is in its batch.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import tensorflow as tf

from midi_codec import fields
from trainer.model import heads, likelihoods, mixture, random_streams
from trainer.model.field_bins import encode_bins
from trainer.model.heads import MASKED_LOGIT
from trainer.model.mixture import MAX_FLOAT_TICK
from trainer.sampling.constraints import Constraints, allowed_ticks
from trainer.sampling.onset_order import OnsetOrder


@dataclasses.dataclass(frozen=True)
class RowSettings:
    """Sampling settings of each row.

    Attributes:
      temperature: `[rows]` float32; 0 takes the likeliest value.
      top_k: `[rows]` int32; how many of the likeliest values may be drawn.
      top_p: `[rows]` float32; only the fewest likeliest values whose probabilities reach it; 1 means all.
      min_p: `[rows]` float32; values less likely than this fraction of the likeliest are dropped; 0 drops none.

    Any of the last three may be None: then no row uses it, and it costs nothing.
    """

    temperature: tf.Tensor
    top_k: tf.Tensor | None = None
    top_p: tf.Tensor | None = None
    min_p: tf.Tensor | None = None


def drawable_mask(field: fields.FieldSpec) -> np.ndarray:
    """`[width]` float32 to add to logits: padding, and time bins beyond all training notes, are never drawn."""
    allowed = np.zeros(field.width, bool)
    allowed[: field.num_bins] = True
    if field.kind == fields.TIME:
        allowed[: field.num_bins] &= field.lows <= field.largest
    return np.where(allowed, 0.0, MASKED_LOGIT).astype(np.float32)


def note_uniforms(keys: tf.Tensor, note_index: tf.Tensor, num_fields: int) -> tf.Tensor:
    """`[rows, at least 1 + 2 num_fields]` float32 in (0, 1): one for END and two per field, from each piece's stream.

    Args:
      keys: `[rows, 2]` uint32, a stream per piece.
      note_index: `[rows]` int32, of the note in its piece.
      num_fields: of the table.
    """
    blocks = tf.range(-(-(1 + 2 * num_fields) // 4), dtype=tf.int32)
    block = tf.cast(blocks, tf.uint32)[None, :] + tf.zeros_like(keys[:, :1])
    counter = tf.cast(note_index, tf.uint32)[:, None] + tf.zeros_like(block)
    zero = tf.zeros_like(block)
    words = random_streams.philox((keys[:, :1], keys[:, 1:]), (counter, block, zero, zero))
    return tf.reshape(random_streams.to_uniform(tf.stack(words, axis=2)), [-1, 4 * block.shape[1]])


def draw_end(probability: tf.Tensor, uniform: tf.Tensor, settings: RowSettings) -> tf.Tensor:
    """`[rows]` bool, whether the piece ends here. Temperature 0 takes the likelier outcome; no other changes END."""
    return tf.where(settings.temperature == 0, probability > 0.5, uniform < probability)


def draw_bin(logits: tf.Tensor, uniform: tf.Tensor, settings: RowSettings) -> tf.Tensor:
    """`[rows]` int32, one column per row.

    The value that crosses `top_p` may be drawn, so at least one may (Holtzman et al. 2020). `min_p` is as in Nguyen et
    al. 2024 (https://arxiv.org/abs/2407.01082). Each of the three applies on its own to the probabilities after
    temperature.

    Args:
      logits: `[rows, width]`, masked columns far below the rest.
      uniform: `[rows]` in (0, 1).
      settings: of each row.
    """
    greedy = settings.temperature == 0.0
    logits -= tf.reduce_max(logits, axis=1, keepdims=True)
    weights = unrestricted = tf.exp(logits / tf.where(greedy, 1.0, settings.temperature)[:, None])
    if settings.min_p is not None:
        is_likely = weights >= settings.min_p[:, None] * tf.reduce_max(weights, axis=1, keepdims=True)
        weights = tf.where(is_likely, weights, 0.0)
    if settings.top_k is not None or settings.top_p is not None:
        weights = tf.where(_likeliest(unrestricted, settings), weights, 0.0)
    drawn = random_streams.choose(weights, uniform)
    return tf.where(greedy, tf.argmax(logits, axis=1, output_type=tf.int32), drawn)


def _likeliest(weights: tf.Tensor, settings: RowSettings) -> tf.Tensor:
    """`[rows, width]` bool, the values that `top_k` and `top_p` leave; among equal ones those that come first.

    Rows are not sorted: that would take longer than the rest of the step. The smallest weight that is left is found by
    bisection on the bits of the floats, which ascend with the floats.
    """
    bits = tf.bitcast(weights, tf.int32)
    highest = tf.reduce_max(bits, axis=1)
    top_k = tf.fill(tf.shape(highest), fields.MAX_TICK) if settings.top_k is None else settings.top_k
    budget = tf.fill(tf.shape(highest), np.float32(np.inf))
    if settings.top_p is not None:
        budget = tf.where(settings.top_p < 1, settings.top_p * tf.reduce_sum(weights, axis=1), budget)

    def above(threshold: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """`[rows]` each, the sum and the number of the weights above the threshold."""
        is_above = bits > threshold[:, None]
        total = tf.reduce_sum(tf.where(is_above, weights, 0.0), axis=1)
        return total, tf.reduce_sum(tf.cast(is_above, tf.int32), axis=1)

    def halve(turn: tf.Tensor, low: tf.Tensor, high: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Halves the interval: a weight with the bits `high` may be drawn, one with the bits `low` may not."""
        middle = low + (high - low) // 2
        total, count = above(middle)
        is_in = (total < budget) & (count < top_k)
        return turn + 1, tf.where(is_in, low, middle), tf.where(is_in, middle, high)

    _, _, least = tf.while_loop(
        lambda turn, *_: turn < 31, halve, (0, tf.fill(tf.shape(highest), -1), highest), maximum_iterations=31
    )
    total, count = above(least)
    is_least = bits == least[:, None]
    before = tf.cumsum(tf.cast(is_least, tf.int32), axis=1, exclusive=True)
    fits = total[:, None] + tf.cast(before, tf.float32) * weights < budget[:, None]
    fits &= count[:, None] + before < top_k[:, None]
    return (bits > least[:, None]) | (is_least & fits)


def draw_within_bin(
    field: fields.FieldSpec,
    bins: tf.Tensor,
    uniform: tf.Tensor,
    limits: tuple[tf.Tensor, tf.Tensor] | None = None,
) -> tf.Tensor:
    """`[rows]` int32, a value of each row's bin, all equally likely; with `limits`, one within them."""
    if limits is not None:
        first, last, _ = allowed_ticks(field, limits)
        first, last = (tf.gather(ticks, bins, axis=1, batch_dims=1) for ticks in (first, last))
        offset = tf.cast(tf.floor(uniform * tf.cast(last - first + 1, tf.float32)), tf.int32)
        return first + tf.minimum(offset, last - first)
    lows, spans = np.minimum(field.lows, fields.MAX_TICK), np.minimum(field.spans, fields.MAX_TICK)
    span = tf.gather(tf.constant(spans, tf.int32), bins)
    offset = tf.cast(tf.floor(uniform * tf.cast(span, tf.float32)), tf.int32)
    return tf.gather(tf.constant(lows, tf.int32), bins) + tf.minimum(offset, span - 1)


def draw_ticks(
    field: fields.FieldSpec, mean: tf.Tensor, deviation: tf.Tensor, uniform: tf.Tensor, settings: RowSettings
) -> tf.Tensor:
    """`[rows]` int32 from an MSE head: its Gaussian, rounded to the tick, clipped to 0 and the corpus's largest.

    Temperature scales the deviation; `top_p`, `top_k` and `min_p` do not apply to a number.
    """
    normal = tf.math.ndtri(uniform)
    ticks = tf.floor(mean + normal * tf.cast(deviation, tf.float32) * settings.temperature + 0.5)
    largest = np.float32(min(field.largest, MAX_FLOAT_TICK))
    return tf.cast(tf.clip_by_value(ticks, 0.0, largest), tf.int32)


def draw_mixture_ticks(
    field: fields.FieldSpec, output: tf.Tensor, uniforms: tuple[tf.Tensor, tf.Tensor], settings: RowSettings
) -> tf.Tensor:
    """`[rows]` int32 from a mixture head, conditional on being at most the corpus's largest: nothing is clipped.

    Temperature divides the log weights and multiplies the scales; at 0 the head's guess is taken. `top_p`, `top_k` and
    `min_p` do not apply to a continuous time.
    """
    greedy = settings.temperature == 0.0
    temperature = tf.where(greedy, 1.0, settings.temperature)
    drawn = mixture.draw(output, uniforms, temperature, shift=field.shift, largest=field.largest)
    likeliest = tf.cond(
        tf.reduce_any(greedy), lambda: tf.cast(heads.guess(field, output), tf.int32), lambda: tf.zeros_like(drawn)
    )
    return tf.where(greedy, likeliest, drawn)


def log_likelihood(
    field: fields.FieldSpec, output: tf.Tensor, bins: tf.Tensor, values: tf.Tensor, deviation: tf.Tensor
) -> tf.Tensor:
    """`[rows]` float32, nats of the drawn values under the model itself, at temperature 1 without restrictions."""
    if field.loss != fields.CATEGORICAL:
        return tf.cast(-heads.value_nll(field, output, bins, values, deviation), tf.float32)
    return -likelihoods.categorical_nll(output, bins, tf.constant(field.log_spans))


@dataclasses.dataclass(frozen=True)
class DrawnNote:
    """One note per row.

    Attributes:
      bins, values: `[rows, num_fields]` int32.
      log_likelihood: `[rows]` float32, nats of the fields under the model itself, without END.
    """

    bins: tf.Tensor
    values: tf.Tensor
    log_likelihood: tf.Tensor


def draw_note(
    table: fields.FieldTable,
    head: Callable[[int, Sequence[tf.Tensor], Sequence[tf.Tensor]], tf.Tensor],
    uniforms: tf.Tensor,
    settings: RowSettings | Sequence[RowSettings],
    *,
    previous: tf.Tensor,
    is_first: tf.Tensor,
    deviations: Mapping[str, float | tf.Tensor],
    constraints: Constraints | None = None,
    allow_duplicates: bool = True,
) -> DrawnNote:
    """Draws the fields of a note, each given those before it; a piece's first step is 0, as in a dataset.

    Args:
      table: the fields.
      head: the output of the field at an index, given the bins and the values of those before it (`NoteModel.head`).
      uniforms: `[rows, at least 2 num_fields]` in (0, 1).
      settings: of each row, the same for all fields or one per field.
      previous: `[rows, num_fields]` int32, bins of the note before.
      is_first: `[rows]` bool, whether there is no note before.
      deviations: of MSE heads, the residual's standard deviation in ticks, by field.
      constraints: what the drawn values must comply with; a piece's first step need not.
      allow_duplicates: whether a note may repeat the onset, pitch and program of another.
    """
    order = OnsetOrder(table, previous, is_first, allow_duplicates=allow_duplicates, constraints=constraints)
    of_fields = [settings] * len(table) if isinstance(settings, RowSettings) else settings
    bins: list[tf.Tensor] = []
    values: list[tf.Tensor] = []
    total = tf.zeros(tf.shape(uniforms)[:1])
    for index, (field, own) in enumerate(zip(table, of_fields, strict=True)):
        output = head(index, bins, values)
        deviation = tf.convert_to_tensor(deviations.get(field.name, 1.0), tf.float64)
        first, second = uniforms[:, 2 * index], uniforms[:, 2 * index + 1]
        if field.loss == fields.MSE:
            value = draw_ticks(field, output, deviation, first, own)
        elif field.loss == fields.MIXTURE:
            value = draw_mixture_ticks(field, output, (first, second), own)
        else:
            logits = output + drawable_mask(field) + order.mask(field, bins, values)
            limits = None
            if constraints is not None:
                limits = constraints.limits(field, values)
                if field.name == "step" and limits is not None:
                    limits = tf.maximum(limits[0], order.least_step), limits[1]
                logits += constraints.offsets(field, limits)
            drawn = draw_bin(logits, first, own)
            within = tf.where(own.temperature == 0, 0.5, second)  # greedy: the middle of a bin, every time
            value = draw_within_bin(field, drawn, within, limits)
        if field.name == "step":
            value = tf.where(is_first, 0, tf.maximum(value, order.least_step))
        bins.append(encode_bins(field, value))
        values.append(value)
        total += log_likelihood(field, output, bins[-1], value, deviation)
    return DrawnNote(tf.stack(bins, axis=1), tf.stack(values, axis=1), total)
