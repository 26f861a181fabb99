from decimal import Decimal, localcontext

import numpy as np
import pytest
import tensorflow as tf

from midi_codec import fields
from midi_codec.fields import MAX_TICK
from trainer.model import mixture
from trainer.model.mixture import COMPONENTS, WIDTH

EDGE_TICKS = (0, 1, 2, 10, 100, 1000, 10**5, 10**7, 2**30, MAX_TICK - 1, MAX_TICK)


def random_output(seed: int, *, log_scales: tuple[float, float] = (-9.2, 2.0)) -> np.ndarray:
    """`[WIDTH]` float32 logits, locations and log scales."""
    rng = np.random.default_rng(seed)
    columns = rng.normal(0, 2, COMPONENTS), rng.normal(4, 3, COMPONENTS), rng.uniform(*log_scales, COMPONENTS)
    return np.concatenate(columns).astype(np.float32)


def nll_of(ticks, output: np.ndarray, shift: float, dtype=np.float64) -> np.ndarray:
    tiled = np.tile(output.astype(dtype), (len(ticks), 1))
    return mixture.tick_nll(tf.constant(ticks, tf.int32), tf.constant(tiled), shift=shift).numpy()


def nll_by_definition(tick: int, output: np.ndarray, shift: int) -> float:
    """The definition in numbers of 60 digits: differences of distribution functions, summed."""
    with localcontext() as context:
        context.prec, context.Emin, context.Emax = 60, -(10**9), 10**9
        logits, locations, log_scales = ([Decimal(float(v)) for v in part] for part in np.split(output, 3))
        whole = sum(logit.exp() for logit in logits)

        def up_to(border: Decimal, location: Decimal, scale: Decimal) -> tuple[Decimal, Decimal]:
            z = ((1 + border / shift).ln() - location) / scale
            return 1 / (1 + (-z).exp()), 1 / (1 + z.exp())  # the function and what it lacks to 1

        total = Decimal(0)
        for logit, location, log_scale in zip(logits, locations, log_scales, strict=True):
            scale, half = log_scale.exp(), Decimal("0.5")
            low, above_low = up_to(tick - half, location, scale) if tick > 0 else (Decimal(0), Decimal(1))
            high, above_high = up_to(tick + half, location, scale) if tick < MAX_TICK else (Decimal(1), Decimal(0))
            total += logit.exp() / whole * (high - low if high < half else above_low - above_high)
        return float(-total.ln())


