"""A batch in two parts that a CPU computes at the same time.

The steps of an LSTM are small operations, which lose time when TensorFlow splits each of them among threads. Two parts
of a batch need nothing from each other until their gradients are added up: TensorFlow runs their operations side by
side, each on one thread, and no core waits for the other within an operation. Measured on two cores; with more, the two
parts share all threads. A batch stays whole where a GPU or several replicas on this machine do the work.
"""

from __future__ import annotations

import contextlib
import contextvars
from collections.abc import Collection, Iterator, Mapping
from typing import Any

import tensorflow as tf

from job_runtime.processes import num_cores

NUM_PARTS = 2
_IS_PART = contextvars.ContextVar("is_part", default=False)


def limit_threads() -> None:
    """One thread per operation and two operations at once, if there are two cores and no GPU.

    To be called before TensorFlow computes anything. Later, or if threads have been set already, it changes nothing.
    """
    is_set = tf.config.threading.get_intra_op_parallelism_threads() != 0
    if is_set or num_cores() != NUM_PARTS or tf.config.list_physical_devices("GPU"):
        return
    with contextlib.suppress(RuntimeError):  # TensorFlow has started
        tf.config.threading.set_intra_op_parallelism_threads(1)
        tf.config.threading.set_inter_op_parallelism_threads(NUM_PARTS)


def count() -> int:
    """In how many parts a batch is computed here; inside a part, one."""
    if _IS_PART.get() or num_cores() == 1 or tf.config.list_logical_devices("GPU"):
        return 1
    if tf.distribute.has_strategy() and len(tf.distribute.get_strategy().extended.worker_devices) > 1:
        return 1
    return NUM_PARTS


def sizes(num_rows: tf.Tensor) -> list[tf.Tensor]:
    """How many rows each part has; with one row in all, the first part has none."""
    parts = count()
    share = num_rows // parts
    return [*[share] * (parts - 1), num_rows - share * (parts - 1)]


def split(values: Mapping[str, Any], *, whole: Collection[str] = (), together: int = 1) -> list[dict[str, Any]]:
    """Splits tensors along their first axis, the batch's rows; those named in `whole` go to each part as they are.

    Every `together` rows, of which there is a whole number, stay in one part.
    """
    first = next(value for name, value in values.items() if name not in whole)
    rows = [together * size for size in sizes(tf.shape(first)[0] // together)]
    by_part = {
        name: [value] * len(rows) if name in whole else tf.split(value, tf.stack(rows), num=len(rows))
        for name, value in values.items()
    }
    return [{name: pieces[index] for name, pieces in by_part.items()} for index in range(len(rows))]


@contextlib.contextmanager
def as_parts() -> Iterator[None]:
    """Code inside has a part of a batch, and does not split it further."""
    token = _IS_PART.set(True)
    try:
        yield
    finally:
        _IS_PART.reset(token)
