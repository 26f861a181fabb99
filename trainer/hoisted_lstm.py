"""An LSTM for a CPU: one large product for the inputs of all steps, and its own gradient.

Keras multiplies the inputs step by step and lets autodiff unroll the loop; here the input product of all steps is one
large product, and the gradient is written out: the weights' gradients are one large product each.
"""

from __future__ import annotations

import tensorflow as tf


def hoisted_lstm(x, h0, c0, kernel, recurrent_kernel, bias, *, precision):
    """An LSTM over a sequence, time first.

    Args:
      x: `[time, batch, features]`.
      h0, c0: `[batch, units]`.
      kernel: `[features, 4 units]`, gates in Keras's order i, f, g, o.
      recurrent_kernel: `[units, 4 units]`.
      bias: `[4 units]`.
      precision: of the products' operands, float32 or bfloat16.

    Returns:
      outputs `[time, batch, units]`, last h and last c `[batch, units]`.
    """
    return _with_gradient(_products(precision))(x, h0, c0, kernel, recurrent_kernel, bias)


def _products(precision):
    """`tf.matmul` of float32 to float32, whose operands are rounded to `precision` before."""

    def product(a, b, **transposes):
        if precision == "float32":
            return tf.matmul(a, b, **transposes)
        return tf.cast(tf.matmul(tf.cast(a, precision), tf.cast(b, precision), **transposes), tf.float32)

    return product


def _with_gradient(product):
    @tf.custom_gradient
    def layer(x, h0, c0, kernel, recurrent_kernel, bias):
        units = recurrent_kernel.shape[0]
        steps, batch = tf.shape(x)[0], tf.shape(x)[1]
        flat_x = tf.reshape(x, [steps * batch, kernel.shape[0]])
        inputs = tf.reshape(product(flat_x, kernel) + bias, [steps, batch, 4 * units])
        outputs, cells, gates = _forward_loop(inputs, h0, c0, recurrent_kernel, product)

        def gradient(d_outputs, d_h, d_c):
            previous_cells = tf.concat([c0[None], cells[:-1]], axis=0)
            previous_outputs = tf.concat([h0[None], outputs[:-1]], axis=0)
            d_sums, d_h0, d_c0 = _backward_loop(
                d_outputs, d_h, d_c, cells, previous_cells, gates, tf.transpose(recurrent_kernel), product
            )
            flat_d = tf.reshape(d_sums, [steps * batch, 4 * units])
            d_x = tf.reshape(product(flat_d, kernel, transpose_b=True), tf.shape(x))
            d_kernel = product(flat_x, flat_d, transpose_a=True)
            d_recurrent = product(tf.reshape(previous_outputs, [steps * batch, units]), flat_d, transpose_a=True)
            return d_x, d_h0, d_c0, d_kernel, d_recurrent, tf.reduce_sum(flat_d, axis=0)

        return (outputs, outputs[-1], cells[-1]), gradient

    return layer


def _array(steps: tf.Tensor, width: int) -> tf.TensorArray:
    return tf.TensorArray(tf.float32, steps, element_shape=[None, width])


def _forward_loop(inputs, h0, c0, recurrent_kernel, product):
    """Outputs and cells `[time, batch, units]`, activated gates `[time, batch, 4 units]`."""
    units = recurrent_kernel.shape[0]
    steps = tf.shape(inputs)[0]

    def body(t, h, c, outputs, cells, gates):
        sums = inputs[t] + product(h, recurrent_kernel)  # [batch, 4 units]
        i_f = tf.sigmoid(sums[:, : 2 * units])
        g = tf.tanh(sums[:, 2 * units : 3 * units])
        o = tf.sigmoid(sums[:, 3 * units :])
        c = i_f[:, units:] * c + i_f[:, :units] * g
        h = o * tf.tanh(c)
        gate = tf.concat([i_f, g, o], axis=1)
        return t + 1, h, c, outputs.write(t, h), cells.write(t, c), gates.write(t, gate)

    state = (0, h0, c0, _array(steps, units), _array(steps, units), _array(steps, 4 * units))
    _, _, _, outputs, cells, gates = tf.while_loop(
        lambda t, *_: t < steps, body, state, parallel_iterations=1, maximum_iterations=steps
    )
    return outputs.stack(), cells.stack(), gates.stack()


def _backward_loop(d_outputs, d_h, d_c, cells, previous_cells, gates, recurrent_kernel_t, product):
    """Gradients of the gates' sums `[time, batch, 4 units]`, of h0 and of c0.

    The gates' derivatives are made step by step, though none depends on the next: a step's arrays stay in the cache,
    those of all steps would go through memory once an operation.
    """
    steps = tf.shape(cells)[0]

    def body(t, dh, dc, sums):
        i, f, g, o = tf.split(gates[t], 4, axis=1)
        tanh_c = tf.tanh(cells[t])
        dh = dh + d_outputs[t]
        dc = dc + dh * o * (1 - tanh_c * tanh_c)
        d_gates = [
            dc * g * i * (1 - i),
            dc * previous_cells[t] * f * (1 - f),
            dc * i * (1 - g * g),
            dh * tanh_c * o * (1 - o),
        ]
        d_sum = tf.concat(d_gates, axis=1)
        return t - 1, product(d_sum, recurrent_kernel_t), dc * f, sums.write(t, d_sum)

    state = (steps - 1, d_h, d_c, _array(steps, recurrent_kernel_t.shape[0]))
    _, dh, dc, sums = tf.while_loop(lambda t, *_: t >= 0, body, state, parallel_iterations=1, maximum_iterations=steps)
    return sums.stack(), dh, dc
