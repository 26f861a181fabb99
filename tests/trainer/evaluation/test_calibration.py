import numpy as np
import pytest
import tensorflow as tf

from midi_codec.fields import CATEGORICAL, MIXTURE, MSE
from tests.trainer.tiny import make_table
from trainer.evaluation import calibration
from trainer.evaluation.calibration import CONFIDENCE_BINS, PIT_BINS, describe_pit, describe_reliability
from trainer.model import heads

WIDTHS = {CATEGORICAL: (16,), MSE: (), MIXTURE: (48,)}


def test_reliability_by_hand():
    logits = np.log([[0.5, 0.3, 0.2], [0.2, 0.7, 0.1], [0.01, 0.01, 0.98], [0.98, 0.01, 0.01], [0.1, 0.1, 0.8]])
    is_note = np.array([1, 1, 1, 1, 0.0])
    counts = calibration.reliability_counts(tf.constant(logits), tf.constant([0, 0, 2, 1, 2]), is_note).numpy()
    want = np.zeros((CONFIDENCE_BINS, 3))
    want[7] = [1, 0.5, 1]  # 0.5 of 15 bins
    want[10] = [1, 0.7, 0]
    want[14] = [2, 1.96, 1]
    np.testing.assert_allclose(counts, want, rtol=1e-12)


def test_a_certain_head_is_in_the_last_bin():
    counts = calibration.reliability_counts(tf.constant([[90.0, 0.0]]), tf.constant([0]), tf.constant([1.0])).numpy()
    np.testing.assert_array_equal(counts[-1], [1, 1, 1])


def test_expected_calibration_error_by_hand():
    counts = np.zeros((CONFIDENCE_BINS, 3))
    counts[7] = [40, 20, 24]  # sure by 0.5, right by 0.6
    counts[14] = [60, 57, 54]  # 0.95 and 0.9
    got = describe_reliability(counts)
    assert got["error"] == pytest.approx(0.4 * 0.1 + 0.6 * 0.05, rel=1e-12)
    assert got["bins"] == [
        {"notes": 40, "confidence": 0.5, "right": 0.6},
        {"notes": 60, "confidence": pytest.approx(0.95), "right": 0.9},
    ]


def test_the_error_of_chance_is_what_calibrated_heads_have():
    rng = np.random.default_rng(0)
    errors, by_chance = [], 0.0
    for _ in range(400):
        confidence = rng.uniform(0.2, 1.0, 500)
        counts = np.zeros((CONFIDENCE_BINS, 3))
        rows = (confidence * CONFIDENCE_BINS).astype(int)
        np.add.at(counts, rows, np.stack([np.ones(500), confidence, rng.random(500) < confidence], axis=1))
        described = describe_reliability(counts)
        errors.append(described["error"])
        by_chance += described["error_by_chance"] / 400
    assert np.mean(errors) == pytest.approx(by_chance, rel=0.02)


@pytest.mark.parametrize("loss", WIDTHS)
def test_the_interval_of_a_tick_is_its_probability_and_ticks_follow_on(loss):
    field = make_table(timing_loss=loss)["duration"]
    output = np.random.default_rng(0).normal(1, 1, (*WIDTHS[loss],)).astype(np.float32)
    if loss == CATEGORICAL:
        output += heads.logit_mask(field)
    ticks = np.arange(0, 200, dtype=np.int32)
    outputs = tf.constant(np.broadcast_to(output, (len(ticks), *output.shape)))
    bins = tf.constant(field.encode(ticks))
    deviation = tf.constant(12.0, tf.float64)
    below, up_to = calibration.tick_interval(field, outputs, bins, tf.constant(ticks), deviation)
    nll = heads.value_nll(field, outputs, bins, tf.constant(ticks), deviation)
    np.testing.assert_allclose(up_to - below, np.exp(-nll), rtol=1e-9, atol=1e-15)
    np.testing.assert_allclose(below[1:], up_to[:-1], rtol=1e-12)
    assert below[0] == 0


def test_pit_by_hand():
    width = 1 / PIT_BINS
    below = tf.constant([0.0, 2.5 * width, 1.0, 0.0], tf.float64)
    up_to = tf.constant([1.0, 4.0 * width, 1.0, 0.5], tf.float64)
    counts = calibration.pit_counts(below, up_to, tf.constant([1.0, 1.0, 1.0, 0.0])).numpy()
    want = np.full(PIT_BINS, width)  # the first note is spread over all
    want[2] += 1 / 3
    want[3] += 2 / 3
    want[-1] += 1  # the third lies at the very end
    np.testing.assert_allclose(counts, want, atol=1e-9)


def test_pit_is_flat_for_ticks_drawn_from_the_head_and_not_for_others():
    field = make_table(timing_loss=MSE)["duration"]
    rng = np.random.default_rng(0)

    def distance(true_deviation: float) -> float:
        ticks = np.maximum(np.rint(rng.normal(30, true_deviation, 20_000)), 0).astype(np.int32)
        interval = calibration.tick_interval(
            field, tf.fill(ticks.shape, 30.0), None, tf.constant(ticks), tf.constant(10.0, tf.float64)
        )
        counts = calibration.pit_counts(*interval, tf.ones(ticks.shape)).numpy()
        assert counts.sum() == pytest.approx(20_000)
        return describe_pit(counts)["distance"]

    assert distance(10.0) < 0.02
    assert distance(20.0) > 0.1


def test_describe_pit():
    counts = np.full(PIT_BINS, 5.0)
    assert describe_pit(counts) == {"distance": 0, "histogram": [0.05] * PIT_BINS}
    counts[:] = 0
    counts[0] = 7
    assert describe_pit(counts)["distance"] == pytest.approx(0.95)
