"""The LSTM layer: Keras's weights and results, quick on a CPU, cuDNN's on a GPU.

    i, f, o = sigmoid(x K + h R + b)   g = tanh(x K + h R + b)   c' = f c + i g   h' = o tanh(c')

(Hochreiter and Schmidhuber 1997, with the forget gate of Gers et al. 2000.) On a GPU Keras takes cuDNN's kernels
when the arguments are the defaults, so this layer leaves the call to Keras there. On a CPU Keras multiplies the
inputs step by step and lets autodiff unroll the loop; here the input product of all steps is one large product, and
the gradient is written out: the weights' gradients are one large product each.
"""

from __future__ import annotations

import keras
import tensorflow as tf


class LSTM(keras.layers.LSTM):
    """`keras.layers.LSTM` that returns the sequence and the state.

    Call arguments:
      sequences: `[batch, time, features]` float32.
      initial_state: `[h, c]`, each `[batch, units]`.

    Returns:
      `[batch, time, units]`, h `[batch, units]`, c `[batch, units]`.
    """

    def __init__(self, units: int, **kwargs):
        super().__init__(units, return_sequences=True, return_state=True, **kwargs)

    def call(self, sequences, initial_state=None, mask=None, training=False):
        if runs_on_gpu():
            return super().call(sequences, initial_state=initial_state, mask=mask, training=training)
        weights = (tf.convert_to_tensor(w) for w in (self.cell.kernel, self.cell.recurrent_kernel, self.cell.bias))
        h0, c0 = initial_state or self.get_initial_state(tf.shape(sequences)[0])
        outputs, h, c = hoisted_lstm(tf.transpose(sequences, [1, 0, 2]), h0, c0, *weights)
        return tf.transpose(outputs, [1, 0, 2]), h, c


def runs_on_gpu() -> bool:
    """Whether the layer's operations are placed on a GPU: true as soon as TensorFlow sees one."""
    return bool(tf.config.list_logical_devices("GPU"))


@tf.custom_gradient
def hoisted_lstm(x, h0, c0, kernel, recurrent_kernel, bias):
    """An LSTM over a sequence, time first.

    Args:
      x: `[time, batch, features]`.
      h0, c0: `[batch, units]`.
      kernel: `[features, 4 units]`, gates in Keras's order i, f, g, o.
      recurrent_kernel: `[units, 4 units]`.
      bias: `[4 units]`.

    Returns:
      outputs `[time, batch, units]`, last h and last c `[batch, units]`.
    """
    units = recurrent_kernel.shape[0]
    steps, batch = tf.shape(x)[0], tf.shape(x)[1]
    flat_x = tf.reshape(x, [steps * batch, kernel.shape[0]])
    inputs = tf.reshape(tf.matmul(flat_x, kernel) + bias, [steps, batch, 4 * units])
    outputs, cells, gates = _forward_loop(inputs, h0, c0, recurrent_kernel)

    def gradient(d_outputs, d_h, d_c):
        previous_cells = tf.concat([c0[None], cells[:-1]], axis=0)
        previous_outputs = tf.concat([h0[None], outputs[:-1]], axis=0)
        d_sums, d_h0, d_c0 = _backward_loop(
            d_outputs, d_h, d_c, cells, previous_cells, gates, tf.transpose(recurrent_kernel)
        )
        flat_d = tf.reshape(d_sums, [steps * batch, 4 * units])
        d_x = tf.reshape(tf.matmul(flat_d, kernel, transpose_b=True), tf.shape(x))
        d_kernel = tf.matmul(flat_x, flat_d, transpose_a=True)
        d_recurrent = tf.matmul(tf.reshape(previous_outputs, [steps * batch, units]), flat_d, transpose_a=True)
        return d_x, d_h0, d_c0, d_kernel, d_recurrent, tf.reduce_sum(flat_d, axis=0)

    return (outputs, outputs[-1], cells[-1]), gradient


def _array(steps: tf.Tensor, width: int) -> tf.TensorArray:
    return tf.TensorArray(tf.float32, steps, element_shape=[None, width])


def _forward_loop(inputs, h0, c0, recurrent_kernel):
    """Outputs and cells `[time, batch, units]`, activated gates `[time, batch, 4 units]`."""
    units = recurrent_kernel.shape[0]
    steps = tf.shape(inputs)[0]

    def body(t, h, c, outputs, cells, gates):
        sums = inputs[t] + tf.matmul(h, recurrent_kernel)  # [batch, 4 units]
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


def _backward_loop(d_outputs, d_h, d_c, cells, previous_cells, gates, recurrent_kernel_t):
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
        return t - 1, tf.matmul(d_sum, recurrent_kernel_t), dc * f, sums.write(t, d_sum)

    state = (steps - 1, d_h, d_c, _array(steps, recurrent_kernel_t.shape[0]))
    _, dh, dc, sums = tf.while_loop(lambda t, *_: t >= 0, body, state, parallel_iterations=1, maximum_iterations=steps)
    return sums.stack(), dh, dc
