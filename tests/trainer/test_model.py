import itertools

import numpy as np
import pytest
import tensorflow as tf

from midi_codec.fields import CATEGORICAL, MAX_TICK, MSE
from tests.trainer.tiny import make_many, make_table
from trainer.batches import Windows, make_batch
from trainer.model import HeadOutputs, ModelConfig, NoteModel, field_losses, head_output, logit_mask
from trainer.pieces import stack_pieces
from trainer.prior import inverse_softplus, start_from_unigram

PROGRAMS = (0, 128)


def make_model(table=None, **changes) -> NoteModel:
    config = ModelConfig(**{"units": 16, "layers": 2, "head_units": 16, "dropout": 0.5, **changes})
    model = NoteModel(config, table or make_table(programs=PROGRAMS))
    rng = np.random.default_rng(0)
    for variable in model.trainable_variables:  # biases too: nothing is zero, nothing is symmetric
        variable.assign(rng.normal(0, 0.7, variable.shape))
    return model


@pytest.fixture(scope="module")
def model() -> NoteModel:
    return make_model()


def random_bins(model: NoteModel, *shape: int, seed: int = 0) -> tf.Tensor:
    rng = np.random.default_rng(seed)
    columns = [rng.integers(0, field.num_bins, shape) for field in model.table]
    return tf.constant(np.stack(columns, axis=-1), tf.int32)


def test_all_outcomes_of_a_note_have_probability_one(model):
    table = model.table
    outcomes = np.array(list(itertools.product(*(range(field.num_bins) for field in table))), np.int32)
    assert len(outcomes) == 5 * 3 * 4 * 2 * 2
    rows = len(outcomes) + 1  # the last is END, which has no other field
    before = np.concatenate(
        [np.tile(model.start_bins, (rows, 1, 1)), np.tile(random_bins(model, 1, 4), (rows, 1, 1))], 1
    )
    current = np.concatenate([before[:, 1:], np.append(outcomes, outcomes[:1], axis=0)[:, None]], axis=1)
    outputs, _ = model(tf.constant(before), tf.constant(current), model.zero_state(rows))
    at_last = np.zeros(before.shape[:2], np.float32)
    at_last[:, -1] = 1
    is_end = np.arange(rows)[:, None] == rows - 1
    losses = field_losses(
        table, outputs, {"bins": current, "raw": current, "is_note": at_last * ~is_end, "is_end": at_last * is_end}
    )
    nll = sum(loss.numpy()[:, -1].astype(np.float64) for loss in losses.values())
    ticks = np.prod([field.spans[outcomes[:, index]].astype(float) for index, field in enumerate(table)], axis=0)
    probability = np.exp(-nll) * np.append(ticks, 1)  # a bin's ticks share its probability
    assert probability.sum() == pytest.approx(1, abs=2e-6)
    assert probability[-1] == pytest.approx(tf.sigmoid(outputs.end_logit[-1, -1]).numpy(), rel=1e-5)
    assert probability.min() > 0


def test_a_head_sees_the_fields_before_it_and_none_after(model):
    previous, current = random_bins(model, 1, 3), random_bins(model, 1, 3, seed=1).numpy()
    base, _ = model(previous, tf.constant(current), model.zero_state(1))
    for changed, field in enumerate(model.table):
        other = current.copy()
        other[0, 1, changed] = (other[0, 1, changed] + 1) % field.num_bins
        outputs, _ = model(previous, tf.constant(other), model.zero_state(1))
        assert (outputs.end_logit.numpy() == base.end_logit.numpy()).all()
        for index, name in enumerate(model.table.names):
            differs = np.abs(outputs.fields[name].numpy() - base.fields[name].numpy()).max(axis=(0, 2)) > 0
            assert differs.tolist() == [False, index > changed, False]


