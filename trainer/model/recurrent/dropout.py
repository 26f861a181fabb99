"""Dropout of units, symbols and recurrent weights, with masks from counter-based random streams.

Units and symbols are chosen per window, from the window's own key, so that a row gets the same mask at any position in
any batch. The recurrent weights are shared by all rows, so one mask serves the whole step on all replicas. What stays
is divided by the share that stays, so that sums keep their mean.
"""

from __future__ import annotations

import tensorflow as tf

from trainer.model import random_streams


def drop_units(x: tf.Tensor, keys: tf.Tensor | None, *, rate: float, stream: int) -> tf.Tensor:
    """`[batch, time, units]` with the same units set to 0 at every time step of a row (Gal and Ghahramani 2016).

    Args:
      x: of the same shape.
      keys: `[batch, 2]` uint32; None drops nothing.
      rate: share of the units.
      stream: which of a key's streams; the same in the functions below.
    """
    keep = keep_units(keys, rate=rate, stream=stream, width=x.shape[-1])
    return x if keep is None else x * keep[:, None, :]


def keep_units(keys: tf.Tensor | None, *, rate: float, stream: int, width: int) -> tf.Tensor | None:
    """`[batch, width]` float32, factors for the units; None if nothing is dropped. Arguments as for `drop_units`."""
    if keys is None or rate == 0:
        return None
    uniform = random_streams.uniform_rows(keys, stream=stream, width=width)
    return tf.cast(uniform >= rate, tf.float32) / (1 - rate)


def drop_symbols(
    rows: tf.Tensor, symbols: tf.Tensor, keys: tf.Tensor | None, *, num_symbols: int, rate: float, stream: int
) -> tf.Tensor:
    """`[batch, time, units]` with the same symbols set to 0 throughout a row (Gal and Ghahramani 2016).

    Args:
      rows: of the same shape, each symbol's embedding.
      symbols: `[batch, time]` int32.
      keys: `[batch, 2]` uint32; None drops nothing.
      num_symbols: how many there are.
      rate: share of the symbols.
    """
    if keys is None or rate == 0:
        return rows
    uniform = random_streams.uniform_rows(keys, stream=stream, width=-(-num_symbols // 4) * 4)
    keep = tf.gather(tf.cast(uniform >= rate, rows.dtype), symbols, axis=1, batch_dims=1)
    return rows * (keep / (1 - rate))[..., None]


def drop_weights(weights: tf.Tensor, key: tf.Tensor | None, *, rate: float, stream: int) -> tf.Tensor | None:
    """A matrix with a share of its elements set to 0 (DropConnect, as in Merity et al. 2018).

    Args:
      weights: the matrix.
      key: `[2]` uint32 of the step; None drops nothing.
      rate: share of the elements.

    Returns:
      the matrix, or None if nothing is dropped.
    """
    if key is None or rate == 0:
        return None
    weights = tf.convert_to_tensor(weights)
    uniform = random_streams.uniform_block(key, stream=stream, shape=weights.shape)
    return weights * (tf.cast(uniform >= rate, weights.dtype) / (1 - rate))
