import keras
import numpy as np
import pytest
import tensorflow as tf

from trainer import lstm

SHAPES = [(1, 1, 1, 1), (3, 7, 5, 4), (2, 33, 16, 16)]  # batch, time, features, units


def make_pair(features: int, units: int) -> tuple[lstm.LSTM, keras.layers.LSTM]:
    """Our layer and Keras's, with the same weights, none of them zero."""
    ours, theirs = lstm.LSTM(units), keras.layers.LSTM(units, return_sequences=True, return_state=True)
    rng = np.random.default_rng(features * units)
    weights = [rng.normal(0, 0.5, shape) for shape in ((features, 4 * units), (units, 4 * units), (4 * units,))]
    for layer in (ours, theirs):
        layer.build((None, None, features))
        layer.set_weights(weights)
    return ours, theirs


def results(layer, x, state, factors):
    """Outputs, and the gradients of a weighted sum of all outputs by inputs, state and weights."""
    variables = [variable.value for variable in layer.trainable_variables]
    with tf.GradientTape() as tape:
        tape.watch([x, *(state or [])])
        outputs = layer(x, initial_state=state)
        loss = tf.add_n([tf.reduce_sum(output * factor) for output, factor in zip(outputs, factors, strict=True)])
    return [*outputs, *tape.gradient(loss, [x, *(state or []), *variables])]


@pytest.mark.parametrize("with_state", [False, True])
@pytest.mark.parametrize("batch, time, features, units", SHAPES)
def test_outputs_and_gradients_are_those_of_keras(batch, time, features, units, with_state):
    ours, theirs = make_pair(features, units)
    rng = np.random.default_rng(1)
    x = tf.constant(rng.normal(size=(batch, time, features)), tf.float32)
    state = [tf.constant(rng.normal(size=(batch, units)), tf.float32) for _ in range(2)] if with_state else None
    shapes = [(batch, time, units), (batch, units), (batch, units)]
    factors = [tf.constant(rng.normal(size=shape), tf.float32) for shape in shapes]
    for got, want in zip(results(ours, x, state, factors), results(theirs, x, state, factors), strict=True):
        np.testing.assert_allclose(got.numpy(), want.numpy(), atol=1e-5, rtol=1e-5)


def test_a_loss_of_the_last_output_alone_reaches_every_step():
    ours, theirs = make_pair(3, 4)
    x = tf.constant(np.random.default_rng(2).normal(size=(2, 6, 3)), tf.float32)
    factors = [tf.zeros([2, 6, 4]), tf.ones([2, 4]), tf.zeros([2, 4])]
    got, want = results(ours, x, None, factors), results(theirs, x, None, factors)
    np.testing.assert_allclose(got[3].numpy(), want[3].numpy(), atol=1e-6)
    assert (np.abs(got[3].numpy()).sum(axis=2) > 0).all()


def test_state_carries_a_sequence_on():
    layer, _ = make_pair(3, 16)
    x = tf.constant(np.random.default_rng(3).normal(size=(2, 9, 3)), tf.float32)
    whole, h, c = layer(x)
    first, *state = layer(x[:, :4])
    second, h_after, c_after = layer(x[:, 4:], initial_state=state)
    np.testing.assert_allclose(tf.concat([first, second], axis=1).numpy(), whole.numpy(), atol=1e-6)
    np.testing.assert_allclose(h_after.numpy(), h.numpy(), atol=1e-6)
    np.testing.assert_allclose(c_after.numpy(), c.numpy(), atol=1e-6)


def test_the_same_inside_a_compiled_function_of_unknown_length():
    layer, _ = make_pair(3, 16)
    x = tf.constant(np.random.default_rng(4).normal(size=(2, 5, 3)), tf.float32)
    compiled = tf.function(layer, input_signature=[tf.TensorSpec([None, None, 3])])
    np.testing.assert_allclose(compiled(x)[0].numpy(), layer(x)[0].numpy(), atol=1e-6)


@pytest.mark.parametrize("gpu", [False, True])
def test_a_gpu_gets_keras_own_call_and_a_cpu_ours(monkeypatch, gpu):
    taken = []
    layer, _ = make_pair(3, 4)
    original, hoisted = keras.layers.LSTM.call, lstm.hoisted_lstm
    monkeypatch.setattr(lstm, "runs_on_gpu", lambda: gpu)
    monkeypatch.setattr(keras.layers.LSTM, "call", lambda *a, **k: (taken.append("keras"), original(*a, **k))[1])
    monkeypatch.setattr(lstm, "hoisted_lstm", lambda *a: (taken.append("ours"), hoisted(*a))[1])
    x = tf.ones([2, 5, 3])
    state = [tf.ones([2, 4]), tf.zeros([2, 4])]
    outputs, h, c = layer(x, initial_state=state)
    assert taken == (["keras"] if gpu else ["ours"])
    assert (outputs.shape, h.shape, c.shape) == ((2, 5, 4), (2, 4), (2, 4))


def test_both_paths_agree(monkeypatch):
    layer, _ = make_pair(3, 16)
    x = tf.constant(np.random.default_rng(5).normal(size=(2, 5, 3)), tf.float32)
    on_cpu = layer(x)
    monkeypatch.setattr(lstm, "runs_on_gpu", lambda: True)
    for got, want in zip(layer(x), on_cpu, strict=True):
        np.testing.assert_allclose(got.numpy(), want.numpy(), atol=1e-6)


def test_the_arguments_are_those_cudnn_takes():
    layer, _ = make_pair(3, 4)
    cell = layer.cell
    assert (cell.activation, cell.recurrent_activation) == (keras.activations.tanh, keras.activations.sigmoid)
    assert layer.use_cudnn == "auto" and not layer.unroll and cell.use_bias
    assert cell.recurrent_dropout == 0 and not layer.go_backwards


def test_without_a_gpu_the_cpu_path_is_taken():
    assert not tf.config.list_physical_devices("GPU")
    assert not lstm.runs_on_gpu()
