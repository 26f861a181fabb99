"""Which tf.distribute strategy fits what is there, and how a global batch is shared out."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from typing import Any

import tensorflow as tf

from midi_codec.command import UserError
from trainer.batches import Batch, Part

DEFAULT_PORT = 2222


def make_strategy() -> tf.distribute.Strategy:
    """`TF_CONFIG` gives MultiWorkerMirroredStrategy, several GPUs MirroredStrategy, else the one device.

    Raises:
      UserError: `TF_CONFIG` is not what TensorFlow documents.
    """
    if _num_workers(os.environ.get("TF_CONFIG")) > 1:
        return tf.distribute.MultiWorkerMirroredStrategy()
    gpus = tf.config.list_logical_devices("GPU")
    if len(gpus) > 1:
        return tf.distribute.MirroredStrategy()
    return tf.distribute.OneDeviceStrategy(gpus[0].name if gpus else "/cpu:0")


def _num_workers(tf_config: str | None) -> int:
    if not tf_config:
        return 1
    try:
        cluster = json.loads(tf_config).get("cluster", {})
        return len(cluster.get("chief", [])) + len(cluster.get("worker", []))
    except (AttributeError, TypeError, ValueError) as error:
        wanted = '{"cluster": {"worker": [host:port, ...]}, "task": {"type": "worker", "index": 0}}'
        raise UserError(f"TF_CONFIG is {tf_config!r}, want JSON such as {wanted}") from error


def set_tf_config(num_workers: int | None, host_pattern: str | None) -> None:
    """Makes `TF_CONFIG` from the number of workers and `JOB_COMPLETION_INDEX`, unless it is there already.

    A completion index alone means nothing: tuning workers have one too.

    Args:
      num_workers: of the job; None or 1 leaves the environment alone.
      host_pattern: a worker's address with `{index}` in it, with or without `:port`.

    Raises:
      UserError: what is missing or cannot be.
    """
    if num_workers is None or num_workers == 1 or os.environ.get("TF_CONFIG"):
        return
    if num_workers < 1:
        raise UserError(f"--num-workers is {num_workers}, want at least 1")
    problems = []
    if not host_pattern or "{index}" not in host_pattern:
        problems.append(f"--worker-host-pattern is {host_pattern!r}, want a host name with {{index}} in it")
    index = os.environ.get("JOB_COMPLETION_INDEX", "")
    if not index.isdecimal() or int(index) >= num_workers:
        problems.append(f"JOB_COMPLETION_INDEX is {index!r}, want this worker's number, 0 to {num_workers - 1}")
    if problems:
        raise UserError(problems)
    assert host_pattern is not None
    pattern = host_pattern if ":" in host_pattern else f"{host_pattern}:{DEFAULT_PORT}"
    workers = [pattern.replace("{index}", str(worker)) for worker in range(num_workers)]
    os.environ["TF_CONFIG"] = json.dumps(
        {"cluster": {"worker": workers}, "task": {"type": "worker", "index": int(index)}}
    )


def is_chief(strategy: tf.distribute.Strategy) -> bool:
    """Whether this process writes: the chief if the cluster names one, else the first worker, or the only process."""
    resolver = strategy.cluster_resolver
    if resolver is None or not resolver.task_type:
        return True
    has_chief = "chief" in resolver.cluster_spec().jobs
    return resolver.task_type == "chief" or (not has_chief and resolver.task_type == "worker" and resolver.task_id == 0)


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

    def rows_of(context: tf.distribute.ValueContext) -> dict[str, tf.Tensor]:
        first = context.replica_id_in_sync_group % local_replicas * size  # the number counts all workers' replicas
        return {name: tf.constant(array) for name, array in batch.rows(slice(first, first + size)).items()}

    return strategy.experimental_distribute_values_from_function(rows_of)


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
    """`free_shapes` of what `share_out` gives: any number of rows and time steps."""
    free = {"step_key": 0, "dropout_keys": 1, "milliseconds_per_tick": 1}
    return {name: free_shapes(value, free.get(name, 2)) for name, value in shared.items()}


def name_of(strategy: tf.distribute.Strategy) -> str:
    """The public name of a strategy's class; several workers' is a subclass with a historic one."""
    if isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy):
        return "MultiWorkerMirroredStrategy"
    return type(strategy).__name__


def make_agreement(strategy: tf.distribute.Strategy) -> Callable[[bool, float], tuple[bool, float]]:
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
