"""The path to cuDNN, on machines without a GPU: which op is called, with what, and that its results are ours.

The op has no kernel here. It can be traced, gradient included, and it can be stood in for by what its documentation
says it computes.
"""

import numpy as np
import pytest
import tensorflow as tf

from tests.trainer.model.recurrent.test_lstm import make_pair, random_case, results
from trainer.model.precision import PRECISIONS
from trainer.model.recurrent import lstm

GPU = tf.config.LogicalDevice("/device:GPU:0", "GPU")


def lstm_of_cudnn(*, input, input_h, input_c, params, sequence_lengths, rnn_mode, is_training, time_major):
    """What cuDNN computes of a buffer of parameters: 4 input matrices, 4 recurrent, 4 biases of each, all row-major.

    Gates in the order i, f, g, o; every matrix is `[units, columns]` and multiplies from the left.
    """
    assert (rnn_mode, is_training, time_major) == ("lstm", True, False)
    batch, time, features = input.shape
    units = input_h.shape[-1]
    assert sequence_lengths.numpy().tolist() == [time] * batch and sequence_lengths.dtype == tf.int32
    assert input_h.shape == input_c.shape == (batch, 1, units)
    sizes = [units * features] * 4 + [units * units] * 4 + [units] * 8
    assert params.shape == (sum(sizes),)
    parts = [tf.cast(part, tf.float32) for part in tf.split(params, sizes)]
    from_inputs = [tf.reshape(part, [units, features]) for part in parts[:4]]
    recurrent = [tf.reshape(part, [units, units]) for part in parts[4:8]]
    h, c = (tf.cast(state[:, 0], tf.float32) for state in (input_h, input_c))
    outputs = []
    for t in range(time):
        x = tf.cast(input[:, t], tf.float32)
        i, f, g, o = (
            tf.matmul(x, w, transpose_b=True) + tf.matmul(h, r, transpose_b=True) + b + more
            for w, r, b, more in zip(from_inputs, recurrent, parts[8:12], parts[12:], strict=True)
        )
        c = tf.sigmoid(f) * c + tf.sigmoid(i) * tf.tanh(g)
        h = tf.sigmoid(o) * tf.tanh(c)
        outputs.append(h)
    values = (tf.stack(outputs, axis=1), h[:, None], c[:, None])
    return *(tf.cast(value, input.dtype) for value in values), tf.zeros([0]), tf.zeros([0], tf.int8)


@pytest.fixture
def gpu(monkeypatch):
    monkeypatch.setattr(tf.config, "list_logical_devices", lambda kind: [GPU] if kind == "GPU" else [])


def test_a_gpu_in_sight_means_cudnn(gpu):
    assert lstm.kernels_in_use() == lstm.CUDNN == "cuDNN"


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("with_kernel", [False, True])
def test_the_traced_step_holds_cudnns_ops_and_no_loop(gpu, precision, with_kernel):
    """Forward and gradient, with a recurrent kernel of the caller's too."""
    layer, _ = make_pair(5, 4, precision)
    given = {"recurrent_kernel": layer.cell.recurrent_kernel * 1.0} if with_kernel else {}

    @tf.function(input_signature=[tf.TensorSpec([None, None, 5]), tf.TensorSpec([None, 4]), tf.TensorSpec([None, 4])])
    def step(x, h, c):
        return results(layer, x, [h, c], [1.0, 1.0, 1.0], **given)

    graph = step.get_concrete_function().graph
    operations = {operation.type: operation for operation in graph.get_operations()}
    assert {"CudnnRNNV3", "CudnnRNNBackpropV3"} <= set(operations)
    assert not {"While", "StatelessWhile", "MatMul"} & set(operations)
    assert operations["CudnnRNNV3"].get_attr("T") == tf.as_dtype(precision)
    outputs = step.get_concrete_function().structured_outputs
    assert [value.dtype for value in outputs if value is not None] == [tf.float32] * 9
    assert (outputs[7] is None) == with_kernel  # the gradient is the stand-in's


@pytest.mark.parametrize("precision, tolerance", [("float32", 1e-6), ("bfloat16", 2.0**-6)])
def test_what_cudnn_is_given_makes_the_hoisted_layers_results(monkeypatch, gpu, precision, tolerance):
    layer, _ = make_pair(5, 4, precision)
    case = random_case(3, 7, 5, 4)
    monkeypatch.setattr(tf.raw_ops, "CudnnRNNV3", lstm_of_cudnn)
    by_cudnn = results(layer, *case)
    monkeypatch.undo()
    assert lstm.kernels_in_use() == lstm.HOISTED
    for got, want in zip(by_cudnn, results(layer, *case), strict=True):
        assert got.dtype == tf.float32 and got.shape == want.shape
        np.testing.assert_allclose(got.numpy(), want.numpy(), atol=tolerance * np.abs(want).max())


def test_cudnn_gets_the_recurrent_kernel_that_is_given(monkeypatch, gpu):
    layer, _ = make_pair(5, 4)
    x, state, factors = random_case(3, 7, 5, 4)
    monkeypatch.setattr(tf.raw_ops, "CudnnRNNV3", lstm_of_cudnn)
    stand_in = tf.constant(layer.cell.recurrent_kernel.numpy())
    want = results(layer, x, state, factors)
    layer.cell.recurrent_kernel.assign(tf.zeros_like(stand_in))
    got = results(layer, x, state, factors, recurrent_kernel=stand_in)
    np.testing.assert_array_equal(got[0], want[0])
    assert got[7] is None
    np.testing.assert_array_equal(got[9], want[7])
