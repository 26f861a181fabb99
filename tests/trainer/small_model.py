"""A model whose weights are random numbers, for tests of what is drawn from one, or fine-tuned."""

from __future__ import annotations

import dataclasses

import numpy as np

from midi_codec.fields import CATEGORICAL, FieldTable
from tests.trainer.tiny import make_table
from trainer import bundle as bundle_lib
from trainer.bundle import Bundle
from trainer.model.model_config import ModelConfig
from trainer.model.note_model import NoteModel

PLAIN = ModelConfig(units=16, layers=1, head_units=16)


def make_model(timing_loss=CATEGORICAL, config=PLAIN, precision="float32", *, end_bias=-3.0) -> NoteModel:
    model = NoteModel(config, make_table(timing_loss=timing_loss, programs=(0, 128)), precision=precision)
    rng = np.random.default_rng(1)
    for variable in model.trainable_variables:
        variable.assign(rng.normal(0, 0.3, variable.shape))
    bias = np.asarray(model.head_bias.value).copy()
    bias[model.end_column] = end_bias
    model.head_bias.assign(bias)
    return model


def make_bundle(table: FieldTable) -> Bundle:
    """A bundle of such a model."""
    weights = bundle_lib.get_weights(NoteModel(PLAIN, table))
    rng = np.random.default_rng(0)
    weights = {name: rng.normal(0, 0.3, array.shape).astype(np.float32) for name, array in sorted(weights.items())}
    return Bundle(dataclasses.asdict(PLAIN), table, {}, {}, {}, weights)
