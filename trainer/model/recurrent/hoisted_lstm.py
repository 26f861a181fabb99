"""An LSTM for a CPU: one large product for the inputs of all steps, and a gradient of its own.

Keras multiplies the inputs step by step and lets autodiff unroll the loop. Here the input product is hoisted out of the
loop, and the gradient is written out, so that each weight's gradient is one large product.

The batch is split into parts that run at the same time (`batch_halves`). What the loops keep for the gradient stays in
the lists they write: stacking it would copy it once more.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

from trainer.model.precision import FLOAT32, multiplies_bfloat16
from trainer.model.recurrent import batch_halves

PADDING = 16  # extra columns: rows whose distance is a power of two would share the same cache lines

Rounding = Callable[[tf.Tensor], tf.Tensor]  # of a product's operand


def hoisted_lstm(
    sequences: tf.Tensor,
    h0: tf.Tensor,
    c0: tf.Tensor,
    kernel: tf.Tensor,
    recurrent_kernel: tf.Tensor,
    bias: tf.Tensor,
    *,
    precision: str,
) -> tuple[tf.Tensor, ...]:
    """An LSTM over a batch of sequences.

    Args:
      sequences: `[batch, time, features]`.
      h0, c0: `[batch, units]`.
      kernel: `[features, 4 units]`, gates in Keras's order i, f, g, o.
      recurrent_kernel: `[units, 4 units]`.
      bias: `[4 units]`.
      precision: of the products' operands, "float32" or "bfloat16".

    Returns:
      outputs `[batch, time, units]`, last h and last c `[batch, units]`, all float32.
    """
    operand = operand_rounding(precision)
    rows = {"x": tf.ensure_shape(sequences, [None, None, kernel.shape[0]]), "h": h0, "c": c0}
    results = []
    for part in batch_halves.split(rows):
        x = tf.transpose(part["x"], [1, 0, 2])
        outputs, h, c = _part(operand)(x, part["h"], part["c"], kernel, recurrent_kernel, bias)
        results.append((tf.transpose(outputs, [1, 0, 2]), h, c))
    return tuple(tf.concat(values, axis=0) for values in zip(*results, strict=True))


def operand_rounding(precision: str) -> Rounding:
    """The function that is applied to a product's operands: none, or rounding to bfloat16.

    Where the processor multiplies bfloat16 no faster than float32, rounded values are cast back to float32:
    the products are the same and their sums no less exact, in less time.
    """
    if precision == FLOAT32:
        return exact
    if multiplies_bfloat16():
        return lambda value: tf.cast(value, tf.bfloat16)
    return lambda value: tf.cast(tf.cast(value, tf.bfloat16), tf.float32)


def exact(value: tf.Tensor) -> tf.Tensor:
    """The value as it is."""
    return value


def _product(a: tf.Tensor, b: tf.Tensor, **transposes: bool) -> tf.Tensor:
    """The product of two operands, as float32."""
    return tf.cast(tf.matmul(a, b, **transposes), tf.float32)


def _part(operand: Rounding) -> Callable[..., tuple[tf.Tensor, ...]]:
    """The layer for some rows of the batch, time first, with its gradient."""

    @tf.custom_gradient
    def layer(
        x: tf.Tensor,
        h0: tf.Tensor,
        c0: tf.Tensor,
        kernel: tf.Tensor,
        recurrent_kernel: tf.Tensor,
        bias: tf.Tensor,
    ) -> tuple[tuple[tf.Tensor, ...], Callable[..., tuple[tf.Tensor, ...]]]:
        units = recurrent_kernel.shape[0]
        steps, rows = tf.shape(x)[0], tf.shape(x)[1]
        flat_x = operand(tf.reshape(x, [-1, kernel.shape[0]]))
        padding = [[0, 0], [0, PADDING]]
        inputs = _product(flat_x, operand(tf.pad(kernel, padding))) + tf.pad(bias, padding[1:])
        inputs = tf.reshape(inputs, [steps, rows, 4 * units + PADDING])
        outputs, h, c, saved = _forward_loop(inputs, h0, c0, operand(tf.pad(recurrent_kernel, padding)), operand)

        def gradient(d_outputs: tf.Tensor, d_h: tf.Tensor, d_c: tf.Tensor) -> tuple[tf.Tensor, ...]:
            transposed = operand(tf.transpose(recurrent_kernel))
            sums, d_h0, d_c0 = _backward_loop(d_outputs, d_h, d_c, c, saved, transposed, operand)
            flat = tf.reshape(sums, [-1, 4 * units])
            d_x = tf.reshape(_product(flat, operand(kernel), transpose_b=True), tf.shape(x))
            d_kernel = _product(flat_x, flat, transpose_a=True)
            before = operand(tf.reshape(outputs[:-1], [-1, units]))
            d_recurrent = _product(before, flat[rows:], transpose_a=True)
            d_recurrent += _product(operand(h0), flat[:rows], transpose_a=True)
            d_bias = _column_sums(tf.cast(sums, tf.float32))
            return d_x, d_h0, d_c0, d_kernel, d_recurrent, d_bias

        return (outputs, h, c), gradient

    return layer


def _column_sums(values: tf.Tensor) -> tf.Tensor:
    """Sums over the first two axes, one after the other: TensorFlow's own sum over both takes three times as long."""
    rows, columns = tf.shape(values)[1], values.shape[2]
    by_row = tf.reduce_sum(tf.reshape(values, [-1, rows * columns]), axis=0)
    return tf.reduce_sum(tf.reshape(by_row, [rows, columns]), axis=0)


