"""A command on several virtual devices of the CPU, where `trainer.distribution.strategy` would take the one that is
there.

python -m tests.trainer.on_devices 2 trainer.task --data ...     two replicas, of each worker where there are several
"""

from __future__ import annotations

import functools
import importlib
import sys

import tensorflow as tf

from job_runtime import command
from tests.trainer.strategies import mirrored, worker
from trainer.distribution import cluster, strategy


def main() -> None:
    devices, module = int(sys.argv[1]), sys.argv[2]
    if devices > 1:
        split_cpu(devices)
        strategy.make_strategy = functools.partial(make_strategy, devices)
    command.exit_process(command.run(f"python -m {module}", importlib.import_module(module).main, sys.argv[3:]))


def make_strategy(devices: int, *, alone: bool = False) -> tf.distribute.Strategy:
    """In place of `trainer.distribution.strategy.make_strategy`."""
    return worker(devices) if cluster.num_workers() > 1 and not alone else mirrored(devices)


def split_cpu(count: int) -> None:
    """So many CPU devices in this process; before TensorFlow computes anything."""
    tf.config.set_logical_device_configuration(
        tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * count
    )


if __name__ == "__main__":
    main()
