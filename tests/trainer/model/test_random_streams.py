import numpy as np
import pytest
import tensorflow as tf

from trainer.model import random_streams


def words_of(*hexadecimal: str) -> tuple[tf.Tensor, ...]:
    return tuple(tf.constant([int(word, 16)], tf.uint32) for word in hexadecimal)


# The known answers of philox4x32 with 10 rounds in the Random123 library: counter, key, result.
KNOWN_ANSWERS = [
    ("00000000 00000000 00000000 00000000", "00000000 00000000", "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
    ("ffffffff ffffffff ffffffff ffffffff", "ffffffff ffffffff", "408f276d 41c83b0e a20bc7c6 6d5451fd"),
    ("243f6a88 85a308d3 13198a2e 03707344", "a4093822 299f31d0", "d16cfe09 94fdcceb 5001e420 24126ea1"),
]


@pytest.mark.parametrize("counter, key, want", KNOWN_ANSWERS)
def test_philox_gives_the_known_answers(counter, key, want):
    words = random_streams.philox(words_of(*key.split()), words_of(*counter.split()))
    assert " ".join(f"{int(word[0]):08x}" for word in words) == want


def test_key_and_counter_broadcast():
    counter = tf.constant([[0, 0xFFFFFFFF]], tf.uint32)
    key = tf.constant([[0], [0xFFFFFFFF]], tf.uint32)
    first = random_streams.philox((key, key), (counter, counter, counter, counter))[0].numpy()
    assert first.shape == (2, 2)
    assert (first[0, 0], first[1, 1]) == (0x6627E8D5, 0x408F276D)


def test_uniform_reaches_neither_end():
    lowest, highest = random_streams.to_uniform(tf.constant([0, 0xFFFFFFFF], tf.uint32)).numpy()
    assert (lowest, highest) == (2.0**-24, 1 - 2.0**-24)


def test_uniform_rows_are_uniform():
    keys = tf.constant([[11, row] for row in range(64)], tf.uint32)
    numbers = random_streams.uniform_rows(keys, stream=0, width=1024).numpy()
    assert numbers.shape == (64, 1024) and numbers.dtype == np.float32
    assert abs(numbers.mean() - 0.5) < 0.005  # 4.4 standard errors
    counts = np.histogram(numbers, bins=16, range=(0, 1))[0]
    assert ((counts - 4096) ** 2 / 4096).sum() < 44.3  # chi-squared of 15 degrees of freedom, 0.9999 quantile


def test_a_row_depends_on_its_key_and_stream_alone():
    keys = np.array([[1, 2], [3, 4], [1, 2]], np.uint32)
    rows = random_streams.uniform_rows(tf.constant(keys), stream=5, width=16).numpy()
    alone = random_streams.uniform_rows(tf.constant(keys[1:2]), stream=5, width=16).numpy()
    other = random_streams.uniform_rows(tf.constant(keys[:1]), stream=6, width=16).numpy()
    assert (rows[0] == rows[2]).all() and (rows[1] == alone[0]).all()
    assert not (rows[0] == rows[1]).any() and not (rows[0] == other[0]).any()


def test_uniform_rows_count_blocks_and_streams():
    row = random_streams.uniform_rows(tf.constant([[7, 8]], tf.uint32), stream=3, width=8).numpy()[0]
    key = tuple(tf.constant(word, tf.uint32) for word in (7, 8))
    for block in range(2):
        counter = tuple(tf.constant(word, tf.uint32) for word in (block, 3, 0, 0))
        words = random_streams.to_uniform(tf.stack(random_streams.philox(key, counter))).numpy()
        assert (row[4 * block : 4 * block + 4] == words).all()


def test_a_block_depends_on_its_key_and_stream_alone():
    key = tf.constant([7, 0xFFFFFFFF], tf.uint32)
    block = random_streams.uniform_block(key, stream=1, shape=(64, 256)).numpy()
    assert block.shape == (64, 256) and block.min() >= 0 and block.max() < 1
    assert abs(block.mean() - 0.5) < 0.01  # 4.4 standard errors
    for other_key, stream in ((key, 2), (tf.constant([7, 0xFFFFFFFE], tf.uint32), 1)):
        assert (random_streams.uniform_block(other_key, stream=stream, shape=(64, 256)).numpy() != block).mean() > 0.99