def _list(steps: tf.Tensor, width: int, dtype: tf.DType = tf.float32) -> tf.TensorArray:
    return tf.TensorArray(dtype, steps, element_shape=[None, width], clear_after_read=False)


def _forward_loop(
    inputs: tf.Tensor, h0: tf.Tensor, c0: tf.Tensor, recurrent_kernel: tf.Tensor, operand: Rounding
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor, list[tf.TensorArray]]:
    """Outputs `[time, rows, units]`, last h and c, and a list each of: c before the step, i and f, g, o."""
    units = recurrent_kernel.shape[0]
    steps = tf.shape(inputs)[0]

    def body(t: Any, h: tf.Tensor, c: tf.Tensor, outputs: Any, cells: Any, i_fs: Any, gs: Any, os: Any) -> tuple:
        sums = inputs[t] + _product(operand(h), recurrent_kernel)  # [rows, 4 units + PADDING]
        i_f = tf.sigmoid(sums[:, : 2 * units])
        g = tf.tanh(sums[:, 2 * units : 3 * units])
        o = tf.sigmoid(sums[:, 3 * units : 4 * units])
        new_c = i_f[:, units:] * c + i_f[:, :units] * g
        h = o * tf.tanh(new_c)
        lists = (outputs.write(t, h), cells.write(t, c), i_fs.write(t, i_f), gs.write(t, g), os.write(t, o))
        return t + 1, h, new_c, *lists

    widths = (units, units, 2 * units, units, units)
    state = (0, h0, c0, *(_list(steps, width) for width in widths))
    _, h, c, outputs, *saved = tf.while_loop(
        lambda t, *_: t < steps, body, state, parallel_iterations=1, maximum_iterations=steps
    )
    return outputs.stack(), h, c, saved


def _backward_loop(
    d_outputs: tf.Tensor,
    d_h: tf.Tensor,
    d_c: tf.Tensor,
    c: tf.Tensor,
    saved: Sequence[tf.TensorArray],
    recurrent_kernel_t: tf.Tensor,
    operand: Rounding,
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Gradients of the gates' sums `[time, rows, 4 units]`, as an operand, of h0 and of c0.

    The gates' derivatives are computed step by step, though none depends on the next: the arrays of one step stay in
    the cache, while those of all steps would go through memory once per operation.
    """
    steps, units = tf.shape(d_outputs)[0], d_h.shape[1]
    cells, i_fs, gs, os = saved

    def body(t: Any, dh: tf.Tensor, dc: tf.Tensor, c: tf.Tensor, sums: Any) -> tuple:
        i_f, g, o, tanh_c = i_fs.read(t), gs.read(t), os.read(t), tf.tanh(c)
        i, f, before = i_f[:, :units], i_f[:, units:], cells.read(t)
        through_o = (dh + d_outputs[t]) * o
        d_o = through_o * tanh_c
        dc = dc + (through_o - d_o * tanh_c)
        dc_i, dc_f = dc * i, dc * f
        d_i, d_f = dc_i * g, dc_f * before
        d_sum = operand(tf.concat([d_i - d_i * i, d_f - d_f * f, dc_i - d_i * g, d_o - d_o * o], axis=1))
        return t - 1, _product(d_sum, recurrent_kernel_t), dc_f, before, sums.write(t, d_sum)

    sums = _list(steps, 4 * units, recurrent_kernel_t.dtype)
    state = (steps - 1, d_h, d_c, c, sums)
    _, dh, dc, _, sums = tf.while_loop(
        lambda t, *_: t >= 0, body, state, parallel_iterations=1, maximum_iterations=steps
    )
    return sums.stack(), dh, dc
