"""The training step of a stack of LSTM layers: forward, mean of squares of the outputs, backward to inputs and weights.

As a process (`python -m benchmarks.speed.lstm_stack`) it runs Keras's layers and TensorFlow's products of large
matrices for each request; the first input line is the size. They need a process of their own, because our layers limit
TensorFlow's threads (`trainer.model.recurrent.batch_halves`).
"""

from __future__ import annotations

import functools
import json
import os
import sys
from collections.abc import Callable
from typing import Any

from benchmarks.peers import serve
from benchmarks.speed.gemm import gemm_product

LEARNING_RATE = 1e-9  # so small that weights neither explode nor become denormals over the rounds


def main() -> None:
    size = json.loads(sys.stdin.readline())
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import keras

    layer = functools.partial(keras.layers.LSTM, return_sequences=True, return_state=True)
    cases: dict[str, Callable[[], object]] = {
        "keras": make_step(layer, size, optimizer=False, in_parts=False),
        "keras_adam": make_step(layer, size, optimizer=True, in_parts=False),
    }
    for precision in ("float32", "bfloat16"):
        cases[f"gemm_tensorflow_{precision}"] = gemm_product(precision)
    serve.serve(cases, ["tensorflow", "keras"])


def make_step(
    make_layer: Callable[[int], Any], size: dict[str, int], *, optimizer: bool, in_parts: bool
) -> Callable[[], object]:
    """A compiled step; a call runs it and waits for its end.

    Args:
      make_layer: takes the number of units, and returns a Keras layer that returns the sequence, h and c.
      size: `units`, `layers`, `batch`, `time`.
      optimizer: whether to add Adam's step.
      in_parts: whether to compute two halves of the batch, as `trainer.training.train_step` does.
    """
    import keras
    import tensorflow as tf

    from trainer.model.recurrent import batch_halves

    keras.utils.set_random_seed(0)
    layers = [make_layer(size["units"]) for _ in range(size["layers"])]
    for layer in layers:
        layer.build((None, None, size["units"]))
    variables = [variable for layer in layers for variable in layer.trainable_variables]
    adam = keras.optimizers.Adam(LEARNING_RATE)
    adam.build(variables)
    inputs = tf.random.normal([size["batch"], size["time"], size["units"]])

    def gradients(rows: Any) -> list[Any]:
        """The loss of some rows, and its gradients by the rows and by the weights."""
        with tf.GradientTape() as tape:
            tape.watch(rows)
            outputs = rows
            for layer in layers:
                outputs, _, _ = layer(outputs)
            loss = tf.reduce_sum(outputs * outputs) / float(inputs.shape.num_elements())
        return [loss, *tape.gradient(loss, [rows, *(variable.value for variable in variables)])]

    @tf.function
    def step() -> list[Any]:
        rows = batch_halves.split({"rows": inputs}) if in_parts else [{"rows": inputs}]
        with batch_halves.as_parts():
            losses, by_rows, *by_weights = zip(*(gradients(part["rows"]) for part in rows), strict=True)
        sums = [tf.add_n(summands) for summands in by_weights]
        if optimizer:
            adam.apply(sums, variables)
        return [tf.add_n(losses), *by_rows, *sums]  # all of them, or TensorFlow might not compute them

    return lambda: step()[0].numpy()


if __name__ == "__main__":
    main()
