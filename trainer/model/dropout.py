"""What a training step goes without: units, symbols, recurrent weights. Masks come from streams, by counter.

Units and symbols are chosen by window, from the window's own key, so that a row is dropped alike wherever it stands;
the recurrent weights are shared by all rows, so one mask serves the whole step, on all replicas alike. What stays is
divided by its share, so that sums keep their mean.
"""

from __future__ import annotations

import tensorflow as tf

from trainer.model import random_streams


def drop_units(x: tf.Tensor, keys: tf.Tensor | None, *, rate: float, stream: int) -> tf.Tensor:
    """`[batch, time, units]` with the same units at 0 at every time step of a row (Gal and Ghahramani 2016).

    Args:
      x: of the same shape.
      keys: `[batch, 2]` uint32; None drops nothing.
      rate: share of the units.
      stream: which of a key's streams; so for the functions below.
    """
    keep = keep_units(keys, rate=rate, stream=stream, width=x.shape[-1])
    return x if keep is None else x * keep[:, None, :]


def keep_units(keys: tf.Tensor | None, *, rate: float, stream: int, width: int) -> tf.Tensor | None:
    """`[batch, width]` float32 that units are multiplied by; None where nothing is dropped. Arguments as above."""
    if keys is None or rate == 0:
        return None
    uniform = random_streams.uniform_rows(keys, stream=stream, width=width)
    return tf.cast(uniform >= rate, tf.float32) / (1 - rate)


def drop_symbols(
    rows: tf.Tensor, symbols: tf.Tensor, keys: tf.Tensor | None, *, num_symbols: int, rate: float, stream: int
) -> tf.Tensor:
    """`[batch, time, units]` with the same symbols at 0 wherever they stand in a row (Gal and Ghahramani 2016).

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
    """A matrix with a share of its elements at 0 (DropConnect, as in Merity et al. 2018).

    Args:
      weights: the matrix.
      key: `[2]` uint32 of the step; None drops nothing.
      rate: share of the elements.

    Returns:
      the matrix, or None when nothing is dropped.
    """
    if key is None or rate == 0:
        return None
    weights = tf.convert_to_tensor(weights)
    uniform = random_streams.uniform_block(key, stream=stream, shape=weights.shape)
    return weights * (tf.cast(uniform >= rate, weights.dtype) / (1 - rate))
