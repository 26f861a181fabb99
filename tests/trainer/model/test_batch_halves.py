import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from tests.trainer.strategies import mirrored
from trainer.model import batch_halves

GPU = tf.config.LogicalDevice("/device:GPU:0", "GPU")


@pytest.fixture(autouse=True)
def two_cores(monkeypatch):
    monkeypatch.setattr(batch_halves, "_num_cores", lambda: 2)


def test_rows_are_cut_in_two_and_what_is_whole_is_not():
    values = {"key": tf.constant([7, 8]), "x": tf.reshape(tf.range(10), [5, 2]), "y": tf.range(5)}
    first, second = batch_halves.split(values, whole=["key"])
    assert [first["x"].numpy().tolist(), second["x"].numpy().tolist()] == [[[0, 1], [2, 3]], [[4, 5], [6, 7], [8, 9]]]
    assert [first["y"].numpy().tolist(), second["y"].numpy().tolist()] == [[0, 1], [2, 3, 4]]
    assert first["key"] is second["key"] is values["key"]


def test_of_one_row_the_first_part_has_none():
    first, second = batch_halves.split({"x": tf.zeros([1, 3])})
    assert (first["x"].shape, second["x"].shape) == ((0, 3), (1, 3))


def test_any_number_of_rows_in_one_trace():
    @tf.function(input_signature=[tf.TensorSpec([None, 2])])
    def doubled(x):
        with batch_halves.as_parts():
            return tf.concat([part["x"] * 2 for part in batch_halves.split({"x": x})], axis=0)

    for rows in (1, 2, 5):
        x = np.arange(2.0 * rows, dtype=np.float32).reshape(rows, 2)
        np.testing.assert_array_equal(doubled(x), 2 * x)


def test_a_part_is_cut_no_further():
    assert batch_halves.count() == 2
    with batch_halves.as_parts():
        assert batch_halves.count() == 1
        assert len(batch_halves.split({"x": tf.zeros([4])})) == 1
    assert batch_halves.count() == 2


def test_nothing_is_cut_on_one_core_on_a_gpu_or_among_replicas(monkeypatch):
    strategy = mirrored(2)
    assert strategy.experimental_local_results(strategy.run(lambda: tf.constant(batch_halves.count())))[0].numpy() == 1
    one_device = tf.distribute.OneDeviceStrategy("CPU:0")
    assert one_device.run(lambda: tf.constant(batch_halves.count())).numpy() == 2
    monkeypatch.setattr(batch_halves, "_num_cores", lambda: 1)
    assert batch_halves.count() == 1
    monkeypatch.setattr(batch_halves, "_num_cores", lambda: 2)
    monkeypatch.setattr(tf.config, "list_logical_devices", lambda kind: [GPU] if kind == "GPU" else [])
    assert batch_halves.count() == 1


def test_threads_stay_as_they_are_once_tensorflow_has_started():
    tf.constant(1) + 1
    batch_halves.limit_threads()
    assert tf.config.threading.get_intra_op_parallelism_threads() == 0


@pytest.mark.parametrize("cores, set_before, want", [(2, 0, "1 2"), (8, 0, "0 0"), (2, 3, "3 0")])
def test_threads_are_limited_on_two_cores_unless_somebody_has_set_them(cores, set_before, want):
    program = (
        "import tensorflow as tf; from trainer.model import batch_halves as parts\n"
        f"parts._num_cores = lambda: {cores}\n"
        f"tf.config.threading.set_intra_op_parallelism_threads({set_before})\n"
        "parts.limit_threads()\n"
        "threading = tf.config.threading\n"
        "print(threading.get_intra_op_parallelism_threads(), threading.get_inter_op_parallelism_threads())"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[0] == want
