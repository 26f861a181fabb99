import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from tests.trainer.training.step_case import CONFIG, RATE, TABLE, batches
from trainer.training.train_step import TrainStep


def make_step(decay: float) -> TrainStep:
    return TrainStep(
        dataclasses.replace(CONFIG, weight_average=decay), TABLE, tf.distribute.OneDeviceStrategy("/cpu:0")
    )


def weights_of(step: TrainStep) -> list[np.ndarray]:
    return [np.array(weight.value) for weight in step.model.trainable_variables]


def averages_of(step: TrainStep) -> list[np.ndarray]:
    return [np.array(variable.value) for variable in step.variables[-len(step.model.trainable_variables) :]]


def assert_equal(got: list[np.ndarray], want: list[np.ndarray]) -> None:
    for one, other in zip(got, want, strict=True):
        np.testing.assert_array_equal(one, other)


def test_three_steps_written_out():
    """The first is the first average, a tenth of it stays after the second, 0.15 and not 2 / 11 after the third."""
    step = make_step(0.15)
    want: list[np.ndarray] = []
    for batch, old_share in zip(batches()[:3], (0, 1 / 10, 0.15), strict=True):
        step(batch, RATE)
        weights = weights_of(step)
        want = [
            (old_share * old + (1 - old_share) * new).astype(np.float64)
            for old, new in zip(want or weights, weights, strict=True)
        ]
    for got, average, weights in zip(averages_of(step), want, weights_of(step), strict=True):
        assert got.dtype == np.float32
        np.testing.assert_allclose(got, average, rtol=2e-6, atol=1e-9)
        assert (got != weights).any()


def test_after_the_first_step_the_average_is_the_weights():
    step = make_step(0.999)
    step(batches()[0], RATE)
    assert_equal(averages_of(step), weights_of(step))


def test_the_average_is_in_place_inside_and_the_weights_after():
    step = make_step(0.9)
    for batch in batches()[:4]:
        step(batch, RATE)
    weights, averages = weights_of(step), averages_of(step)
    with step.weights_to_keep():
        assert_equal(weights_of(step), averages)
    assert_equal(weights_of(step), weights)
    with pytest.raises(InterruptedError), step.weights_to_keep():
        raise InterruptedError
    assert_equal(weights_of(step), weights)
    assert_equal(averages_of(step), averages)


def test_before_the_first_step_the_weights_are_what_is_kept():
    step = make_step(0.9)
    initial = weights_of(step)
    with step.weights_to_keep():
        assert_equal(weights_of(step), initial)


def test_training_goes_on_with_the_weights_themselves():
    """To the bit the same losses and weights, with an average that is looked at and without one."""
    results = []
    for decay in (0.0, 0.99):
        step, losses = make_step(decay), []
        for batch in batches()[:4]:
            losses.append(step(batch, RATE))
            with step.weights_to_keep():
                pass
        results.append((losses, weights_of(step), len(step.variables)))
    (losses, weights, count), (averaged_losses, averaged_weights, averaged_count) = results
    assert losses == averaged_losses
    assert_equal(weights, averaged_weights)
    assert averaged_count == count + len(weights), "a run without an average saves none"
