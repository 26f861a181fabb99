import numpy as np
import pytest
import tensorflow as tf

from trainer.model.recurrent import dropout

KEYS = tf.constant([[1, 2], [3, 4]], tf.uint32)
MANY = tf.constant(np.arange(4000).reshape(2000, 2), tf.uint32)


def test_the_same_units_are_dropped_at_every_time_step():
    def dropped(stream: int) -> np.ndarray:
        return dropout.drop_units(tf.ones([2, 5, 16]), KEYS, rate=0.5, stream=stream).numpy()

    first = dropped(0)
    assert (first == first[:, :1]).all()
    assert set(np.unique(first)) == {0.0, 2.0}
    assert (first[0, 0] != first[1, 0]).any() and (dropped(1) != first).any()
    many = dropout.drop_units(tf.ones([2000, 1, 16]), MANY, rate=0.2, stream=0).numpy()
    assert many.mean() == pytest.approx(1, abs=0.015) and (many == 0).mean() == pytest.approx(0.2, abs=0.012)


def test_the_same_symbols_are_dropped_wherever_they_stand():
    symbols = tf.constant([[0, 1, 2, 3, 4, 5, 6], [6, 5, 4, 3, 2, 1, 0]] * 1000)

    def dropped(stream: int) -> np.ndarray:
        rows = tf.ones([2000, 7, 16])
        return dropout.drop_symbols(rows, symbols, MANY, num_symbols=7, rate=0.25, stream=stream).numpy()

    first = dropped(3)
    assert (first == first[..., :1]).all()  # all of a symbol's embedding
    assert sorted(np.unique(first)) == pytest.approx([0, 4 / 3])
    assert (first == 0).mean() == pytest.approx(0.25, abs=0.02) and (dropped(4) != first).any()
    twice = tf.concat([symbols, symbols], axis=1)
    rows = tf.ones([2000, 14, 16])
    again = dropout.drop_symbols(rows, twice, MANY, num_symbols=7, rate=0.25, stream=3).numpy()
    assert (again[:, :7] == first).all() and (again[:, 7:] == first).all()


def test_weights_are_dropped_one_by_one():
    weights = tf.constant(np.arange(1, 40_001, dtype=np.float32).reshape(100, 400))
    key = tf.constant([5, 6], tf.uint32)
    dropped = dropout.drop_weights(weights, key, rate=0.25, stream=0).numpy()
    kept = dropped != 0
    assert kept.mean() == pytest.approx(0.75, abs=0.011)
    np.testing.assert_allclose(dropped[kept], weights.numpy()[kept] / 0.75, rtol=1e-6)
    assert (dropout.drop_weights(weights, key, rate=0.25, stream=1).numpy() != dropped).any()


def test_nothing_is_dropped_without_a_key_or_a_rate():
    x, symbols = tf.ones([2, 5, 16]), tf.zeros([2, 5], tf.int32)
    for keys, rate in ((None, 0.5), (KEYS, 0.0)):
        assert dropout.drop_units(x, keys, rate=rate, stream=0) is x
        assert dropout.drop_symbols(x, symbols, keys, num_symbols=3, rate=rate, stream=0) is x
    assert dropout.drop_weights(x[0], None, rate=0.5, stream=0) is None
    assert dropout.drop_weights(x[0], KEYS[0], rate=0.0, stream=0) is None
