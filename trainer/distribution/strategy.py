"""Which tf.distribute strategy fits what is there, and how a global batch is shared out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import tensorflow as tf

from trainer.data.batches import Batch, Part
from trainer.distribution import cluster
from trainer.model import batch_halves

Agreement = Callable[[bool, float], tuple[bool, float]]  # see `make_agreement`


def make_strategy(*, alone: bool = False) -> tf.distribute.Strategy:
    """`TF_CONFIG` gives MultiWorkerMirroredStrategy, several GPUs MirroredStrategy, else the one device.

    Before TensorFlow starts here, `parts.limit_threads` has its say.

    Args:
      alone: whether this process does without the other workers.

    Raises:
      UserError: `TF_CONFIG` is not what `trainer.distribution.cluster` describes.
    """
    batch_halves.limit_threads()
    if cluster.num_workers() > 1 and not alone:
        return tf.distribute.MultiWorkerMirroredStrategy()
    gpus = tf.config.list_logical_devices("GPU")
    if len(gpus) > 1:
        return tf.distribute.MirroredStrategy()
    return tf.distribute.OneDeviceStrategy(gpus[0].name if gpus else "/cpu:0")


def part_of(strategy: tf.distribute.Strategy) -> Part:
    """Which rows of a global batch this process makes: the workers' parts follow one another as their replicas do."""
    replicas, resolver = strategy.num_replicas_in_sync, strategy.cluster_resolver
    if not isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy) or not resolver.task_type:
        return Part(replicas=replicas)
    jobs = resolver.cluster_spec().as_dict()
    chiefs = len(jobs.get("chief", []))
    index = resolver.task_id + (chiefs if resolver.task_type == "worker" else 0)
    return Part(index=index, count=chiefs + len(jobs.get("worker", [])), replicas=replicas)


def share_out(batch: Batch, strategy: tf.distribute.Strategy) -> Any:
    """A worker's rows of a global batch as per-replica dictionaries of tensors, each replica's rows in order.

    Raises:
      ValueError: the rows are not a multiple of this worker's replicas.
    """
    local_replicas = part_of(strategy).local_replicas
    size, left = divmod(len(batch.bins), local_replicas)
    if left:
        raise ValueError(f"the batch has {len(batch.bins)} rows here, want a multiple of {local_replicas} replicas")

    def rows_of(replica: int) -> dict[str, tf.Tensor]:
        rows = slice(replica * size, (replica + 1) * size)
        return {name: tf.constant(array) for name, array in batch.rows(rows).items()}

    return on_each(strategy, rows_of)


def on_each(strategy: tf.distribute.Strategy, make: Callable[[int], Any]) -> Any:
    """A value for each replica of this worker, as `strategy.run` takes it and in the form in which it gives it back.

    A compiled function takes only the form it was traced for, and TensorFlow has two: of a worker with one replica,
    `strategy.run` gives plain tensors, while a strategy's own values from a function are wrapped even there.

    Args:
      make: the value of a replica, from its index among this worker's.
    """
    local_replicas = part_of(strategy).local_replicas
    if local_replicas == 1:
        return make(0)
    return strategy.experimental_distribute_values_from_function(
        lambda context: make(context.replica_id_in_sync_group % local_replicas)  # that index counts all workers'
    )


def free_shapes(value: Any, free: int) -> Any:
    """The signature of a distributed tensor whose first `free` dimensions may be of any size.

    A function that is traced for the sizes of one batch rounds otherwise than one that is traced for any, and a run
    that goes on begins with another batch: one trace for all sizes gives the same bits whichever comes first.
    """

    def freed(spec: tf.TensorSpec) -> tf.TensorSpec:
        return tf.TensorSpec([None] * free + spec.shape.as_list()[free:], spec.dtype)

    spec = tf.type_spec_from_value(value)
    if isinstance(spec, tf.TensorSpec):
        return freed(spec)
    return type(spec)(*(freed(part) for part in spec._value_specs))  # PerReplicaSpec, which is not public


def batch_signature(shared: Mapping[str, Any]) -> dict[str, Any]:
    """`free_shapes` of what `share_out` gives: any number of rows and time steps, as many notes before as there are."""
    of_rows = ("dropout_keys", "milliseconds_per_tick", "before", "before_is_note", "before_tick")
    free = {"step_key": 0, **dict.fromkeys(of_rows, 1)}
    return {name: free_shapes(value, free.get(name, 2)) for name, value in shared.items()}


def name_of(strategy: tf.distribute.Strategy) -> str:
    """The public name of a strategy's class; several workers' is a subclass with a historic one."""
    if isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy):
        return "MultiWorkerMirroredStrategy"
    return type(strategy).__name__


def make_agreement(strategy: tf.distribute.Strategy) -> Agreement:
    """A function of (stop requested, seconds) whose result all workers share: any worker's request, their mean time.

    Workers that decided by a signal or a clock of their own would wait for each other for ever. All of them have to
    call it alike.
    """
    if not isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy):
        return lambda stop, seconds: (stop, seconds)

    @tf.function
    def mean(values):
        return strategy.reduce(tf.distribute.ReduceOp.MEAN, strategy.run(lambda v: v, args=(values,)), axis=None)

    def agree(stop: bool, seconds: float) -> tuple[bool, float]:
        share, agreed = mean(tf.constant([float(stop), seconds], tf.float64)).numpy()
        return bool(share > 0), float(agreed)

    return agree


def all_alike(agree: Agreement, number: float) -> bool:
    """Whether all workers gave the same number, which all of them learn; they have to call it alike.

    Args:
      agree: of `make_agreement`.
      number: one whose sum over the workers float64 holds exactly.
    """
    _, mean = agree(False, number)
    return not agree(mean != number, 0.0)[0]  # asked again: a middle one of several is the mean
