import numpy as np
import pytest
import tensorflow as tf

from tests.trainer.strategies import mirrored
from trainer.model.recurrent import batch_halves

GPU = tf.config.LogicalDevice("/device:GPU:0", "GPU")


@pytest.fixture(autouse=True)
def two_cores(monkeypatch):
    monkeypatch.setattr(batch_halves, "num_cores", lambda: 2)


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
    monkeypatch.setattr(batch_halves, "num_cores", lambda: 1)
    assert batch_halves.count() == 1
    monkeypatch.setattr(batch_halves, "num_cores", lambda: 2)
    monkeypatch.setattr(tf.config, "list_logical_devices", lambda kind: [GPU] if kind == "GPU" else [])
    assert batch_halves.count() == 1


class Threading:
    """Stands in for `tf.config.threading`, whose numbers are fixed once TensorFlow has started."""

    def __init__(self, *, intra: int = 0, has_started: bool = False):
        self.intra, self.inter, self.has_started = intra, 0, has_started

    def get_intra_op_parallelism_threads(self) -> int:
        return self.intra

    def set_intra_op_parallelism_threads(self, number: int) -> None:
        if self.has_started:
            raise RuntimeError("Intra op parallelism cannot be modified after initialization.")
        self.intra = number

    def set_inter_op_parallelism_threads(self, number: int) -> None:
        self.inter = number


@pytest.mark.parametrize(
    "cores, before, want",
    [
        (2, Threading(), (1, 2)),
        (8, Threading(), (0, 0)),
        (2, Threading(intra=3), (3, 0)),
        (2, Threading(has_started=True), (0, 0)),
    ],
)
def test_threads_are_limited_on_two_cores_unless_somebody_has_set_them(monkeypatch, cores, before, want):
    monkeypatch.setattr(batch_halves, "num_cores", lambda: cores)
    monkeypatch.setattr(tf.config, "threading", before)
    batch_halves.limit_threads()
    assert (before.intra, before.inter) == want


def test_rows_that_belong_together_stay_in_one_part():
    first, second = batch_halves.split({"x": tf.range(6)}, together=2)
    assert (first["x"].numpy().tolist(), second["x"].numpy().tolist()) == ([0, 1], [2, 3, 4, 5])
