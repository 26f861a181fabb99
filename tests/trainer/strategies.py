"""Every form in which a strategy hands values to its replicas, for tests that run in one process.

`tests.trainer.conftest` gives the process the devices. The workers are of a `MultiWorkerMirroredStrategy` that has no
others: what it hands out has the same form as in a cluster, where tests.trainer.on_devices starts real ones.
"""

from __future__ import annotations

import functools
from unittest import mock

import pytest
import tensorflow as tf
from tensorflow.python.distribute.collective_all_reduce_strategy import (
    CollectiveAllReduceExtended,
    CollectiveAllReduceStrategy,
)

from trainer.distribution import strategy


def one_device() -> tf.distribute.Strategy:
    return tf.distribute.OneDeviceStrategy("/cpu:0")


@functools.cache
def mirrored(devices: int) -> tf.distribute.Strategy:
    """On the first devices of this process.

    A process's collectives keep to one number of devices, so more than two are reduced on one of them.
    """
    names = tuple(device.name for device in tf.config.list_logical_devices("CPU")[:devices])
    if devices == 2:
        return strategy.mirrored(names)
    return tf.distribute.MirroredStrategy(list(names), cross_device_ops=tf.distribute.ReductionToOneDevice())


@functools.cache
def worker(devices: int) -> tf.distribute.Strategy:
    """What TF_CONFIG says, with so many devices for each worker, as if they were GPUs; without it one worker alone."""

    def local_devices(_self, _resolver, worker_device):
        return tuple(f"{worker_device}/device:CPU:{index}" for index in range(devices)), "CPU"

    with (
        mock.patch.object(CollectiveAllReduceExtended, "_initialize_local_devices", local_devices),
        # Other numbers for its collectives than those of the mirrored devices: see `strategy.mirrored`.
        mock.patch.object(CollectiveAllReduceStrategy, "_collective_key_base", 1000 * devices),
    ):
        return tf.distribute.MultiWorkerMirroredStrategy()


STRATEGIES = {
    "one device": one_device,
    "two devices": lambda: mirrored(2),
    "four devices": lambda: mirrored(4),
    "a worker of one device": lambda: worker(1),
    "a worker of two devices": lambda: worker(2),
}
under_every_strategy = pytest.mark.parametrize("make_strategy", STRATEGIES.values(), ids=STRATEGIES)
under_several_forms = pytest.mark.parametrize(  # what one device is compared with
    "make_strategy",
    [
        pytest.param(STRATEGIES["two devices"], id="two devices"),
        pytest.param(STRATEGIES["a worker of one device"], id="a worker of one device", marks=pytest.mark.slow),
        pytest.param(STRATEGIES["four devices"], id="four devices", marks=pytest.mark.slow),
        pytest.param(STRATEGIES["a worker of two devices"], id="a worker of two devices", marks=pytest.mark.slow),
    ],
)
