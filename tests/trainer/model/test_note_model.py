import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf

from midi_codec.fields import CATEGORICAL, MIXTURE, MSE, build_field_table
from midi_codec.music.notes import BEATS
from tests.trainer.tiny import make_table
from trainer import bundle
from trainer.model.heads import HeadOutputs, field_losses, head_output, logit_mask, tied_kernel
from trainer.model.model_config import ModelConfig
from trainer.model.note_model import NoteModel

PROGRAMS = (0, 128)


def make_model(table=None, *, precision="float32", **changes) -> NoteModel:
    config = ModelConfig(**{"units": 16, "layers": 2, "head_units": 16, "dropout": 0.5, **changes})
    model = NoteModel(config, table or make_table(programs=PROGRAMS), precision=precision)
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


def test_a_row_is_dropped_alike_wherever_it_stands():
    model = make_model(embedding_dropout=0.3)
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


def test_a_symbol_that_is_dropped_is_dropped_wherever_it_stands_in_the_window():
    model = make_model(embedding_dropout=0.5)
    previous = tf.tile(random_bins(model, 1, 4), [300, 3, 1])
    keys = tf.constant(np.arange(600).reshape(300, 2), tf.uint32)
    embed = model.recurrent_stack.embed
    whole, dropped = embed(previous, None).numpy(), embed(previous, keys).numpy()
    assert (dropped[:, :4] == dropped[:, 4:8]).all() and (dropped[:, :4] == dropped[:, 8:]).all()
    assert dropped.mean(axis=0) == pytest.approx(whole.mean(axis=0), abs=0.9)  # 5 standard errors
    rows = [tf.gather(table, previous[..., index]).numpy() for index, table in enumerate(model.embeddings)]
    for window in range(20):  # at each place some of the fields' rows, doubled
        for time in range(4):
            sums = [
                2 * sum((row[window, time] for row, keep in zip(rows, kept, strict=True) if keep), np.zeros(16))
                for kept in itertools.product([False, True], repeat=len(rows))
            ]
            assert min(np.abs(dropped[window, time] - each).max() for each in sums) < 1e-5
    assert (embed(previous, None).numpy() == whole).all()


def test_recurrent_dropout_is_one_mask_for_the_whole_step():
    model = make_model(recurrent_dropout=0.25)
    key = tf.constant([3, 4], tf.uint32)
    kernels = [np.asarray(layer.cell.recurrent_kernel) for layer in model.lstm_layers]
    kept = [model.recurrent_stack.recurrent_kernel(index, key).numpy() != 0 for index in range(2)]
    assert np.mean(kept) == pytest.approx(0.75, abs=0.05)  # 5 standard errors
    assert (kept[0] != kept[1]).any()
    previous, keys = random_bins(model, 3, 6), tf.constant([[1, 2], [3, 4], [5, 6]], tf.uint32)
    got, _ = model(previous, previous, model.zero_state(3), keys, key)
    with_others, _ = model(previous[1:], previous[1:], model.zero_state(2), keys[1:], key)
    np.testing.assert_allclose(with_others.end_logit.numpy(), got.end_logit.numpy()[1:], atol=1e-6)
    other_step, _ = model(previous, previous, model.zero_state(3), keys, tf.constant([3, 5], tf.uint32))
    assert np.abs(other_step.end_logit.numpy() - got.end_logit.numpy())[:, 1:].min() > 0  # the first has no past
    for layer, kernel, mask in zip(model.lstm_layers, kernels, kept, strict=True):
        layer.cell.recurrent_kernel.assign(kernel * mask / 0.75)
    want, _ = model(previous, previous, model.zero_state(3), keys)
    np.testing.assert_allclose(got.end_logit.numpy(), want.end_logit.numpy(), atol=1e-6)


def test_gradients_of_dropped_weights_are_zero_and_those_of_kept_ones_are_not():
    model = make_model(recurrent_dropout=0.5, layers=1)
    key, previous = tf.constant([3, 4], tf.uint32), random_bins(model, 2, 5)
    kernel = model.lstm_layers[0].cell.recurrent_kernel
    with tf.GradientTape() as tape:
        outputs, _ = model(previous, previous, model.zero_state(2), step_key=key)
        loss = tf.reduce_sum(outputs.end_logit)
    gradient = tf.convert_to_tensor(tape.gradient(loss, kernel.value)).numpy()
    kept = model.recurrent_stack.recurrent_kernel(0, key).numpy() != 0
    assert (gradient[~kept] == 0).all() and (gradient[kept] != 0).mean() > 0.99


def by_keras(model: NoteModel, previous: tf.Tensor) -> np.ndarray:
    """What the heads see, by Keras's layers in the order that the model's docstring tells."""
    x = tf.add_n([tf.gather(table, previous[..., index]) for index, table in enumerate(model.embeddings)])
    for index, layer in enumerate(model.lstm_layers):
        plain = keras.layers.LSTM(16, return_sequences=True)
        plain.build(x.shape)
        plain.set_weights(layer.get_weights())
        output = plain(keras_norm(model, x, index))
        x = x + output if model.config.residual and index else output
    return keras_norm(model, x, len(model.lstm_layers)).numpy()


