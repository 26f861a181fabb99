"""A new model starts from the unigram: its output biases hold how common each value is.

That saves the first hundred steps, which would learn nothing else.
"""

from __future__ import annotations

import math

import numpy as np
import tensorflow as tf

from midi_codec import fields
from trainer.data.pieces import Pieces
from trainer.evaluation.baselines import backed_off, pair_counts
from trainer.model import mixture
from trainer.model.note_model import NoteModel

EM_ROUNDS = 30
LEAST_WEIGHT = 1e-4
NARROWEST = 1.5  # times the smallest scale: leaves the gradient room to move it


def start_from_unigram(model: NoteModel, train: Pieces) -> None:
    """Sets every head's output bias, and END's, to log probabilities counted in the training split."""
    pairs = pair_counts(train, model.table)
    for index, (field, bias) in enumerate(zip(model.table, model.output_biases, strict=True)):
        start = np.zeros(bias.shape, np.float32)
        if field.loss == fields.MSE:
            values, times = value_counts(train, index)
            start[0] = inverse_softplus(max(float(values @ times / times.sum()) / field.scale, 1e-3))
        elif field.loss == fields.MIXTURE:
            start[:] = fit_mixture(*value_counts(train, index), shift=field.shift)
        else:
            counts = pairs[index][:, :-1].sum(axis=0) + 1
            start[: field.num_bins] = np.log(counts / counts.sum())
        bias.assign(start)
        if field.loss == fields.MIXTURE:  # at first only the weights depend on the note, not locations and scales
            kernel = np.asarray(model.output_kernels[index].value).copy()
            kernel[:, mixture.COMPONENTS :] = 0
            model.output_kernels[index].assign(kernel)
        if model.copying is not None and field.loss == fields.CATEGORICAL:
            model.copying.tensors.follows[index].assign(pair_gains(pairs[index], field))
    head_bias = np.asarray(model.head_bias.value).copy()
    head_bias[model.end_column] = math.log(train.num_pieces / max(train.num_notes, 1))
    model.head_bias.assign(head_bias)


def value_counts(pieces: Pieces, column: int) -> tuple[np.ndarray, np.ndarray]:
    """The distinct values of a field, ascending, and how many notes have each."""
    values, counts = np.zeros(0, np.int64), np.zeros(0, np.int64)
    for block in pieces.blocks():
        found, times = np.unique(block.raw[~block.is_end, column], return_counts=True)
        values, index = np.unique(np.concatenate([values, found]), return_inverse=True)
        counts = np.bincount(index, weights=np.concatenate([counts, times])).astype(np.int64)
    return values, counts


def pair_gains(pairs: np.ndarray, field: fields.FieldSpec) -> np.ndarray:
    """`[num_bins + 1, width]` float32: log of how much likelier each value is after each value than by itself.

    The last row is of a piece's first note. Pairs back off to single values as in `trainer.evaluation.baselines`.

    Args:
      pairs: of the field, as `trainer.evaluation.baselines.pair_counts` gives them.
      field: of the pairs.
    """
    counts = pairs[:, :-1].astype(np.float64)
    single = counts.sum(axis=0) + 1
    single /= single.sum()
    gains = np.log(backed_off(counts, single) / single)
    return np.pad(gains, [[0, 0], [0, field.width - field.num_bins]]).astype(np.float32)


def inverse_softplus(value: float) -> float:
    """The number whose softplus is `value`; `value` is above 0."""
    return value + math.log(-math.expm1(-value))


def fit_mixture(values: np.ndarray, counts: np.ndarray, *, shift: float) -> np.ndarray:
    """The bias of a mixture head that fits a histogram, by expectation maximisation that starts with a bin each.

    Args:
      values: `[n]` ascending distinct ticks.
      counts: `[n]` how often each occurs.
      shift: ticks of the axis.

    Returns:
      `[mixture.WIDTH]` float32. Components without notes are wide, for values that no training note has.
    """
    edges = fields.choose_time_edges(values, counts, max_bins=mixture.COMPONENTS)
    positions = np.log1p(values / shift)
    shares = counts / counts.sum()
    member = np.eye(mixture.COMPONENTS)[np.searchsorted(edges, values, side="right") - 1]
    for _ in range(EM_ROUNDS):
        fitted = _fit_members(member * shares[:, None], positions, shift)
        by_component = mixture.component_log_probabilities(tf.constant(values), fitted, shift).numpy()
        joint = by_component + fitted.log_weights.numpy()
        member = np.exp(joint - joint.max(axis=1, keepdims=True))
        member /= member.sum(axis=1, keepdims=True)
    scales = np.exp(fitted.log_scales.numpy())
    return mixture.bias_of(fitted.log_weights.numpy(), fitted.locations.numpy(), scales, shift=shift)


def _fit_members(mass: np.ndarray, positions: np.ndarray, shift: float) -> mixture.Mixture:
    """The mixture with the moments of `mass` `[n, COMPONENTS]`; scales are bounded so that none is a single point."""
    total = mass.sum(axis=0)
    overall, spread = np.average(positions, weights=mass.sum(axis=1)), np.ptp(positions) + 1.0
    is_used = total > LEAST_WEIGHT
    divisor = np.where(is_used, total, 1.0)
    locations = np.where(is_used, positions @ mass / divisor, overall)
    variances = ((positions[:, None] - locations) ** 2 * mass).sum(axis=0) / divisor
    narrowest = NARROWEST * mixture.smallest_scales(tf.constant(locations), shift).numpy()
    scales = np.where(is_used, np.maximum(np.sqrt(3 * variances) / np.pi, narrowest), spread)
    weights = np.maximum(total, LEAST_WEIGHT)
    return mixture.Mixture(*(tf.constant(v) for v in (np.log(weights / weights.sum()), locations, np.log(scales))))
