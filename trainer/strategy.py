"""Which tf.distribute strategy fits what is there, and how a global batch is shared out."""

from __future__ import annotations

import json
import os

import tensorflow as tf

from midi_codec.command import UserError

DEFAULT_PORT = 2222


def make_strategy() -> tf.distribute.Strategy:
    """`TF_CONFIG` gives MultiWorkerMirroredStrategy, several GPUs MirroredStrategy, else the one device."""
    config = os.environ.get("TF_CONFIG")
    if config and len(json.loads(config).get("cluster", {}).get("worker", [])) > 1:
        return tf.distribute.MultiWorkerMirroredStrategy()
    gpus = tf.config.list_logical_devices("GPU")
    if len(gpus) > 1:
        return tf.distribute.MirroredStrategy()
    return tf.distribute.OneDeviceStrategy(gpus[0].name if gpus else "/cpu:0")


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
    problems = []
    if num_workers < 1:
        problems.append(f"--num-workers is {num_workers}, want at least 1")
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
    """Whether this process writes: the first worker, or the only process."""
    resolver = strategy.cluster_resolver
    return resolver is None or not resolver.task_type or (resolver.task_type == "worker" and resolver.task_id == 0)
