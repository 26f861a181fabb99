"""The note model: the fields of the note before -> LSTM -> one head a field.

    previous note's bins --embed, add--> [batch, time, units] --LSTM layers--> h --one product--> head inputs
    head of field k:  relu(h's part k + embeddings of fields 1..k-1 of this same note) -> logits over k's bins

A head sees the fields of its own note that come before it in the table, so the likelihood of a note is the product
of its heads and is exact. Whether the piece ends here (END, value 128 of `pitch`) hangs on h alone: it is drawn
before the step, costs -log P(end), and a note costs -log(1 - P(end)) in its pitch field. Otherwise the pitch head
would have to average over every step that could have been drawn before an END.

An MSE head makes one number, softplus of its output, in units of the field's spread in the corpus: it cannot be
negative. Everything that has a width is padded to `fields.WIDTH_MULTIPLE`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from midi_codec import fields as fields_lib
from trainer import likelihoods, lstm, random_streams

MASKED_LOGIT = -1e9
END_COLUMNS = fields_lib.WIDTH_MULTIPLE  # the END logit is the first; the rest keep the product's width whole


@dataclasses.dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """The size of the model. Saved in every bundle.

    Attributes:
      units: of each LSTM layer and of the embeddings; a multiple of 16.
      layers: how many LSTM layers.
      head_units: width of each field's hidden layer; a multiple of 16.
      dropout: share of an LSTM layer's inputs and of the heads' inputs that a training sequence goes without.
    """

    units: int = 256
    layers: int = 2
    head_units: int = 128
    dropout: float = 0.2

    def problems(self) -> list[str]:
        found = []
        for name in ("units", "head_units"):
            value = getattr(self, name)
            if value < 1 or value % fields_lib.WIDTH_MULTIPLE:
                found.append(f"{name} is {value}, want a multiple of {fields_lib.WIDTH_MULTIPLE} above 0")
        if self.layers < 1:
            found.append(f"layers is {self.layers}, want at least 1")
        if not 0 <= self.dropout < 1:
            found.append(f"dropout is {self.dropout}, want at least 0 and below 1")
        return found


class NoteModel(keras.Model):
    """Predicts the fields of each note from those before it.

    Call arguments:
      previous: `[batch, time, num_fields]` int32, bins of the note before; `start_bins` at the start of a piece.
      current: `[batch, time, num_fields]` int32, bins of the notes predicted.
      state: per layer (h, c), each `[batch, units]`; from `zero_state`, or the last call's.
      dropout_keys: `[batch, 2]` uint32, a stream a sequence, or None for no dropout.

    Returns:
      `HeadOutputs`, and the state after the last time step.
    """

    def __init__(self, config: ModelConfig, table: fields_lib.FieldTable):
        super().__init__()
        self.config, self.table = config, table
        normal = keras.initializers.RandomNormal(stddev=len(table) ** -0.5)  # their sum has unit variance
        glorot = keras.initializers.GlorotUniform()
        self.embeddings = [
            self.add_weight(
                name=f"embedding_{field.name}", shape=(field.num_bins + 1, config.units), initializer=normal
            )
            for field in table
        ]
        self.lstm_layers = [lstm.LSTM(config.units, name=f"lstm_{index}") for index in range(config.layers)]
        for layer in self.lstm_layers:
            layer.build((None, None, config.units))
        self.head_kernel = self.add_weight(
            name="head_kernel",
            shape=(config.units, len(table) * config.head_units + END_COLUMNS),
            initializer=glorot,
        )
        self.head_bias = self.add_weight(
            name="head_bias", shape=(len(table) * config.head_units + END_COLUMNS,), initializer="zeros"
        )
        self.conditions = {
            (field.name, other.name): self.add_weight(
                name=f"condition_{field.name}_{other.name}",
                shape=(other.num_bins, config.head_units),
                initializer=normal,
            )
            for index, field in enumerate(table)
            for other in table.fields[:index]
        }
        self.output_kernels, self.output_biases = [], []
        for field in table:
            width = output_width(field)
            self.output_kernels.append(
                self.add_weight(
                    name=f"output_kernel_{field.name}", shape=(config.head_units, width), initializer=glorot
                )
            )
            self.output_biases.append(
                self.add_weight(name=f"output_bias_{field.name}", shape=(width,), initializer="zeros")
            )
        self.built = True

    @property
    def start_bins(self) -> np.ndarray:
        """`[num_fields]` int32, the learned start input: the row after the last bin of each embedding."""
        return self.table.start_bins

    @property
    def end_column(self) -> int:
        """Where END's logit stands in the product with `head_kernel`."""
        return len(self.table) * self.config.head_units

    def zero_state(self, batch_size: int | tf.Tensor) -> list[tuple[tf.Tensor, tf.Tensor]]:
        zeros = tf.zeros([batch_size, self.config.units])
        return [(zeros, zeros) for _ in self.lstm_layers]

    def call(self, previous, current, state, dropout_keys=None):
        h, new_state = self.trunk(previous, state, dropout_keys)
        return self.heads(h, current), new_state

    def trunk(self, previous, state, dropout_keys=None):
        """What the heads see, `[batch, time, units]`, and the state after: all that does not hang on `current`.

        Arguments are those of a call. With one time step at a time this is what a sampler needs.
        """
        x = tf.add_n([tf.gather(table, previous[..., index]) for index, table in enumerate(self.embeddings)])
        new_state = []
        for index, (layer, (h, c)) in enumerate(zip(self.lstm_layers, state, strict=True)):
            x = self._drop(x, dropout_keys, stream=index)
            x, h, c = layer(x, initial_state=[h, c])
            new_state.append((h, c))
        return self._drop(x, dropout_keys, stream=len(self.lstm_layers)), new_state

    def _drop(self, x, keys, *, stream: int):
        """One mask a sequence, the same at every time step (Gal and Ghahramani 2016)."""
        if keys is None or self.config.dropout == 0:
            return x
        uniform = random_streams.uniform_rows(keys, stream=stream, width=self.config.units)
        keep = tf.cast(uniform >= self.config.dropout, x.dtype) / (1 - self.config.dropout)
        return x * keep[:, None, :]

    def heads(self, h, current) -> HeadOutputs:
        """Every head's output `[batch, time, width]`, given the fields of the same note before it."""
        parts = self.head_parts(h)
        bins = [current[..., index] for index in range(len(self.table))]
        outputs = {field.name: self.head(index, parts, bins[:index]) for index, field in enumerate(self.table)}
        return HeadOutputs(end_logit=parts[..., self.end_column], fields=outputs)

    def head_parts(self, h):
        """Every head's hidden layer before the fields of the same note are added, and END's logit at `end_column`."""
        return tf.tensordot(h, self.head_kernel, 1) + self.head_bias

    def head(self, index: int, parts, bins):
        """The output of the field at `index`, as in `HeadOutputs`.

        Args:
          index: place in the table.
          parts: `[..., width]`, of `head_parts`.
          bins: `[...]` int32 each, of this note's fields before `index`.
        """
        size = self.config.head_units
        field = self.table.fields[index]
        hidden = parts[..., index * size : (index + 1) * size]
        for other, other_bins in zip(self.table.fields[:index], bins, strict=True):
            hidden += tf.gather(self.conditions[field.name, other.name], other_bins)
        raw = tf.tensordot(tf.nn.relu(hidden), self.output_kernels[index], 1) + self.output_biases[index]
        return head_output(field, raw)


