"""One optimizer step under any strategy.

Gradients are summed over replicas, clipped by their common norm, then applied; clipping before the sum would clip each
replica's gradients separately. The loss of a step is the sum over its events, divided by their number in the global
batch, so a replica with fewer notes weighs less.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from midi_codec.fields import FieldTable
from trainer.config import TrainConfig
from trainer.data.batches import Batch
from trainer.distribution.strategy import batch_signature, share_out
from trainer.model.attention import copying
from trainer.model.heads import field_losses
from trainer.model.note_model import NoteModel
from trainer.model.recurrent import batch_halves
from trainer.model.recurrent.lstm import kernels_in_use
from trainer.training.weight_average import WeightAverage

LABEL_RATE = 10.0  # times the learning rate: a label has few rows, each in a few windows of a batch


def is_label(path: str) -> bool:
    """Whether a variable is a label's table."""
    return path.rsplit("/", 1)[-1].startswith("label_")


class Adam(keras.optimizers.Adam):
    """Adam for gradients that are already summed over the replicas; Keras would sum them once more.

    Its weight decay, decoupled from the gradients (AdamW: Loshchilov and Hutter 2019), applies to matrices only: biases
    and norms are not pulled towards zero. The weights of `copying.learns_fast` learn at `copying_rate` times the rate.
    """

    copying_rate = 1.0

    def _all_reduce_sum_gradients(self, grads_and_vars: Any) -> Any:
        return grads_and_vars

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        path = self._trainable_variables[self._get_variable_index(variable)].path
        rate = self.copying_rate if copying.learns_fast(path) else LABEL_RATE if is_label(path) else 1.0
        super().update_step(gradient, variable, learning_rate * rate)

    def _use_weight_decay(self, variable: keras.Variable) -> bool:
        return len(variable.shape) > 1


class TrainStep:
    """Model, optimizer, the average of the weights if the settings ask for one, and the compiled training step.

    Attributes:
      unit: what a loss per event is in.
      together: so many rows of a batch belong together.
    """

    unit, together = "nats per note", 1

    def __init__(self, config: TrainConfig, table: FieldTable, strategy: tf.distribute.Strategy):
        self._strategy, self._clip_norm = strategy, config.clip_norm
        keras.utils.set_random_seed(config.rng_seed)  # for the initial weights; everything else has streams of its own
        with strategy.scope():
            self.model = NoteModel(config.model, table, precision=config.precision)
            self.optimizer = Adam(learning_rate=config.learning_rate, weight_decay=config.weight_decay or None)
            if config.attention_chord:
                self.optimizer.copying_rate = copying.FAST_RATE
            self.optimizer.build(self.model.trainable_variables)
            self._average = None
            if config.weight_average:
                self._average = WeightAverage(self.model.trainable_variables, config.weight_average)
        self._compiled: Any = None  # traced with the first batch, for batches of any size

    @property
    def variables(self) -> list[keras.Variable]:
        """All variables of a checkpoint, in an order that depends on the settings alone."""
        averages = self._average.variables if self._average else []
        return [*self.model.trainable_variables, *self.optimizer.variables, *averages]

    def progress(self, loss: float, best: float) -> str:
        """What a bar says of the loss per event, and of the best validation so far; without one that is infinite."""
        found = f", best validation {best:.3f}" if math.isfinite(best) else ""
        return f"loss {loss:.3f}{found} {self.unit}"

    @property
    def kernels(self) -> str:
        """Which LSTM kernels the steps use."""
        return kernels_in_use()

    def weights_to_keep(self) -> contextlib.AbstractContextManager[None]:
        """Inside, the model has the weights that are validated and kept: their average, if there is one.

        Training steps and checkpoints belong outside.
        """
        if self._average is None or not np.asarray(self.optimizer.iterations.value):
            return contextlib.nullcontext()
        return self._average.in_place()

    def __call__(self, batch: Batch, learning_rate: float) -> tuple[float, float]:
        """Applies a batch; returns the sum of its losses, and the gradient norm before clipping."""
        self.optimizer.learning_rate.assign(learning_rate)
        shared = share_out(batch, self._strategy)
        if self._compiled is None:
            signature = [batch_signature(shared), tf.TensorSpec([], tf.float32)]
            self._compiled = tf.function(self._distributed, input_signature=signature, autograph=False)
        total, norm = self._compiled(shared, tf.constant(batch.num_events, tf.float32))
        return float(total), float(norm)

    def _distributed(self, batch: Any, num_events: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        totals, norms = self._strategy.run(self._replica_step, args=(batch, num_events))
        if self._average is not None:
            self._average.update(self._strategy, self.optimizer.iterations.value)
        total = self._strategy.reduce(tf.distribute.ReduceOp.SUM, totals, axis=None)
        return total, self._strategy.reduce(tf.distribute.ReduceOp.MEAN, norms, axis=None)

    def _replica_step(self, batch: Mapping[str, tf.Tensor], num_events: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        rows = batch_halves.split(batch, whole=("step_key",), together=self.together)
        with batch_halves.as_parts():
            # a function is traced once for all parts
            gradients_of = tf.function(self._gradients, autograph=False) if len(rows) > 1 else self._gradients
            results = [gradients_of(part, num_events) for part in rows]
        total = tf.add_n([total for total, _ in results])
        gradients = [tf.add_n(summands) for summands in zip(*(summands for _, summands in results), strict=True)]
        gradients = tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, gradients)
        clipped, norm = tf.clip_by_global_norm(gradients, self._clip_norm)
        self.optimizer.apply(clipped, self.model.trainable_variables)
        return total, norm

    def _gradients(self, batch: Mapping[str, tf.Tensor], num_events: tf.Tensor) -> tuple[tf.Tensor, list[tf.Tensor]]:
        """The sum of some rows' losses, and their contribution to the gradients."""
        model = self.model
        variables = [variable.value for variable in model.trainable_variables]
        with tf.GradientTape() as tape:
            state = model.state_before(batch)
            outputs, _ = model(
                batch["previous"],
                batch["bins"],
                state,
                dropout_keys=batch["dropout_keys"],
                step_key=batch["step_key"],
                raw=batch["raw"],
                is_note=batch["is_note"],
            )
            losses = field_losses(model.table, outputs, batch)
            total = tf.add_n([tf.reduce_sum(loss) for loss in losses.values()])
            loss = total / num_events
        return total, [tf.convert_to_tensor(gradient) for gradient in tape.gradient(loss, variables)]
