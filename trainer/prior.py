"""A new model starts from the unigram: its output biases say what is common before it has learned when.

That spares the first hundred steps, which would learn nothing else.
"""

from __future__ import annotations

import math

import numpy as np

from midi_codec import fields
from trainer.model import NoteModel
from trainer.pieces import Pieces


def start_from_unigram(model: NoteModel, train: Pieces) -> None:
    """Sets every head's output bias, and END's, to log probabilities counted in the training split."""
    is_note = np.ones(len(train.raw), bool)
    is_note[train.first_event[1:] - 1] = False
    for index, (field, bias) in enumerate(zip(model.table, model.output_biases, strict=True)):
        values = train.raw[is_note, index]
        start = np.zeros(bias.shape, np.float32)
        if field.loss == fields.MSE:
            start[0] = inverse_softplus(max(float(values.mean()) / field.scale, 1e-3))
        else:
            counts = np.bincount(field.encode(values), minlength=field.num_bins) + 1
            start[: field.num_bins] = np.log(counts / counts.sum())
        bias.assign(start)
    head_bias = np.asarray(model.head_bias.value).copy()
    head_bias[model.end_column] = math.log(train.num_pieces / max(train.num_notes, 1))
    model.head_bias.assign(head_bias)


def inverse_softplus(value: float) -> float:
    """The number whose softplus is `value`, above 0."""
    return value + math.log(-math.expm1(-value))
