"""A warm process of a strategy, which runs a training step of `trainer.task` for each request.

The first input line is `{"devices": n, "sizes": {case: {units, layers, batch, time}}}`: the number of virtual devices
that this process mirrors on, and the sizes of the cases. With `TF_CONFIG` it is one of several workers instead.
"""

from __future__ import annotations

import itertools
import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.harness import synthetic
from benchmarks.peers import serve
from benchmarks.speed.lstm_stack import LEARNING_RATE

if TYPE_CHECKING:
    import tensorflow as tf

    from midi_codec.fields import FieldTable
    from trainer.config import TrainConfig
    from trainer.data.batches import Batch, Part

NUM_BATCHES = 4  # used in turn


def main() -> None:
    setup = json.loads(sys.stdin.readline())
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    strategy = make_strategy(setup["devices"])
    serve.serve({case: make_step(strategy, size) for case, size in setup["sizes"].items()}, ["tensorflow", "keras"])


def make_strategy(devices: int) -> tf.distribute.Strategy:
    """The strategy of `trainer.task`, or a mirrored one on several virtual devices of the CPU."""
    import tensorflow as tf

    from trainer.distribution import strategy

    if devices == 1:
        return strategy.make_strategy()
    tf.config.set_logical_device_configuration(
        tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * devices
    )
    return tf.distribute.MirroredStrategy([f"CPU:{index}" for index in range(devices)])


def make_step(
    strategy: tf.distribute.Strategy, size: Mapping[str, int], precision: str = "float32"
) -> Callable[[], object]:
    """A step of the training loop: apply a global batch, and agree with the other workers whether to continue.

    Args:
      size: `units`, `layers`, `batch`, `time`.
    """
    from trainer.config import TrainConfig
    from trainer.distribution.strategy import make_agreement, part_of
    from trainer.training.train_step import TrainStep

    config = TrainConfig(
        units=size["units"],
        layers=size["layers"],
        batch_size=size["batch"],
        window=size["time"],
        precision=precision,
    )
    table = synthetic.make_table()
    step, agree = TrainStep(config, table, strategy), make_agreement(strategy)
    batches = full_batches(config, table, part_of(strategy))

    def run() -> None:
        step(next(batches), LEARNING_RATE)
        agree(False, 0.0)

    return run


def full_batches(config: TrainConfig, table: FieldTable, part: Part) -> Iterator[Batch]:
    """A worker's rows of a few batches without padding, endlessly."""
    from trainer.data.augmentation import Augmentation
    from trainer.data.batches import Windows, keyed_rng, make_batch
    from trainer.data.pieces import stack_pieces

    size, time = config.batch_size, config.window
    notes = [synthetic.make_notes(key, time) for key in range(size)]
    pieces = stack_pieces(notes, table)
    rows = np.arange(size)
    begins = np.zeros(size, np.int64)
    full = [Windows(np.roll(rows, number), begins, begins + time) for number in range(NUM_BATCHES)]
    common: dict[str, Any] = {"table": table, "batch_size": size, "start_bins": table.start_bins, "part": part}
    return itertools.cycle(
        make_batch(pieces, windows, amounts=Augmentation(transpose=5), rng=keyed_rng(0, number), **common)
        for number, windows in enumerate(full)
    )


if __name__ == "__main__":
    main()