@pytest.mark.parametrize("shift", [1, 10])
@pytest.mark.parametrize("seed", range(3))
def test_nll_is_the_definition_at_every_kind_of_tick(shift, seed):
    output = random_output(seed)
    want = [nll_by_definition(tick, output, shift) for tick in EDGE_TICKS]
    np.testing.assert_allclose(nll_of(EDGE_TICKS, output, shift), want, rtol=1e-12)
    np.testing.assert_allclose(nll_of(EDGE_TICKS, output, shift, np.float32), want, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("shift", [0.5, 30.0])
def test_all_ticks_have_probability_one(shift, monkeypatch):
    monkeypatch.setattr(fields, "MAX_TICK", 3000)  # so that all can be asked
    for seed in range(5):
        for log_scales in ((-9.2, -8.0), (-2.0, 3.0)):
            nll = nll_of(np.arange(3001), random_output(seed, log_scales=log_scales), shift)
            assert np.exp(-nll).sum() == pytest.approx(1, abs=1e-12)


def test_probability_spreads_over_the_ticks_below_a_half_and_beyond_the_last():
    output = np.concatenate([np.zeros(COMPONENTS), np.full(COMPONENTS, -50.0), np.zeros(COMPONENTS)])
    assert nll_of([0], output, 1.0) == pytest.approx([0], abs=1e-12)
    output[COMPONENTS : 2 * COMPONENTS] = 80.0
    assert nll_of([MAX_TICK], output, 1.0) == pytest.approx([0], abs=1e-12)


def test_loss_and_gradient_are_finite_whatever_the_head_says():
    rng = np.random.default_rng(0)
    extremes = np.array([-1e12, -1e4, -100, -20, -1, 0, 1, 20, 100, 1e4, 1e12], np.float32)
    product = tf.constant(rng.choice(extremes, (4000, WIDTH)))
    ticks = tf.constant(rng.choice(EDGE_TICKS, 4000), tf.int32)
    for centre in (-1e4, 0.0, 300.0, 1e4):
        bias = tf.constant(np.repeat([0.0, centre, 0.0], COMPONENTS).astype(np.float32))
        with tf.GradientTape() as tape:
            tape.watch([product, bias])
            output = mixture.output_of(product, bias, shift=3.0)
            nll = mixture.tick_nll(ticks, output, shift=3.0)
        assert np.isfinite(nll.numpy()).all()
        assert all(np.isfinite(gradient.numpy()).all() for gradient in tape.gradient(nll, [product, bias]))
        log_scales = mixture.Mixture.of(output).log_scales.numpy()
        assert log_scales.min() >= np.log(mixture.SMALLEST_SCALE) - 1e-5
        assert log_scales.max() == pytest.approx(mixture.LARGEST_LOG_SCALE, abs=1e-5)


@pytest.mark.parametrize("dtype, atol", [(np.float64, 1e-6), (np.float32, 2e-2)])
def test_gradient_is_the_slope(dtype, atol):
    ticks, step = [0, 3, 500, 10**6], 1e-6
    output = random_output(7, log_scales=(-3.0, 1.0))

    def loss(columns):
        return tf.reduce_sum(mixture.tick_nll(tf.constant(ticks), tf.tile(columns[None], [4, 1]), shift=2.0))

    point = tf.constant(output.astype(dtype))
    with tf.GradientTape() as tape:
        tape.watch(point)
        value = loss(point)
    exact = output.astype(np.float64)
    slopes = []
    for column in range(WIDTH):
        nudge = np.eye(WIDTH)[column] * step
        slopes.append(float(loss(tf.constant(exact + nudge)) - loss(tf.constant(exact - nudge))) / (2 * step))
    np.testing.assert_allclose(tape.gradient(value, point).numpy(), slopes, atol=atol, rtol=1e-4)


def test_a_bias_says_what_it_was_made_of_and_a_product_moves_it_in_units_of_the_scale():
    log_weights = np.log(np.arange(1, COMPONENTS + 1) / 136)
    centres, scales = np.linspace(0, 8, COMPONENTS), np.geomspace(0.1, 3, COMPONENTS)
    bias = tf.constant(mixture.bias_of(log_weights, centres, scales, shift=2.0))
    product = np.zeros((2, WIDTH), np.float32)
    product[1, COMPONENTS : 2 * COMPONENTS] = 1.5
    still, moved = mixture.output_of(tf.constant(product), bias, shift=2.0).numpy()
    np.testing.assert_allclose(still, np.concatenate([log_weights, centres, np.log(scales)]), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(moved[COMPONENTS : 2 * COMPONENTS], centres + 1.5 * scales, rtol=1e-5)


@pytest.mark.parametrize("tick", [1, 24, 500])
def test_the_narrowest_component_is_one_tick(tick):
    centre = np.full(COMPONENTS, np.log1p(tick / 2.0))
    bias = mixture.bias_of(np.zeros(COMPONENTS), centre, np.zeros(COMPONENTS), shift=2.0)
    output = mixture.output_of(tf.zeros([1, WIDTH]), tf.constant(bias), shift=2.0).numpy()[0]
    assert 0 < nll_of([tick], output, 2.0)[0] < 1e-3


def test_the_likeliest_tick_at_the_components_locations():
    output = np.full((3, WIDTH), -20.0, np.float32)
    output[:, COMPONENTS:] = -1.0
    output[:, [0, 1]] = np.log([0.6, 0.4])
    output[:2, [COMPONENTS, COMPONENTS + 1]] = np.log1p(np.array([40, 12]) / 10)
    output[2, [COMPONENTS, COMPONENTS + 1]] = [20.0, -5.0]  # beyond the ends
    scales = [[0.5, 0.001], [0.001, 0.001], [0.001, 0.5]]
    output[:, 2 * COMPONENTS : 2 * COMPONENTS + 2] = np.log(scales)
    got = mixture.likeliest_tick(tf.constant(output), shift=10.0, largest=100)
    assert got.numpy().tolist() == [12, 40, 0]  # 0.4 within a tick before 0.6 spread wide
    again = mixture.likeliest_tick(tf.constant(output[None]), shift=10.0, largest=100)
    assert again.shape == (1, 3) and (again.numpy()[0] == got.numpy()).all()
