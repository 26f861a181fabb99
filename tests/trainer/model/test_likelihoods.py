import numpy as np
import pytest
import scipy.special
import scipy.stats
import tensorflow as tf

from trainer.model import likelihoods


def test_categorical_nll_is_cross_entropy_plus_the_place_in_the_bin():
    logits = np.log(np.array([[0.5, 0.25, 0.25], [0.1, 0.2, 0.7]], np.float32))
    log_spans = tf.constant(np.log([1, 4, 10]), tf.float32)
    nll = likelihoods.categorical_nll(tf.constant(logits), tf.constant([1, 2]), log_spans).numpy()
    np.testing.assert_allclose(nll, [np.log(4 * 4), np.log(10 / 0.7)], rtol=1e-6)


def test_log_normal_cdf_against_scipy_in_both_tails():
    z = np.concatenate([-np.logspace(0, 6, 400), np.linspace(-40, 12, 1001), [-25.0, np.nextafter(-25, -26), 38.0]])
    np.testing.assert_allclose(
        likelihoods.log_normal_cdf(tf.constant(z)).numpy(), scipy.special.log_ndtr(z), rtol=1e-13, atol=1e-11
    )


@pytest.mark.parametrize("mean", [0.0, 0.3, 7.5, 100.0])
@pytest.mark.parametrize("deviation", [0.1, 1.0, 30.0])
def test_ticks_from_zero_on_have_probability_one(mean, deviation):
    ticks = np.arange(2000)
    nll = likelihoods.gaussian_tick_nll(tf.constant(ticks), tf.constant(mean), tf.constant(deviation)).numpy()
    assert np.exp(-nll).sum() == pytest.approx(1.0, abs=1e-12)


def test_gaussian_tick_nll_against_scipy():
    ticks, mean, deviation = np.arange(60), 20.3, 6.7
    normal = scipy.stats.norm(np.float64(np.float32(mean)), deviation)
    want = normal.cdf(ticks + 0.5) - normal.cdf(ticks - 0.5)
    want[0] = normal.cdf(0.5)
    nll = likelihoods.gaussian_tick_nll(
        tf.constant(ticks), tf.constant(mean), tf.constant(deviation, tf.float64)
    ).numpy()
    np.testing.assert_allclose(nll, -np.log(want), rtol=1e-8)


def test_far_tails_stay_finite_and_symmetric():
    deviation = tf.constant(1.0, tf.float64)
    above = likelihoods.gaussian_tick_nll(tf.constant([2000, 1001]), tf.constant(1000.0), deviation).numpy()
    below = likelihoods.gaussian_tick_nll(tf.constant([1, 999]), tf.constant(1000.0), deviation).numpy()
    # the density at the near edge of the tick times 1 / distance, for the far one
    want = 0.5 * 999.5**2 + np.log(999.5 * np.sqrt(2 * np.pi))
    assert above[0] == pytest.approx(want, rel=1e-9)
    near_edge_of_one = 998.5
    assert below[0] == pytest.approx(
        0.5 * near_edge_of_one**2 + np.log(near_edge_of_one * np.sqrt(2 * np.pi)), rel=1e-9
    )
    assert above[1] == pytest.approx(below[1], rel=1e-12)
    at_zero = likelihoods.gaussian_tick_nll(tf.constant([0]), tf.constant(1000.0), deviation).numpy()
    assert at_zero[0] == pytest.approx(-scipy.special.log_ndtr(-999.5), rel=1e-12)


def test_a_wide_gaussian_is_its_density():
    nll = likelihoods.gaussian_tick_nll(tf.constant([5]), tf.constant(4.0), tf.constant(1e7, tf.float64)).numpy()
    assert nll[0] == pytest.approx(np.log(1e7 * np.sqrt(2 * np.pi)), rel=1e-9)


def test_squared_error_is_in_units_of_the_scale():
    cost = likelihoods.squared_error(tf.constant([10, 4]), tf.constant([4.0, 4.0]), 2.0).numpy()
    assert cost.tolist() == [4.5, 0.0]
