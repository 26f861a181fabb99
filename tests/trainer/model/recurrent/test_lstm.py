import keras
import numpy as np
import pytest
import tensorflow as tf

from trainer.model.precision import PRECISIONS
from trainer.model.recurrent import hoisted_lstm, lstm

SHAPES = [(1, 1, 1, 1), (3, 7, 5, 4), (2, 33, 16, 16)]  # batch, time, features, units
BFLOAT16_TOLERANCE = 2.0**-6  # of the norm: an operand is off by at most 2^-9 of itself, and the steps add up


def make_pair(features: int, units: int, precision: str = "float32") -> tuple[lstm.LSTM, keras.layers.LSTM]:
    """Our layer and Keras's, with the same weights, none of them zero."""
    ours = lstm.LSTM(units, precision)
    theirs = keras.layers.LSTM(units, return_sequences=True, return_state=True)
    rng = np.random.default_rng(features * units)
    weights = [rng.normal(0, 0.5, shape) for shape in ((features, 4 * units), (units, 4 * units), (4 * units,))]
    for layer in (ours, theirs):
        layer.build((None, None, features))
        layer.set_weights(weights)
    return ours, theirs


def results(layer, x, state, factors, **kwargs):
    """Outputs, and the gradients of a weighted sum of all outputs by inputs, state, weights and tensors in `kwargs`."""
    variables = [variable.value for variable in layer.trainable_variables]
    with tf.GradientTape() as tape:
        tape.watch([x, *(state or []), *kwargs.values()])
        outputs = layer(x, initial_state=state, **kwargs)
        loss = tf.add_n([tf.reduce_sum(output * factor) for output, factor in zip(outputs, factors, strict=True)])
    return [*outputs, *tape.gradient(loss, [x, *(state or []), *variables, *kwargs.values()])]


def random_case(batch, time, features, units):
    """Inputs, a state, and factors for all outputs."""
    rng = np.random.default_rng(1)
    x = tf.constant(rng.normal(size=(batch, time, features)), tf.float32)
    state = [tf.constant(rng.normal(size=(batch, units)), tf.float32) for _ in range(2)]
    shapes = [(batch, time, units), (batch, units), (batch, units)]
    return x, state, [tf.constant(rng.normal(size=shape), tf.float32) for shape in shapes]


@pytest.mark.parametrize("with_state", [False, True])
@pytest.mark.parametrize("batch, time, features, units", SHAPES)
def test_outputs_and_gradients_are_those_of_keras(batch, time, features, units, with_state):
    ours, theirs = make_pair(features, units)
    x, state, factors = random_case(batch, time, features, units)
    state = state if with_state else None
    for got, want in zip(results(ours, x, state, factors), results(theirs, x, state, factors), strict=True):
        np.testing.assert_allclose(got.numpy(), want.numpy(), atol=1e-5, rtol=1e-5)


def test_another_precision_is_refused():
    with pytest.raises(ValueError, match="precision is 'float16', want one of float32, bfloat16"):
        lstm.LSTM(4, "float16")


@pytest.mark.parametrize("precision", PRECISIONS)
def test_another_recurrent_kernel_stands_in_and_gets_the_gradient(precision):
    layer, _ = make_pair(5, 4, precision)
    x, state, factors = random_case(3, 7, 5, 4)
    recurrent = layer.cell.recurrent_kernel
    want = results(layer, x, state, factors)
    stand_in = tf.constant(recurrent.numpy())
    recurrent.assign(tf.zeros_like(stand_in))
    got = results(layer, x, state, factors, recurrent_kernel=stand_in)
    for name, place in (("outputs", 0), ("h", 1), ("c", 2), ("x", 3), ("kernel", 6)):
        np.testing.assert_array_equal(got[place], want[place], err_msg=name)
    assert got[7] is None  # the weight itself is out of use
    np.testing.assert_array_equal(got[9], want[7])


def test_a_loss_of_the_last_output_alone_reaches_every_step():
    ours, theirs = make_pair(3, 4)
    x = tf.constant(np.random.default_rng(2).normal(size=(2, 6, 3)), tf.float32)
    factors = [tf.zeros([2, 6, 4]), tf.ones([2, 4]), tf.zeros([2, 4])]
    got, want = results(ours, x, None, factors), results(theirs, x, None, factors)
    np.testing.assert_allclose(got[3].numpy(), want[3].numpy(), atol=1e-6)
    assert (np.abs(got[3].numpy()).sum(axis=2) > 0).all()


@pytest.mark.parametrize("has_tiles", [False, True])
def test_bfloat16_products_are_of_bfloat16_only_where_the_processor_is_quick_at_them(monkeypatch, has_tiles):
    monkeypatch.setattr(hoisted_lstm, "multiplies_bfloat16", lambda: has_tiles)
    operand = hoisted_lstm.operand_rounding("bfloat16")(tf.constant([1 + 2.0**-9, 1 + 2.0**-7]))
    assert operand.dtype == (tf.bfloat16 if has_tiles else tf.float32)
    np.testing.assert_array_equal(tf.cast(operand, tf.float32), [1, 1 + 2.0**-7])
    ours, _ = make_pair(16, 32, "bfloat16")
    exact, _ = make_pair(16, 32)
    case = random_case(4, 20, 16, 32)
    for got, want in zip(results(ours, *case), results(exact, *case), strict=True):
        assert got.dtype == tf.float32
        assert 0 < np.linalg.norm(got - want) < BFLOAT16_TOLERANCE * np.linalg.norm(want)
    assert all(weight.dtype == "float32" for weight in ours.weights)


def test_without_a_gpu_the_hoisted_kernels_are_taken():
    assert not tf.config.list_physical_devices("GPU")
    assert lstm.kernels_in_use() == lstm.HOISTED == "hoisted"