def test_padding_columns_have_no_probability(model):
    previous = random_bins(model, 2, 3)
    outputs, _ = model(previous, previous, model.zero_state(2))
    for field in model.table:
        probability = tf.nn.softmax(outputs.fields[field.name]).numpy()
        assert probability.shape == (2, 3, 16)
        assert (probability[..., field.num_bins :] == 0).all()
        assert (logit_mask(field) == 0).sum() == field.num_bins


def test_a_state_carried_in_chunks_equals_one_call(model):
    previous, current = random_bins(model, 3, 20), random_bins(model, 3, 20, seed=1)
    whole, whole_state = model(previous, current, model.zero_state(3))
    state, parts = model.zero_state(3), []
    for begin, end in ((0, 7), (7, 8), (8, 20)):
        outputs, state = model(previous[:, begin:end], current[:, begin:end], state)
        parts.append(outputs)
    for name, want in whole.fields.items():
        got = np.concatenate([part.fields[name].numpy() for part in parts], axis=1)
        np.testing.assert_allclose(got, want.numpy(), atol=2e-6, rtol=1e-5)
    ends = np.concatenate([part.end_logit.numpy() for part in parts], axis=1)
    np.testing.assert_allclose(ends, whole.end_logit.numpy(), atol=2e-6)
    for got, want in zip(tf.nest.flatten(state), tf.nest.flatten(whole_state), strict=True):
        np.testing.assert_allclose(got.numpy(), want.numpy(), atol=2e-6)


def test_dropout_drops_the_same_units_at_every_time_step(model):
    keys = tf.constant([[1, 2], [3, 4]], tf.uint32)
    dropped = model._drop(tf.ones([2, 5, 16]), keys, stream=0).numpy()
    assert (dropped == dropped[:, :1]).all()
    assert set(np.unique(dropped)) == {0.0, 2.0}
    assert (dropped[0, 0] != dropped[1, 0]).any()
    assert (model._drop(tf.ones([2, 5, 16]), keys, stream=1).numpy() != dropped).any()
    many = model._drop(tf.ones([2000, 1, 16]), tf.constant(np.arange(4000).reshape(2000, 2), tf.uint32), stream=0)
    assert many.numpy().mean() == pytest.approx(1, abs=0.03)  # 5 standard errors


def test_a_row_is_dropped_alike_wherever_it_stands(model):
    previous, keys = random_bins(model, 4, 6), tf.constant([[1, 2], [3, 4], [5, 6], [7, 8]], tf.uint32)
    whole, _ = model(previous, previous, model.zero_state(4), dropout_keys=keys)
    turned = tf.constant([2, 0, 3, 1])
    moved, _ = model(
        tf.gather(previous, turned), tf.gather(previous, turned), model.zero_state(4), tf.gather(keys, turned)
    )
    for name, want in whole.fields.items():
        assert (moved.fields[name].numpy() == want.numpy()[turned.numpy()]).all()
    without, _ = model(previous, previous, model.zero_state(4))
    assert np.abs(without.end_logit.numpy() - whole.end_logit.numpy()).min(axis=1).max() > 0


def test_no_dropout_at_a_rate_of_zero():
    model = make_model(dropout=0.0)
    previous = random_bins(model, 1, 3)
    keys = tf.constant([[1, 2]], tf.uint32)
    with_keys, _ = model(previous, previous, model.zero_state(1), dropout_keys=keys)
    without, _ = model(previous, previous, model.zero_state(1))
    assert (with_keys.end_logit.numpy() == without.end_logit.numpy()).all()


def test_an_mse_head_cannot_be_negative():
    field = make_table(timing_loss=MSE)["step"]
    raw = tf.constant([[-100.0], [-1.0], [0.0], [50.0]])
    ticks = head_output(field, raw, tf.zeros([1])).numpy()
    np.testing.assert_allclose(ticks, field.scale * np.log1p(np.exp([-100.0, -1.0, 0.0, 50.0])), rtol=1e-6, atol=1e-6)
    assert (ticks >= 0).all()
    model = make_model(make_table(timing_loss=MSE))
    previous = random_bins(model, 4, 30)
    outputs, _ = model(previous, previous, model.zero_state(4))
    assert outputs.fields["step"].shape == (4, 30) and outputs.fields["step"].numpy().min() >= 0


