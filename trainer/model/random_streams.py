"""Counter-based random numbers: the same (key, counter) gives the same words on any device, in any batch.

Philox 4x32 with ten rounds (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3"), in integer
operations. TensorFlow's own stateless operations take one seed per call; a batch whose rows must not depend on
each other needs one per row. Where one key serves a whole array (`uniform_block`), TensorFlow's are faster.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

_MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
_KEY_STEPS = (0x9E3779B9, 0xBB67AE85)
_ROUNDS = 10
_LOW_BITS = 0xFFFFFFFF


def _product(word: tf.Tensor, multiplier: int) -> tuple[tf.Tensor, tf.Tensor]:
    """High and low 32 bits of a 64-bit product."""
    wide = tf.cast(word, tf.uint64) * tf.constant(multiplier, tf.uint64)
    high = tf.cast(tf.bitwise.right_shift(wide, tf.constant(32, tf.uint64)), tf.uint32)
    return high, tf.cast(tf.bitwise.bitwise_and(wide, tf.constant(_LOW_BITS, tf.uint64)), tf.uint32)


def philox(key: tuple[tf.Tensor, tf.Tensor], counter: tuple[tf.Tensor, ...]) -> tuple[tf.Tensor, ...]:
    """Four uint32 words per row.

    Args:
      key: two uint32 tensors.
      counter: four uint32 tensors; all six broadcast against each other.
    """
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(_ROUNDS):
        high0, low0 = _product(c0, _MULTIPLIERS[0])
        high1, low1 = _product(c2, _MULTIPLIERS[1])
        c0, c1, c2, c3 = (
            tf.bitwise.bitwise_xor(tf.bitwise.bitwise_xor(high1, c1), k0),
            low1,
            tf.bitwise.bitwise_xor(tf.bitwise.bitwise_xor(high0, c3), k1),
            low0,
        )
        k0 = k0 + tf.constant(_KEY_STEPS[0], tf.uint32)
        k1 = k1 + tf.constant(_KEY_STEPS[1], tf.uint32)
    return c0, c1, c2, c3


def to_uniform(word: tf.Tensor) -> tf.Tensor:
    """uint32 to float32 in the open interval (0, 1): 23 bits and a half, so that neither end is reached."""
    bits = tf.cast(tf.bitwise.right_shift(word, tf.constant(9, tf.uint32)), tf.float32)
    return (bits + 0.5) * np.float32(2.0**-23)


def uniform_rows(keys: tf.Tensor, *, stream: int, width: int) -> tf.Tensor:
    """`[rows, width]` float32 in (0, 1), each row from its own key.

    Args:
      keys: `[rows, 2]` uint32.
      stream: which of a key's streams.
      width: numbers per row, a multiple of 4.
    """
    blocks = tf.range(width // 4, dtype=tf.int32)
    counter = tf.cast(blocks, tf.uint32)[None, :]
    zero = tf.zeros_like(counter)
    words = philox(
        (keys[:, 0:1], keys[:, 1:2]),
        (counter, zero + tf.constant(stream, tf.uint32), zero, zero),
    )
    return tf.reshape(to_uniform(tf.stack(words, axis=2)), [-1, width])


def uniform_block(key: tf.Tensor, *, stream: int, shape: Sequence[int]) -> tf.Tensor:
    """`shape` float32 in [0, 1) from one key, by TensorFlow's own Philox.

    Args:
      key: `[2]` uint32.
      stream: which of the key's streams.
      shape: of the result.
    """
    zero = tf.constant(0, tf.uint32)
    seed = philox((key[0], key[1]), (zero, tf.constant(stream, tf.uint32), zero, zero))[:2]
    return tf.random.stateless_uniform(shape, tf.bitcast(tf.stack(seed), tf.int32), alg="philox")


def choose(weights: tf.Tensor, uniform: tf.Tensor) -> tf.Tensor:
    """`[rows]` int32, the column at which the running sum of a row's weights passes `uniform` times their total.

    Args:
      weights: `[rows, width]`, not negative.
      uniform: `[rows]` in (0, 1).
    """
    running = tf.cumsum(weights, axis=1)
    below = tf.reduce_sum(tf.cast(running <= uniform[:, None] * running[:, -1:], tf.int32), axis=1)
    last = tf.reduce_max(tf.where(weights > 0, tf.range(weights.shape[1]), 0), axis=1)
    return tf.minimum(below, last)  # a product rounded up to the total would pass every column
