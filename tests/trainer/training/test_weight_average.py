import keras
import numpy as np
import pytest
import tensorflow as tf

from trainer.training.weight_average import WeightAverage

STRATEGY = tf.distribute.OneDeviceStrategy("/cpu:0")
STEPS = [np.array(values, np.float32) for values in ([1.0, -2.0], [3.0, 5.0], [0.1, 7.0])]  # of the weights


@pytest.fixture
def weight() -> keras.Variable:
    return keras.Variable(np.zeros(2, np.float32), name="kernel")


def take_steps(weight: keras.Variable, decay: float) -> WeightAverage:
    average = WeightAverage([weight], decay)
    for number, values in enumerate(STEPS, start=1):
        weight.assign(values)
        average.update(STRATEGY, tf.constant(number, tf.int64))
    return average


@pytest.mark.parametrize("decay, last_share", [(0.15, 0.15), (0.9, 2 / 11)])
def test_three_steps_written_out(weight, decay, last_share):
    """The first is the first average, a tenth of it stays after the second, at most the decay after the third."""
    (average,) = take_steps(weight, decay).variables
    first, second, third = STEPS
    want = last_share * (0.1 * first + 0.9 * second) + (1 - last_share) * third
    assert average.dtype == "float32"
    np.testing.assert_allclose(np.asarray(average.value), want, rtol=2e-6)


def test_the_average_is_in_place_inside_and_the_weights_after(weight):
    average = take_steps(weight, 0.9)
    kept = np.asarray(average.variables[0].value)
    with average.in_place():
        np.testing.assert_array_equal(np.asarray(weight.value), kept)
    np.testing.assert_array_equal(np.asarray(weight.value), STEPS[-1])
    with pytest.raises(InterruptedError), average.in_place():
        raise InterruptedError
    np.testing.assert_array_equal(np.asarray(weight.value), STEPS[-1])
    np.testing.assert_array_equal(np.asarray(average.variables[0].value), kept)
