"""Small models with random weights, requests to decode, and what the Keras model says of the results."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from generation_jobs.decoder.decoder import Decoder
from generation_jobs.settings.label_weights import condition
from generation_jobs.settings.requests import Request, Result, Sampling
from midi_codec.dataset.labels import Vocabulary
from midi_codec.fields import CATEGORICAL, MAX_TICK, MIXTURE, MSE
from tests.trainer.tiny import ALL_PITCHES, COMPOSER, LIVE, make_notes, make_table
from trainer import bundle as bundle_lib
from trainer.bundle import Bundle
from trainer.data.batches import Batch, Windows, make_batch
from trainer.data.pieces import stack_pieces
from trainer.model import mixture
from trainer.model.model_config import ModelConfig
from trainer.model.note_model import HeadOutputs, NoteModel

CONFIG = {"units": 32, "layers": 2, "head_units": 16, "dropout": 0.2}
SLOTS = 16
NOTES_PER_PIECE = {"0": 6, "2": 8, "5": 10}
FREE = Sampling(top_k=MAX_TICK)  # no limit, but decoded by the same compiled call as requests with one
GREEDY = dataclasses.replace(FREE, temperature=0.0)


def make_bundle(
    timing_loss: str,
    programs: tuple[int, ...],
    *,
    zero_step_bias: float = -12.0,
    config: Mapping[str, Any] = CONFIG,
    labels: tuple[Vocabulary, ...] = (),
) -> Bundle:
    """Random weights, with an END now and then, and hardly a step of 0, so that notes come in their total order."""
    pitches = {"pitches": ALL_PITCHES} if "context_units" in config else {}
    table = make_table(timing_loss=timing_loss, programs=programs, **pitches)
    table = dataclasses.replace(table, labels=labels)
    model = NoteModel(ModelConfig(**config), table)
    rng = np.random.default_rng(5)
    for variable in model.trainable_variables:
        variable.assign(rng.normal(0, 0.1 if "context" in variable.path else 0.4, variable.shape))
    head_bias = np.asarray(model.head_bias.value).copy()
    head_bias[model.end_column] = -4.0
    model.head_bias.assign(head_bias)
    if timing_loss != CATEGORICAL:
        model.output_kernels[0].assign(0.1 * model.output_kernels[0])
    step_bias = np.asarray(model.output_biases[0].value).copy()
    if timing_loss == MIXTURE:
        centres = np.linspace(2.0, 4.0, mixture.COMPONENTS)  # ticks of 6 to 54; the largest is 30
        step_bias = mixture.bias_of(0 * centres, centres, 0 * centres + 0.05, shift=table["step"].shift)
    else:
        step_bias[0] = zero_step_bias if timing_loss == CATEGORICAL else 3.0
    model.output_biases[0].assign(step_bias)
    return Bundle(
        config=dict(config),
        fields=table,
        dataset={"notes_per_piece": NOTES_PER_PIECE},
        metrics={},
        deviations={"step": 3.0, "duration": 9.0} if timing_loss == MSE else {},
        weights=bundle_lib.get_weights(model),
    )


DEEP = {**CONFIG, "layers": 3, "layer_norm": True, "residual": True, "tied_embeddings": True}
CONTEXT = {"context_units": 16, "context_notes": 32, "context_lags": (8, 25), "context_periods": (50,)}
ECHOES = {"attention": "echo", "attention_notes": 40, "attention_lags": (2, 5, 12), "attention_dropout": 0.5}
CASES = {
    "categorical": (CATEGORICAL, (0, 128), CONFIG),
    "deep": (CATEGORICAL, (), DEEP),
    "context, mse": (MSE, (), {**CONFIG, **CONTEXT, "context_lags": (), "layers": 1}),
    "copying": (CATEGORICAL, (0, 128), {**CONFIG, "attention": "copy", "attention_notes": 8, "attention_chord": 4}),
    "context, copying": (
        CATEGORICAL,
        (0, 128),
        {**CONFIG, **CONTEXT, "attention": "copy", "attention_notes": 40, "attention_lags": (2, 12)},
    ),
    "echoes": (CATEGORICAL, (0, 128), {**CONFIG, **ECHOES}),
    "context, mixture": (MIXTURE, (), {**DEEP, **CONTEXT, "layers": 2, "context_periods": (12, 50)}),
}


LABELLED = ("categorical", "deep", "context, copying")
LABELS: list[dict[str, str]] = [{}, {"composer": "Bach"}, {"composer": "Mozart", "live": "yes"}, {"live": "yes"}]


def make_case(name: str) -> Bundle:
    timing_loss, programs, config = CASES[name]
    labels = (COMPOSER, LIVE) if name in LABELLED else ()
    return make_bundle(timing_loss, programs, config=config, labels=labels)


def make_request(number: int, **changes) -> Request:
    """A request of its own for each number: other primers, lengths and settings."""
    rng = np.random.default_rng(number)
    sampling = Sampling(
        temperature=float(rng.choice([0.0, 0.8, 1.0, 1.0])),
        top_k=MAX_TICK if rng.random() < 0.6 else int(rng.integers(1, 4)),
        top_p=None if rng.random() < 0.6 else float(rng.uniform(0.3, 1.0)),
    )
    length = int(rng.integers(0, 15))
    values = {
        "key": (0x2545F491, number),
        "primer": make_notes(number, num_notes=length) if length else None,
        "max_notes": int(rng.integers(1, 60)),
        "max_seconds": None if rng.random() < 0.7 else float(rng.uniform(0.05, 0.6)),
        "sampling": sampling,
        "condition": condition(labels_of(number), None),  # what a model without labels does not look at
    }
    return Request(**{**values, **changes})


def labels_of(number: int) -> dict[str, str]:
    """The labels of request `number`."""
    return LABELS[number % len(LABELS)]


def results_of(decoder: Decoder, requests: list[Request]) -> list[Result]:
    found = list(decoder.generate(requests))
    assert sorted(index for index, _ in found) == list(range(len(requests)))  # each once
    return [result for _, result in sorted(found, key=lambda entry: entry[0])]


def assert_same(got: Result, want: Result) -> None:
    assert got.notes == want.notes
    assert (got.log_likelihood, got.ended, got.num_primer_notes) == (
        want.log_likelihood,
        want.ended,
        want.num_primer_notes,
    )


def ask_model(bundle: Bundle, results: list[Result]) -> tuple[NoteModel, HeadOutputs, Batch]:
    """The Keras model on the notes of results 0 to n: what it says of each, given those before it, a row per result."""
    model, rows = bundle.build_model(), len(results)
    labels = [labels_of(number) for number in range(rows)]
    pieces = stack_pieces([result.notes for result in results], bundle.fields, labels=labels)
    events = np.array([len(result.notes) + bool(result.ended) for result in results])
    windows = Windows(np.arange(rows), np.zeros(rows, np.int64), events)
    batch = make_batch(pieces, windows, table=bundle.fields, batch_size=rows, start_bins=model.start_bins)
    raw, is_note = tf.constant(batch.raw), tf.constant(batch.is_note)
    state = model.with_labels(model.zero_state(rows), tf.constant(batch.labels))
    outputs, _ = model(batch.previous, batch.bins, state, raw=raw, is_note=is_note)
    return model, outputs, batch


def nll_by_model(bundle: Bundle, results: list[Result]) -> np.ndarray:
    """Of the generated notes, and of END when it was reached, by the Keras model and the trainer's losses."""
    model, outputs, batch = ask_model(bundle, results)
    deviation = bundle.deviations.get
    costs = [model.field_nll(field, outputs, batch.as_dict(), deviation(field.name)).numpy() for field in model.table]
    place = np.arange(costs[0].shape[1])
    firsts = np.array([result.num_primer_notes for result in results])
    return np.where(place >= firsts[:, None], sum(costs), 0).sum(axis=1)


def assert_model_agrees(bundle: Bundle, results: list[Result]) -> None:
    for result in results:
        assert (np.diff(result.notes.start) > 0).all()  # so the order in which notes were drawn is theirs
    found = [-result.log_likelihood for result in results]
    assert found == pytest.approx(nll_by_model(bundle, results), rel=1e-3, abs=1e-3)
    assert sum(len(result.notes) > result.num_primer_notes for result in results) > 10