def keras_norm(model: NoteModel, x: tf.Tensor, index: int) -> tf.Tensor:
    if index not in model.norms:
        return x
    layer = keras.layers.LayerNormalization(epsilon=1e-5)
    layer.build(x.shape)
    layer.set_weights([np.asarray(weight.value) for weight in model.norms[index]])
    return layer(x)


@pytest.mark.parametrize("layer_norm, residual", [(False, False), (True, False), (False, True), (True, True)])
def test_layer_norm_and_residual_links_are_keras_layers(layer_norm, residual):
    model = make_model(layers=3, layer_norm=layer_norm, residual=residual)
    assert sorted(model.norms) == ([1, 2, 3] if layer_norm else [])
    previous = random_bins(model, 3, 7)
    got, _ = model.trunk(previous, model.zero_state(3))
    np.testing.assert_allclose(got.numpy(), by_keras(model, previous), atol=1e-5)


@pytest.mark.parametrize("timing_loss", [CATEGORICAL, MIXTURE])
def test_tied_heads_multiply_by_their_embeddings(timing_loss):
    table = make_table(timing_loss=timing_loss)
    tied, plain = make_model(table, tied_embeddings=True), make_model(table)
    own = {path for path in bundle.get_weights(tied) if path.startswith("output_")}
    categorical = [field for field in table if field.loss == CATEGORICAL]
    assert {path for path in own if "projection" in path} == {f"output_projection_{f.name}" for f in categorical}
    weights = bundle.get_weights(tied)
    for field in categorical:
        kernel = np.zeros((16, 16), np.float32)
        rows = weights[f"embedding_{field.name}"][: field.num_bins]
        kernel[:, : field.num_bins] = weights.pop(f"output_projection_{field.name}") @ rows.T
        weights[f"output_kernel_{field.name}"] = kernel
    bundle.set_weights(plain, weights)
    previous, current = random_bins(tied, 2, 5), random_bins(tied, 2, 5, seed=1)
    got, _ = tied(previous, current, tied.zero_state(2))
    want, _ = plain(previous, current, plain.zero_state(2))
    for name, output in want.fields.items():
        np.testing.assert_allclose(got.fields[name].numpy(), output.numpy(), rtol=1e-5, atol=1e-4)


def test_tied_kernels_begin_as_wide_as_others():
    keras.utils.set_random_seed(0)
    table = build_field_table({"step": ([0, 5], [1, 1]), "duration": ([3, 9], [1, 1])}, programs=(0,), time_base=BEATS)
    model = NoteModel(ModelConfig(units=256, head_units=128, tied_embeddings=True), table)
    index = table.names.index("velocity")
    kernel = tied_kernel(table.fields[index], model.output_kernels[index], model.embeddings[index])
    assert np.std(kernel[:, :127]) == pytest.approx(np.sqrt(2 / (128 + 128)), rel=0.05)  # Glorot's


def test_bfloat16_products_are_near_and_all_else_is_float32():
    exact, near = make_model(precision="float32"), make_model(precision="bfloat16")
    previous, current = random_bins(exact, 4, 9), random_bins(exact, 4, 9, seed=1)
    want, _ = exact(previous, current, exact.zero_state(4))
    with tf.GradientTape() as tape:
        got, state = near(previous, current, near.zero_state(4))
        loss = tf.reduce_sum(got.end_logit)
    for tensor in [got.end_logit, *got.fields.values(), *tf.nest.flatten(state), *near.trainable_variables]:
        assert tensor.dtype == tf.float32
    gradient = tape.gradient(loss, near.head_kernel.value)
    assert gradient.dtype == tf.float32
    difference = np.abs(got.end_logit.numpy() - want.end_logit.numpy())
    assert 0 < difference.max() < 0.1


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


@pytest.mark.parametrize("timing_loss", [CATEGORICAL, MSE, MIXTURE])
def test_every_weight_of_a_model_that_copies_has_a_gradient(timing_loss):
    model = make_model(make_table(timing_loss=timing_loss), attention="copy", attention_notes=8, attention_chord=4)
    bins = random_bins(model, 2, 5)
    targets = {"bins": bins, "raw": bins, "is_note": tf.ones([2, 5]), "is_end": tf.zeros([2, 5])}
    with tf.GradientTape() as tape:
        outputs, _ = model(bins, bins, model.zero_state(2), raw=bins, is_note=targets["is_note"])
        loss = tf.add_n([tf.reduce_sum(cost) for cost in field_losses(model.table, outputs, targets).values()])
    gradients = tape.gradient(loss, [variable.value for variable in model.trainable_variables])
    assert [v.path for v, g in zip(model.trainable_variables, gradients, strict=True) if g is None] == []
