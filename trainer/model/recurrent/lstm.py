"""The LSTM layer: Keras's weights and results, with fast kernels on a CPU and cuDNN's on a GPU.

    i, f, o = sigmoid(x K + h R + b)   g = tanh(x K + h R + b)   c' = f c + i g   h' = o tanh(c')

(Hochreiter and Schmidhuber 1997, with the forget gate of Gers et al. 2000.) `kernels_in_use` says which kernels a
call uses: cuDNN's wherever TensorFlow sees a GPU, those of `trainer.model.recurrent.hoisted_lstm` on a CPU.

In bfloat16 the operands of the products are rounded to bfloat16; the gates, the state, the weights and the sums of
their gradients stay float32 (on a GPU cuDNN keeps the state within a call in bfloat16 as well).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from trainer.model.precision import PRECISIONS
from trainer.model.recurrent.hoisted_lstm import hoisted_lstm

CUDNN = "cuDNN"
HOISTED = "hoisted"


class LSTM(keras.layers.LSTM):
    """`keras.layers.LSTM` that returns the sequence and the state.

    Args:
      units: of the state.
      precision: of the products, one of `PRECISIONS`.

    Call arguments:
      sequences: `[batch, time, features]` float32.
      initial_state: `[h, c]`, each `[batch, units]`; None for zeros.
      recurrent_kernel: `[units, 4 units]` to use instead of the weight; gradients flow to it.

    Returns:
      `[batch, time, units]`, h `[batch, units]`, c `[batch, units]`, all float32.

    Raises:
      ValueError: an unknown precision.
    """

    def __init__(self, units: int, precision: str = "float32", **kwargs: Any):
        if precision not in PRECISIONS:
            raise ValueError(f"precision is {precision!r}, want one of {', '.join(PRECISIONS)}")
        super().__init__(units, return_sequences=True, return_state=True, **kwargs)
        self.precision = precision

    def call(
        self,
        sequences: tf.Tensor,
        initial_state: Sequence[tf.Tensor] | None = None,
        mask: tf.Tensor | None = None,
        training: bool = False,
        recurrent_kernel: tf.Tensor | None = None,
    ) -> tuple[tf.Tensor, ...]:
        h0, c0 = initial_state or self.get_initial_state(tf.shape(sequences)[0])
        if recurrent_kernel is None:
            recurrent_kernel = self.cell.recurrent_kernel
        weights = [tf.convert_to_tensor(w) for w in (self.cell.kernel, recurrent_kernel, self.cell.bias)]
        if kernels_in_use() == CUDNN:
            return cudnn_lstm(sequences, h0, c0, *weights, precision=self.precision)
        return hoisted_lstm(sequences, h0, c0, *weights, precision=self.precision)


def kernels_in_use() -> str:
    """Which kernels the LSTM layers of this process use: `CUDNN` as soon as TensorFlow sees a GPU, else `HOISTED`."""
    return CUDNN if tf.config.list_logical_devices("GPU") else HOISTED


def cudnn_lstm(
    sequences: tf.Tensor,
    h0: tf.Tensor,
    c0: tf.Tensor,
    kernel: tf.Tensor,
    recurrent_kernel: tf.Tensor,
    bias: tf.Tensor,
    *,
    precision: str,
) -> tuple[tf.Tensor, ...]:
    """The layer with cuDNN's kernels, which have a gradient of their own.

    Args:
      sequences: `[batch, time, features]`.
      h0, c0: `[batch, units]`.
      kernel, recurrent_kernel, bias: as Keras has them; its order of gates, i, f, g, o, is also cuDNN's.
      precision: what cuDNN computes in.

    Returns:
      outputs `[batch, time, units]`, h and c `[batch, units]`.
    """
    matrices = [*tf.split(kernel, 4, axis=1), *tf.split(recurrent_kernel, 4, axis=1)]
    # All matrices transposed, then a bias for each: first the input biases, which Keras does not have, then the others.
    flat = [tf.reshape(tf.transpose(matrix), [-1]) for matrix in matrices]
    params = tf.concat([*flat, tf.zeros_like(bias), bias], axis=0)
    batch, time = tf.shape(sequences)[0], tf.shape(sequences)[1]
    x, h, c, params = (tf.cast(value, precision) for value in (sequences, h0[:, None], c0[:, None], params))
    # Keras uses the same op. `is_training` is always true: without it there is no gradient.
    outputs, h, c, _, _ = tf.raw_ops.CudnnRNNV3(
        input=x,
        input_h=h,
        input_c=c,
        params=params,
        sequence_lengths=tf.fill([batch], time),
        rnn_mode="lstm",
        is_training=True,
        time_major=False,
    )
    return tuple(tf.cast(value, tf.float32) for value in (outputs, h[:, 0], c[:, 0]))
