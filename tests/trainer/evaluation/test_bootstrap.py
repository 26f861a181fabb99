import numpy as np
import pytest
import scipy.stats

from trainer.evaluation import bootstrap
from trainer.evaluation.bootstrap import interval, resample_sums


def test_one_group_is_drawn_whole_every_time():
    columns = np.array([[1.0, 2.0], [3.0, 5.0]])
    got = resample_sums(columns, np.array([7, 7]), num_resamples=3, rng_seed=0)
    np.testing.assert_array_equal(got, [[4.0, 7.0]] * 3)


def test_pieces_of_a_group_are_drawn_together():
    columns = np.array([[1.0], [10.0], [100.0], [1000.0]])
    got = resample_sums(columns, np.array([0, 1, 0, 1]), num_resamples=200, rng_seed=0)[:, 0]
    assert set(got) == {202.0, 1111.0, 2020.0}


def test_all_columns_of_a_resample_are_of_the_same_pieces():
    first = np.random.default_rng(0).normal(size=20)
    got = resample_sums(np.stack([first, 3 * first], axis=1), np.arange(20), num_resamples=50, rng_seed=1)
    np.testing.assert_allclose(got[:, 1], 3 * got[:, 0], rtol=1e-12)
    assert len(np.unique(got[:, 0])) == 50


def test_draws_follow_from_the_key_and_not_from_the_block(monkeypatch):
    columns = np.random.default_rng(0).normal(size=(9, 2))
    want = resample_sums(columns, np.arange(9), num_resamples=40, rng_seed=5)
    monkeypatch.setattr(bootstrap, "BLOCK", 20)
    np.testing.assert_allclose(resample_sums(columns, np.arange(9), num_resamples=40, rng_seed=5), want, rtol=1e-12)
    other = resample_sums(columns, np.arange(9), num_resamples=40, rng_seed=6)
    assert not np.allclose(other, want)


def test_interval_is_the_middle_of_the_draws():
    assert interval(np.arange(1001.0)) == pytest.approx((25, 975), rel=1e-12)


def test_the_interval_of_a_ratio_is_scipys():
    rng = np.random.default_rng(3)
    notes = rng.integers(50, 500, 60).astype(float)
    nats = notes * rng.normal(5, 0.8, 60)
    drawn = resample_sums(np.stack([nats, notes], axis=1), np.arange(60), num_resamples=20_000, rng_seed=0)
    want = scipy.stats.bootstrap(
        (nats, notes),
        lambda a, b, axis: a.sum(axis=axis) / b.sum(axis=axis),
        paired=True,
        method="percentile",
        n_resamples=20_000,
        random_state=0,
    ).confidence_interval
    assert interval(drawn[:, 0] / drawn[:, 1]) == pytest.approx((want.low, want.high), abs=0.006)
