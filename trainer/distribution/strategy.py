"""Which tf.distribute strategy fits the devices and workers, and how a global batch is distributed to replicas."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any

import tensorflow as tf

from trainer.data.batches import Batch, Part
from trainer.distribution import cluster
from trainer.model.recurrent import batch_halves

Agreement = Callable[[bool, float], tuple[bool, float]]  # see `make_agreement`


def make_strategy(*, alone: bool = False) -> tf.distribute.Strategy:
    """`TF_CONFIG` gives MultiWorkerMirroredStrategy, several GPUs MirroredStrategy, else the one device.

    TensorFlow starts here, so `batch_halves.limit_threads` is called first.

    Args:
      alone: whether this process works without the other workers.

    Raises:
      UserError: `TF_CONFIG` is not what `trainer.distribution.cluster` describes.
    """
    batch_halves.limit_threads()
    if cluster.num_workers() > 1 and not alone:
        return tf.distribute.MultiWorkerMirroredStrategy()
    gpus = tf.config.list_logical_devices("GPU")
    if len(gpus) > 1:
        return mirrored(tuple(gpu.name for gpu in gpus))
    return tf.distribute.OneDeviceStrategy(gpus[0].name if gpus else "/cpu:0")


@functools.cache
def mirrored(devices: tuple[str, ...]) -> tf.distribute.Strategy:
    """The process's only MirroredStrategy on these devices, for every run in it.

    Each strategy numbers its collectives from 100. TensorFlow remembers the shapes under these numbers for the whole
    process, so a second strategy on the same devices would fail as soon as its model has other shapes.
    """
    return tf.distribute.MirroredStrategy(list(devices))


def part_of(strategy: tf.distribute.Strategy) -> Part:
    """Which rows of a global batch this process makes; the workers' parts are in the order of their replicas."""
    replicas, resolver = strategy.num_replicas_in_sync, strategy.cluster_resolver
    if not isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy) or not resolver.task_type:
        return Part(replicas=replicas)
    jobs = resolver.cluster_spec().as_dict()
    chiefs = len(jobs.get("chief", []))
    index = resolver.task_id + (chiefs if resolver.task_type == "worker" else 0)
    return Part(index=index, count=chiefs + len(jobs.get("worker", [])), replicas=replicas)


def share_out(batch: Batch, strategy: tf.distribute.Strategy) -> Any:
    """A worker's rows of a global batch as one dictionary of tensors per replica, in the order of the rows.

    Raises:
      ValueError: the rows are not a multiple of this worker's replicas.
    """
    local_replicas = part_of(strategy).local_replicas
    size, remainder = divmod(len(batch.bins), local_replicas)
    if remainder:
        raise ValueError(f"the batch has {len(batch.bins)} rows here, want a multiple of {local_replicas} replicas")

    def rows_of(replica: int) -> dict[str, tf.Tensor]:
        rows = slice(replica * size, (replica + 1) * size)
        return {name: tf.constant(array) for name, array in batch.rows(rows).items()}

    return on_each(strategy, rows_of)


def on_each(strategy: tf.distribute.Strategy, make: Callable[[int], Any]) -> Any:
    """A value for each replica of this worker, in the form that `strategy.run` takes and returns.

    A compiled function accepts only the form it was traced for, and TensorFlow has two: on a worker with one replica
    `strategy.run` returns plain tensors, while a strategy's values from a function are wrapped even there.

    Args:
      make: returns the value of a replica, given its index among this worker's replicas.
    """
    local_replicas = part_of(strategy).local_replicas
    if local_replicas == 1:
        return make(0)
    return strategy.experimental_distribute_values_from_function(
        lambda context: make(
            context.replica_id_in_sync_group % local_replicas
        )  # the id counts the replicas of all workers
    )


def free_shapes(value: Any, free: int) -> Any:
    """The signature of a distributed tensor whose first `free` dimensions may have any size.

    A function traced for the sizes of one batch rounds differently from one traced for any size, and a run that resumes
    begins with a different batch: one trace for all sizes gives the same bits whichever batch comes first.
    """

    def freed(spec: tf.TensorSpec) -> tf.TensorSpec:
        return tf.TensorSpec([None] * free + spec.shape.as_list()[free:], spec.dtype)

    spec = tf.type_spec_from_value(value)
    if isinstance(spec, tf.TensorSpec):
        return freed(spec)
    return type(spec)(*(freed(part) for part in spec._value_specs))  # PerReplicaSpec, which is not public


def batch_signature(shared: Mapping[str, Any]) -> dict[str, Any]:
    """`free_shapes` of what `share_out` returns: any number of rows and time steps; the memory has a fixed length."""
    of_rows = (
        "dropout_keys",
        "milliseconds_per_tick",
        "before",
        "before_is_note",
        "before_tick",
        "labels",
        "advantage",
    )
    free = {"step_key": 0, **dict.fromkeys(of_rows, 1)}
    return {name: free_shapes(value, free.get(name, 2)) for name, value in shared.items()}


def name_of(strategy: tf.distribute.Strategy) -> str:
    """The public name of a strategy's class; that of several workers is a subclass with a historical name."""
    if isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy):
        return "MultiWorkerMirroredStrategy"
    return type(strategy).__name__


def make_agreement(strategy: tf.distribute.Strategy) -> Agreement:
    """A function of (stop requested, seconds) that gives all workers the same result: any worker's request, mean time.

    Workers that decided by their own signals or clocks would wait for each other for ever. All workers must call it
    equally often.
    """
    if not isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy):
        return lambda stop, seconds: (stop, seconds)

    @tf.function
    def mean(values: tf.Tensor) -> tf.Tensor:
        return strategy.reduce(tf.distribute.ReduceOp.MEAN, strategy.run(lambda v: v, args=(values,)), axis=None)

    def agree(stop: bool, seconds: float) -> tuple[bool, float]:
        share, agreed = mean(tf.constant([float(stop), seconds], tf.float64)).numpy()
        return bool(share > 0), float(agreed)

    return agree


def all_alike(agree: Agreement, number: float) -> bool:
    """Whether all workers passed the same number; all of them must call it, and get the same answer.

    Args:
      agree: of `make_agreement`.
      number: its sum over the workers must be exact in float64.
    """
    _, mean = agree(False, number)
    return not agree(mean != number, 0.0)[0]  # asked of all: one worker's number may be the mean of different ones