@dataclasses.dataclass(frozen=True)
class HeadOutputs:
    """What the heads say of each position.

    Attributes:
      end_logit: `[batch, time]`, log odds that the piece ends here.
      fields: a field's logits `[batch, time, width]`, or an MSE head's prediction in ticks `[batch, time]`.
    """

    end_logit: tf.Tensor
    fields: dict[str, tf.Tensor]


def output_width(field: fields_lib.FieldSpec) -> int:
    """Columns a head's output has: an MSE head uses the first of the fewest that keep rows alike."""
    return field.width if field.loss == fields_lib.CATEGORICAL else fields_lib.WIDTH_MULTIPLE


def logit_mask(field: fields_lib.FieldSpec) -> np.ndarray:
    """`[width]` float32 that, added to logits, leaves padding columns without probability."""
    return np.where(np.arange(field.width) < field.num_bins, 0.0, MASKED_LOGIT).astype(np.float32)


def head_output(field: fields_lib.FieldSpec, raw: tf.Tensor) -> tf.Tensor:
    """Raw output columns to logits, or to ticks that cannot be negative."""
    if field.loss == fields_lib.MSE:
        return tf.nn.softplus(raw[..., 0]) * np.float32(field.scale)
    return raw + logit_mask(field)


def field_losses(
    table: fields_lib.FieldTable,
    outputs: HeadOutputs,
    targets: Mapping[str, Any],
) -> dict[str, tf.Tensor]:
    """What each position costs, a field: nats for categorical heads, half the scaled squared error for MSE heads.

    Args:
      table: the fields.
      outputs: of the model.
      targets: `bins` and `raw` `[batch, time, num_fields]` int32, `is_note` and `is_end` `[batch, time]` float32.

    Returns:
      a field's `[batch, time]` float32, 0 where nothing is predicted; END's cost is in `pitch`.
    """
    losses = {}
    for index, field in enumerate(table):
        output = outputs.fields[field.name]
        if field.loss == fields_lib.MSE:
            cost = likelihoods.squared_error(targets["raw"][..., index], output, field.scale)
        else:
            cost = likelihoods.categorical_nll(output, targets["bins"][..., index], tf.constant(field.log_spans))
        losses[field.name] = cost * targets["is_note"]
    exists = targets["is_note"] + targets["is_end"]
    end_cost = tf.nn.sigmoid_cross_entropy_with_logits(labels=targets["is_end"], logits=outputs.end_logit)
    losses["pitch"] += end_cost * exists
    return losses