def test_losses_written_out():
    """One row of a note, a note, END and padding, with known head outputs."""
    table = make_table(timing_loss=MSE)
    logits = np.full((1, 4, 16), -1e9, np.float32)
    logits[..., :3] = np.log([0.5, 0.25, 0.25])
    halves = np.full((1, 4, 16), -1e9, np.float32)
    halves[..., :2] = 0
    outputs = HeadOutputs(
        end_logit=tf.fill([1, 4], np.float32(np.log(0.2 / 0.8))),
        fields={
            "step": tf.fill([1, 4], 12.0),
            "pitch": tf.constant(logits),
            "duration": tf.fill([1, 4], 40.0),
            "velocity": tf.constant(halves),
        },
    )
    raw = np.array([[[4, 60, 20, 40], [12, 62, 40, 40], [0] * 4, [0] * 4]], np.int32)
    bins = np.array([[[1, 0, 1, 0], [2, 1, 2, 0], [0] * 4, [0] * 4]], np.int32)
    targets = {
        "bins": bins,
        "raw": raw,
        "is_note": np.array([[1, 1, 0, 0]], np.float32),
        "is_end": np.array([[0, 0, 1, 0]], np.float32),
    }
    losses = {name: loss.numpy()[0] for name, loss in field_losses(table, outputs, targets).items()}
    np.testing.assert_allclose(losses["step"], [0.5, 0, 0, 0], atol=1e-6)  # half of ((12 - 4) / 8) squared
    np.testing.assert_allclose(losses["duration"], [0.5, 0, 0, 0], atol=1e-6)
    np.testing.assert_allclose(losses["velocity"], [np.log(2), np.log(2), 0, 0], rtol=1e-6)
    want = [-np.log(0.5 * 0.8), -np.log(0.25 * 0.8), -np.log(0.2), 0]
    np.testing.assert_allclose(losses["pitch"], want, rtol=1e-6)


@pytest.mark.parametrize("timing_loss", [CATEGORICAL, MSE])
def test_a_new_model_starts_from_the_unigram(timing_loss):
    model = make_model(make_table(timing_loss=timing_loss), layers=1)
    for variable in [*model.output_kernels, model.head_kernel]:
        variable.assign(np.zeros(variable.shape))
    notes = make_many([6, 9])
    pieces = stack_pieces(notes, model.table)
    start_from_unigram(model, pieces)
    windows = Windows(np.array([0, 1]), np.zeros(2, np.int64), pieces.num_events)
    batch = make_batch(pieces, windows, table=model.table, batch_size=2, start_bins=model.start_bins)
    outputs, _ = model(batch.previous, batch.bins, model.zero_state(2))
    assert tf.sigmoid(outputs.end_logit).numpy().ravel()[0] == pytest.approx(2 / 17, rel=1e-5)
    pitches = np.concatenate([piece.pitch for piece in notes])
    counts = np.array([(pitches == pitch).sum() + 1 for pitch in (60, 62, 65)])
    np.testing.assert_allclose(tf.nn.softmax(outputs.fields["pitch"]).numpy()[0, 0, :3], counts / 18, rtol=1e-5)
    durations = np.concatenate([piece.duration for piece in notes])
    if timing_loss == MSE:
        assert outputs.fields["duration"].numpy()[0, 0] == pytest.approx(durations.mean(), rel=1e-5)


@pytest.mark.parametrize("value", [1e-3, 1.0, 40.0])
def test_inverse_softplus(value):
    assert np.log1p(np.exp(inverse_softplus(value))) == pytest.approx(value, rel=1e-9)


def test_the_longest_time_has_a_loss(model):
    table = model.table
    assert table["step"].encode(np.array([MAX_TICK])).tolist() == [4]
