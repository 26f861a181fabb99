"""Pieces drawn from a model: what they are, that they follow the model, and that nothing else changes by them."""

import dataclasses
from collections.abc import Sequence

import numpy as np
import pytest
import tensorflow as tf

from midi_codec.fields import CATEGORICAL, MIXTURE, MSE
from tests.trainer.small_model import PLAIN, make_model
from tests.trainer.strategies import mirrored
from trainer.data.pieces import stack_pieces
from trainer.evaluation.piece_evaluation import evaluate_pieces
from trainer.sampling.piece_sampler import Drawn, PieceSampler

pytestmark = pytest.mark.usefixtures("eagerly")
COPYING = dataclasses.replace(PLAIN, attention="copy", attention_notes=8)
DEEP = dataclasses.replace(PLAIN, layers=2, layer_norm=True, residual=True, tied_embeddings=True)
DEVIATIONS = {"step": 3.0, "duration": 9.0}
CASES = {
    "categorical": (CATEGORICAL, PLAIN, "float32"),
    "mse": (MSE, PLAIN, "float32"),
    "mixture": (MIXTURE, DEEP, "float32"),
    "bfloat16": (CATEGORICAL, DEEP, "bfloat16"),
    "copying": (CATEGORICAL, COPYING, "float32"),
}


def values_of(pieces: Sequence[Drawn]) -> list[np.ndarray]:
    return [piece.values for piece in pieces]


def make_keys(number: int) -> np.ndarray:
    return np.random.default_rng(8).integers(0, 2**32, (number, 2), np.uint32)


@pytest.mark.parametrize("case", CASES.values(), ids=list(CASES))
def test_every_model_and_head_draws_pieces_of_the_table(case, tmp_path):
    model = make_model(*case, end_bias=-1.0)
    before = [np.asarray(weight.value) for weight in model.weights]
    pieces = values_of(PieceSampler(model, max_notes=6).draw(DEVIATIONS, make_keys(8)))
    assert len(pieces) == 8 and len({len(piece) for piece in pieces}) > 1
    for values in pieces:
        assert 1 <= len(values) <= 6 and values[0, 0] == 0
        assert values[:, 0].max() <= 30 and values[:, 2].max() <= 60 and values.min() >= 0  # the corpus's largest
        assert set(values[:, 1]) <= {60, 62, 65} and set(values[:, 3]) <= {40, 90} and set(values[:, 4]) <= {0, 128}
    for weight, value in zip(model.weights, before, strict=True):
        np.testing.assert_array_equal(np.asarray(weight.value), value)


@pytest.mark.parametrize("case", [case for name, case in CASES.items() if name != "bfloat16"])
def test_the_likelihood_of_a_draw_is_that_of_the_model(case):
    """So what is drawn is what the model says: no part of it is left out."""
    model = make_model(*case, end_bias=-2.0)
    pieces = PieceSampler(model, max_notes=20, allow_duplicates=False).draw(DEVIATIONS, make_keys(6))
    notes = [model.table.to_notes(piece.values, tempo=120.0) for piece in pieces]
    sums = evaluate_pieces(model, stack_pieces(notes, model.table), deviations=DEVIATIONS, batch_size=8).sums
    want = -np.sum([sums[f"nll_{field.name}"] for field in model.table], axis=0)
    ended = np.array([piece.ended for piece in pieces])
    assert 1 < ended.sum() < 6 or ended.all()
    got = np.array([piece.log_likelihood for piece in pieces])
    np.testing.assert_allclose(got[ended], want[ended], rtol=1e-4)
    assert (got[~ended] > want[~ended]).all()  # evaluated, a piece ends


def test_draws_repeat_and_follow_the_weights():
    model = make_model(end_bias=-30.0)
    sampler, keys = PieceSampler(model, max_notes=12), make_keys(3)
    tf.config.run_functions_eagerly(False)
    first = np.stack(values_of(sampler.draw({}, keys)))
    np.testing.assert_array_equal(first, np.stack(values_of(sampler.draw({}, keys))))
    assert not np.array_equal(first[0], first[1])  # a stream of its own a piece
    bias = np.asarray(model.output_biases[1].value).copy()
    bias[2] = 50.0
    model.output_biases[1].assign(bias)
    assert (np.stack(values_of(sampler.draw({}, keys)))[..., 1] == 65).all()  # the compiled loop reads the weights anew
    tf.config.run_functions_eagerly(True)


def test_a_piece_is_over_at_its_end_but_never_empty():
    pieces = PieceSampler(make_model(end_bias=30.0), max_notes=4).draw({}, make_keys(5))
    assert [(len(piece.values), piece.ended) for piece in pieces] == [(1, True)] * 5
    whole = PieceSampler(make_model(end_bias=30.0), max_notes=4, ends=False).draw({}, make_keys(5))
    assert [(len(piece.values), piece.ended) for piece in whole] == [(4, False)] * 5


def test_notes_come_as_often_as_the_model_says():
    """The shares of the first note's pitch among many draws, by the model's own pitch head."""
    model = make_model()
    pieces = values_of(PieceSampler(model, max_notes=1).draw({}, make_keys(4000)))
    pitches = np.array([values[0, 1] for values in pieces])
    previous = tf.constant(model.start_bins)[None, None]
    outputs, _ = model(previous, tf.zeros_like(previous), model.zero_state(1))  # a first step is bin 0
    want = tf.nn.softmax(outputs.fields["pitch"][0, 0, :3]).numpy()
    got = np.array([(pitches == pitch).mean() for pitch in (60, 62, 65)])
    np.testing.assert_allclose(got, want, atol=4 * 0.5 / 4000**0.5)


def test_mirrored_weights_are_read_outside_of_the_strategy():
    strategy = mirrored(2)
    with strategy.scope():
        mirrored_model = make_model()
    plain = make_model()
    got, want = (
        values_of(PieceSampler(model, max_notes=4).draw({}, make_keys(2))) for model in (mirrored_model, plain)
    )
    for one, other in zip(got, want, strict=True):
        np.testing.assert_array_equal(one, other)


def test_pitches_that_are_too_unlikely_are_not_drawn():
    model = make_model(end_bias=-30.0)
    outputs, _ = model(
        tf.constant(model.start_bins)[None, None], tf.zeros([1, 1, len(model.table)], tf.int32), model.zero_state(1)
    )
    shares = tf.nn.softmax(outputs.fields["pitch"][0, 0, :3]).numpy()
    limit = float(np.sort(shares)[:2].mean() / shares.max())  # between the two less likely ones
    pieces = PieceSampler(model, max_notes=1, min_p=limit).draw({}, make_keys(500))
    assert {int(piece.values[0, 1]) for piece in pieces} == {
        pitch for pitch, share in zip((60, 62, 65), shares, strict=True) if share >= limit * shares.max()
    }
