import json

import numpy as np
import pytest
import tensorflow as tf

from tests.trainer.strategies import mirrored, under_every_strategy
from tests.trainer.tiny import make_many, make_table
from trainer.data.batches import Part, Windows, keyed_rng, make_batch
from trainer.data.pieces import stack_pieces
from trainer.distribution import cluster, strategy
from trainer.distribution.strategy import all_alike


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    for name in ("TF_CONFIG", "JOB_COMPLETION_INDEX"):
        monkeypatch.delenv(name, raising=False)


def test_one_device_where_nothing_says_otherwise(monkeypatch):
    monkeypatch.setenv("JOB_COMPLETION_INDEX", "3")  # tuning workers have one too
    cluster.set_tf_config(None, None)
    made = strategy.make_strategy()
    assert isinstance(made, tf.distribute.OneDeviceStrategy) and made.num_replicas_in_sync == 1


def test_several_gpus_are_mirrored_and_take_models_of_any_shape_in_turn(monkeypatch):
    """As a tuning worker does it, whose trials follow each other in one process."""
    devices = tf.config.list_logical_devices("CPU")[:2]
    monkeypatch.setattr(tf.config, "list_logical_devices", lambda kind: devices if kind == "GPU" else [])
    for width in (3, 4):
        made = strategy.make_strategy()
        assert isinstance(made, tf.distribute.MirroredStrategy) and made.num_replicas_in_sync == 2

        @tf.function
        def add(strategy=made, width=width):
            return strategy.run(lambda: tf.distribute.get_replica_context().all_reduce("SUM", tf.ones([width])))

        assert made.experimental_local_results(add())[1].numpy().tolist() == [2.0] * width


def test_tf_config_of_several_workers(monkeypatch):
    task = {"type": "chief", "index": 0}
    monkeypatch.setenv("TF_CONFIG", json.dumps({"cluster": {"chief": ["a:1"], "worker": ["b:1"]}, "task": task}))
    monkeypatch.setattr(tf.distribute, "MultiWorkerMirroredStrategy", lambda: "several")
    assert strategy.make_strategy() == "several"


def test_tf_config_of_one_worker_is_one_device(monkeypatch):
    monkeypatch.setenv("TF_CONFIG", json.dumps({"cluster": {"worker": ["a:1"]}}))
    assert isinstance(strategy.make_strategy(), tf.distribute.OneDeviceStrategy)


def test_one_of_several_workers_may_do_without_the_others(monkeypatch):
    task = {"type": "worker", "index": 0}
    monkeypatch.setenv("TF_CONFIG", json.dumps({"cluster": {"worker": ["a:1", "b:1"]}, "task": task}))
    assert isinstance(strategy.make_strategy(alone=True), tf.distribute.OneDeviceStrategy)


def test_names_are_the_public_ones():
    assert strategy.name_of(tf.distribute.OneDeviceStrategy("/cpu:0")) == "OneDeviceStrategy"


def test_alone_there_is_nothing_to_agree_on():
    agree = strategy.make_agreement(tf.distribute.OneDeviceStrategy("/cpu:0"))
    assert agree(True, 1.5) == (True, 1.5) and agree(False, 0.0) == (False, 0.0)


def test_a_batch_that_does_not_fill_the_replicas():
    two = mirrored(2)
    pieces = stack_pieces(make_many([5]), make_table())
    windows = Windows(np.array([0]), np.array([0]), np.array([6]))
    batch = make_batch(pieces, windows, table=make_table(), batch_size=3, start_bins=make_table().start_bins)
    with pytest.raises(ValueError, match="the batch has 3 rows here, want a multiple of 2 replicas"):
        strategy.share_out(batch, two)


class Several(tf.distribute.MultiWorkerMirroredStrategy):
    """Three processes with two devices each, as the strategy describes them, and none of its collectives."""

    num_replicas_in_sync = 6

    def __init__(self, task_type: str, task_id: int, jobs: dict[str, list[str]]):
        cluster_spec = tf.train.ClusterSpec(jobs)
        self._resolver = tf.distribute.cluster_resolver.SimpleClusterResolver(
            cluster_spec, task_type=task_type, task_id=task_id
        )

    @property
    def cluster_resolver(self):
        return self._resolver

    def experimental_distribute_values_from_function(self, value_fn):
        first = 2 * strategy.part_of(self).index
        return [value_fn(tf.distribute.experimental.ValueContext(first + number, 6)) for number in range(2)]


WITH_CHIEF = {"chief": ["a:1"], "worker": ["b:1", "c:1"]}
WORKERS = {"worker": ["a:1", "b:1", "c:1"]}


@pytest.mark.parametrize(
    "task_type, task_id, jobs, index",
    [("chief", 0, WITH_CHIEF, 0), ("worker", 0, WITH_CHIEF, 1), ("worker", 1, WITH_CHIEF, 2)]
    + [("worker", number, WORKERS, number) for number in range(3)],
)
def test_the_parts_of_workers_follow_their_replicas(task_type, task_id, jobs, index):
    made = Several(task_type, task_id, jobs)
    part = strategy.part_of(made)
    assert part == Part(index=index, count=3, replicas=6) and part.local_replicas == 2
    assert part.rows(12) == slice(4 * index, 4 * index + 4)


def test_a_worker_shares_its_own_rows_out():
    made, table = Several("worker", 1, WORKERS), make_table()
    pieces = stack_pieces(make_many([5] * 12), table)
    windows = Windows(np.arange(12), np.zeros(12, np.int64), np.full(12, 6))
    part = strategy.part_of(made)
    batch = make_batch(pieces, windows, table=table, batch_size=12, start_bins=table.start_bins, part=part)
    whole = make_batch(pieces, windows, table=table, batch_size=12, start_bins=table.start_bins)
    for number, shared in enumerate(strategy.share_out(batch, made)):
        assert (shared["raw"].numpy() == whole.raw[4 + 2 * number : 6 + 2 * number]).all()


def test_one_process_makes_every_row():
    assert strategy.part_of(tf.distribute.OneDeviceStrategy("/cpu:0")) == Part()
    assert strategy.part_of(mirrored(2)) == Part(replicas=2)


@pytest.mark.parametrize("memory", [0, 3])
def test_each_replica_gets_its_rows_and_the_key_of_the_step(memory):
    two = mirrored(2)
    table = make_table()
    pieces = stack_pieces(make_many([5, 7]), table)
    windows = Windows(np.array([0, 1]), np.array([0, 0]), np.array([6, 8]))
    windows.begin[0] = 3
    batch = make_batch(
        pieces, windows, table=table, batch_size=4, start_bins=table.start_bins, rng=keyed_rng(3), memory=memory
    )
    assert batch.before_is_note.sum() == min(memory, 3)
    shared = strategy.share_out(batch, two)
    for replica in (0, 1):
        for name, array in batch.as_dict().items():
            got = two.experimental_local_results(shared[name])[replica].numpy()
            want = array if name == "step_key" else array[2 * replica : 2 * replica + 2]
            assert got.shape == want.shape and (got == want).all()
    signature = strategy.batch_signature(shared)
    assert {spec.shape.as_list()[1] for spec in tf.nest.flatten(signature["before"], expand_composites=True)} == {
        memory
    }


@under_every_strategy
def test_what_a_call_gives_back_is_of_the_form_that_the_next_one_takes(make_strategy):
    made = make_strategy()

    given = strategy.on_each(made, lambda replica: {"state": [tf.zeros([2, 3]), (tf.constant(replica),)]})
    signature = tf.nest.map_structure(lambda value: strategy.free_shapes(value, 0), given)

    @tf.function(input_signature=[signature])
    def step(values):
        return made.run(lambda values: tf.nest.map_structure(lambda value: value + 10, values), args=(values,))

    carried = step(step(given))
    numbers = [value.numpy() for value in made.experimental_local_results(carried["state"][1][0])]
    assert numbers == [20 + replica for replica in range(made.num_replicas_in_sync)]


def test_workers_are_alike_when_all_gave_one_number():
    def agree_with(*others: float):
        """Workers that answer like this one but for the numbers they gave."""

        def agree(stop: bool, number: float) -> tuple[bool, float]:
            if number:
                return stop, (number + sum(others)) / (1 + len(others))
            return stop or any(other != sum(others) / len(others) for other in others), 0.0

        return agree

    assert all_alike(agree_with(5.0, 5.0), 5.0)
    assert not all_alike(agree_with(5.0, 5.0), 8.0)
    assert not all_alike(agree_with(0.0, 10.0), 5.0)  # the one in the middle hears of the others
    assert all_alike(lambda stop, number: (stop, number), 7.0)
