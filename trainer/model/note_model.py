"""The note model: the fields of the note before -> LSTM -> one head a field.

    previous note's bins --embed, add--> [batch, time, units] --LSTM layers--> h --one product--> head inputs
    head of field k:  relu(h's part k + embeddings of fields 1..k-1 of this same note) -> output of k
    (`trainer.model.heads`)

A head sees the fields of its own note that come before it in the table, so the likelihood of a note is the product
of its heads and is exact. Whether the piece ends here (END, value 128 of `pitch`) hangs on h alone: it is drawn
before the step, costs -log P(end), and a note costs -log(1 - P(end)) in its pitch field. Otherwise the pitch head
would have to average over every step that could have been drawn before an END.

Layer norm (Ba et al. 2016) and residual links stand outside the LSTM's cell, so that a GPU can take cuDNN's kernels:
the layers above the first see norm(x) and give x + LSTM(norm(x)), the heads see norm(x). Everything that has a width
is padded to `fields.WIDTH_MULTIPLE`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from midi_codec import fields as fields_lib
from trainer.model import context, dropout, heads, hoisted_lstm, lstm, pitch_context
from trainer.model.heads import HeadOutputs, head_output, output_width, standardise, tied_kernel
from trainer.model.model_config import ModelConfig
from trainer.model.pitch_context import NotesSoFar, PitchContext, Sight

END_COLUMNS = fields_lib.WIDTH_MULTIPLE  # the END logit is the first; the rest keep the product's width whole
BFLOAT16 = "bfloat16"


class NoteModel(keras.Model):
    """Predicts the fields of each note from those before it.

    Args:
      config: its size and shape.
      table: the fields.
      precision: "float32", or "bfloat16" for the products of the LSTM and the heads' hidden layers; weights, states,
        logits and losses are float32 always.

    Call arguments:
      previous: `[batch, time, num_fields]` int32, bins of the note before; `start_bins` at the start of a piece.
      current: `[batch, time, num_fields]` int32, bins of the notes predicted.
      state: per layer (h, c), each `[batch, units]`, and with a context `NotesSoFar`; from
        `zero_state`, or the last call's.
      dropout_keys: `[batch, 2]` uint32, a stream a sequence, or None for no dropout of inputs and embeddings.
      step_key: `[2]` uint32, the stream of the whole step, or None for no recurrent dropout.
      raw: `[batch, time, num_fields]` int32, values of the notes predicted; only a context needs them.
      is_note: `[batch, time]`, 0 where there is none; only a context needs it.

    Returns:
      `HeadOutputs`, and the state after the last time step.
    """

    def __init__(self, config: ModelConfig, table: fields_lib.FieldTable, *, precision: str = "float32"):
        super().__init__()
        self.config, self.table, self.precision = config, table, precision
        self._add_embeddings()
        self.lstm_layers = [
            lstm.LSTM(config.units, precision=precision, name=f"lstm_{index}") for index in range(config.layers)
        ]
        for layer in self.lstm_layers:
            layer.build((None, None, config.units))
        self.norms = {
            index: tuple(
                self.add_weight(name=f"norm_{index}_{name}", shape=(config.units,), initializer=initial)
                for name, initial in (("scale", "ones"), ("shift", "zeros"))
            )
            for index in range(1, config.layers + 1 if config.layer_norm else 0)
        }
        self.context = None
        if config.context_units:
            self.context = PitchContext(
                config.context_units,
                input_units=config.units,
                parts_units=len(table) * config.head_units + END_COLUMNS,
                lags=config.context_lags,
                periods=config.context_periods,
            )
        self._add_heads()
        self.built = True

    def _add_embeddings(self) -> None:
        normal = keras.initializers.RandomNormal(stddev=len(self.table) ** -0.5)  # their sum has unit variance
        units, head_units = self.config.units, self.config.head_units
        self.embeddings = [
            self.add_weight(name=f"embedding_{field.name}", shape=(field.num_bins + 1, units), initializer=normal)
            for field in self.table
        ]
        self.conditions = {
            (field.name, other.name): self.add_weight(
                name=f"condition_{field.name}_{other.name}", shape=(other.num_bins, head_units), initializer=normal
            )
            for index, field in enumerate(self.table)
            for other in self.table.fields[:index]
        }

    def _add_heads(self) -> None:
        """Kernels and biases; a tied projection begins so that its product with the table is as wide as a kernel."""
        glorot = keras.initializers.GlorotUniform()
        units, head_units = self.config.units, self.config.head_units
        width = len(self.table) * head_units + END_COLUMNS + (self.context.query_units if self.context else 0)
        self.head_kernel = self.add_weight(name="head_kernel", shape=(units, width), initializer=glorot)
        self.head_bias = self.add_weight(name="head_bias", shape=(width,), initializer="zeros")
        self.output_kernels, self.output_biases = [], []
        for field in self.table:
            width = output_width(field)
            name, shape, initial = f"output_kernel_{field.name}", (head_units, width), glorot
            if self.is_tied(field):
                variance = 2 / (head_units + width) / (units / len(self.table))
                name, shape = f"output_projection_{field.name}", (head_units, units)
                initial = keras.initializers.RandomNormal(stddev=variance**0.5)
            self.output_kernels.append(self.add_weight(name=name, shape=shape, initializer=initial))
            self.output_biases.append(
                self.add_weight(name=f"output_bias_{field.name}", shape=(width,), initializer="zeros")
            )

    @property
    def start_bins(self) -> np.ndarray:
        """`[num_fields]` int32, the learned start input: the row after the last bin of each embedding."""
        return self.table.start_bins

    @property
    def memory(self) -> int:
        """How many notes before a window its events see."""
        return self.config.context_notes if self.config.context_units else 0

    @property
    def end_column(self) -> int:
        """Where END's logit stands in the product with `head_kernel`."""
        return len(self.table) * self.config.head_units

    def is_tied(self, field: fields_lib.FieldSpec) -> bool:
        """Whether the head takes its output kernel from the field's embedding table."""
        return self.config.tied_embeddings and field.loss == fields_lib.CATEGORICAL

    def zero_state(self, batch_size: int | tf.Tensor) -> list[Any]:
        """That of pieces that have not begun."""
        zeros = tf.zeros([batch_size, self.config.units])
        state: list[Any] = [(zeros, zeros) for _ in self.lstm_layers]
        if self.context is not None:
            config = self.config
            state.append(
                pitch_context.nothing_so_far(
                    batch_size, notes=config.context_notes, lags=config.context_lags, units=config.context_units
                )
            )
        return state

    def state_before(self, batch: Mapping[str, Any]) -> list[Any]:
        """The state at the start of a batch's windows: the LSTM knows nothing, the context the notes before."""
        state = self.zero_state(tf.shape(batch["bins"])[0])
        if self.context is None:
            return state
        last = context.memory_before(self.table, batch["before"], batch["before_is_note"], batch["before_tick"])
        one = context.empty_memory(tf.shape(batch["bins"])[0], 1)
        earlier = context.Memory(*(tf.concat(pair, axis=1) for pair in zip(one, last, strict=True)))
        found = self._surroundings(earlier, earlier.onset[:, -1:])
        return [*state[:-1], self._so_far(last, found)]

    def call(self, previous, current, state, dropout_keys=None, step_key=None, raw=None, is_note=None):
        if self.context is None:
            h, new_state = self.trunk(previous, state, dropout_keys, step_key)
            return self.heads(self.head_parts(h), current), new_state
        before: NotesSoFar = state[-1]
        notes = context.remember(before.memory, self.table, raw, is_note)
        size = self.config.context_notes
        onset = notes.onset[:, size:]
        found = self._surroundings(notes, onset)
        around = context.around(found, notes.pitch[:, size:])
        seen = tf.concat([before.around[:, None], around[:, :-1]], axis=1)
        chord_size = tf.concat([before.chord_size[:, None], found.chord_size[:, :-1]], axis=1)
        inputs = self.context.inputs(seen, tf.maximum(notes.onset[:, size - 1 : -1], 0), chord_size)
        h, new_state = self._recur(previous, inputs, state[:-1], dropout_keys, step_key)
        parts = self.head_parts(h)
        sight = self._sight(found, onset, parts, dropout_keys)
        above = pitch_context.above(sight, notes.pitch[:, size:])
        parts = self._with_above(parts, tf.concat([before.above[:, None], above[:, :-1]], axis=1))
        after = NotesSoFar(context.newest(notes, size), around[:, -1], found.chord_size[:, -1], above[:, -1])
        return self.heads(parts, current, sight), [*new_state, after]

    def trunk(self, previous, state, dropout_keys=None, step_key=None):
        """What the heads see, `[batch, time, units]`, and the state after: all that does not hang on `current`.

        Arguments are those of a call. With one time step at a time this and `parts` are what a sampler needs; with a
        context it then calls `look` when it knows the note's step, and `remember` when it knows the note.
        """
        inputs = None
        if self.context is not None:
            before: NotesSoFar = state[-1]
            inputs = self.context.inputs(before.around[:, None], before.now, before.chord_size[:, None])
        h, new_state = self._recur(previous, inputs, state[: self.config.layers], dropout_keys, step_key)
        return h, [*new_state, *state[self.config.layers :]]

    def parts(self, h, state: list[Any]):
        """`head_parts` of one event `[batch, width]`, with what the context knows of it before its step is known.

        Args:
          h: `[batch, 1, units]`, of `trunk`.
          state: of `trunk`.
        """
        parts = self.head_parts(h)
        return (parts if self.context is None else self._with_above(parts, state[-1].above[:, None]))[:, 0]

    def look(self, state: list[Any], parts, step) -> Sight | None:
        """What the notes so far say of one more event; None without a context.

        Args:
          state: of `trunk`.
          parts: `[batch, width]`, of `parts`.
          step: `[batch]` int32, ticks since the note before.

        Returns:
          what `head` takes as `sight`.
        """
        if self.context is None:
            return None
        memory = state[-1].memory
        onset = state[-1].now + step[:, None]
        return self._sight(self._surroundings(memory, onset), onset, parts[:, None])

    def remember(self, state: list[Any], raw, sight: Sight | None) -> list[Any]:
        """The state with a note that was drawn.

        Args:
          state: of `trunk`.
          raw: `[batch, num_fields]` int32, the note's values.
          sight: what `look` gave for it.
        """
        if self.context is None or sight is None:
            return state
        return [*state[:-1], pitch_context.remember(state[-1], self.table, raw, sight)]

    def _so_far(self, memory: context.Memory, found: context.Surroundings) -> NotesSoFar:
        assert self.context is not None
        around = context.around(found, memory.pitch[:, -1:])
        above = tf.zeros([tf.shape(memory.pitch)[0], pitch_context.above_size(self.config.context_units)])
        return NotesSoFar(memory, around[:, 0], found.chord_size[:, 0], above)

    def _with_above(self, parts, above):
        """`head_parts` with what lay above the note before: whether its chord goes on hangs on that."""
        assert self.context is not None
        added = tf.tensordot(above, self.context.above_kernel, 1)
        return parts + tf.pad(added, [[0, 0], [0, 0], [0, parts.shape[-1] - added.shape[-1]]])

    def _sight(self, found: context.Surroundings, onset, parts, dropout_keys=None) -> Sight:
        """How every pitch looks to every event, from `head_parts`."""
        assert self.context is not None
        keep = dropout.keep_units(
            dropout_keys,
            rate=self.config.dropout,
            stream=len(self.lstm_layers) + 1 + len(self.table),
            width=self.config.context_units,
        )
        return self.context(found, onset, parts[..., self.end_column + END_COLUMNS :], keep)

    def _surroundings(self, earlier: context.Memory, onset) -> context.Surroundings:
        config = self.config
        return context.surroundings(
            earlier,
            onset,
            notes=config.context_notes,
            lags=config.context_lags,
            time_base=self.table.time_base,
        )

    def _recur(self, previous, context_inputs, state, dropout_keys, step_key):
        """Embeddings and LSTM layers: what the heads see, and the layers' states after."""
        x = self._embed(previous, dropout_keys)
        if context_inputs is not None:
            x += context_inputs
        new_state = []
        for index, (layer, (h, c)) in enumerate(zip(self.lstm_layers, state, strict=True)):
            inputs, kernel = self._inputs(x, dropout_keys, index), self._recurrent_kernel(index, step_key)
            output, h, c = layer(inputs, initial_state=[h, c], recurrent_kernel=kernel)
            x = x + output if self.config.residual and index > 0 else output
            new_state.append((h, c))
        return self._inputs(x, dropout_keys, len(self.lstm_layers)), new_state

    def _embed(self, previous, keys):
        """`[batch, time, units]`, the sum of the fields' embeddings."""
        rows = []
        for index, (field, table) in enumerate(zip(self.table, self.embeddings, strict=True)):
            row = dropout.drop_symbols(
                tf.gather(table, previous[..., index]),
                previous[..., index],
                keys,
                num_symbols=field.num_bins + 1,
                rate=self.config.embedding_dropout,
                stream=len(self.lstm_layers) + 1 + index,  # those before drop the inputs of layers and heads
            )
            rows.append(row)
        return tf.add_n(rows)

    def _norm(self, x, index: int):
        """Of what enters layer `index`, or the heads above the last."""
        if index not in self.norms:
            return x
        scale, shift = self.norms[index]
        return standardise(x) * scale + shift

    def _inputs(self, x, keys, index: int):
        """What layer `index` sees of x, or what the heads see above the last layer."""
        return dropout.drop_units(self._norm(x, index), keys, rate=self.config.dropout, stream=index)

    def _recurrent_kernel(self, index: int, step_key):
        """A layer's recurrent kernel without a share of its weights; None: as it is."""
        kernel = self.lstm_layers[index].cell.recurrent_kernel
        return dropout.drop_weights(kernel, step_key, rate=self.config.recurrent_dropout, stream=index)

    def heads(self, parts, current, sight: Sight | None = None) -> HeadOutputs:
        """Every head's output `[batch, time, width]`, given the fields of the same note before it."""
        bins = [current[..., index] for index in range(len(self.table))]
        outputs = {field.name: self.head(index, parts, bins[:index], sight) for index, field in enumerate(self.table)}
        return HeadOutputs(end_logit=parts[..., self.end_column], fields=outputs)

    def head_parts(self, h):
        """Every head's hidden layer before the fields of the same note are added, and END's logit at `end_column`."""
        if self.precision != BFLOAT16:
            return tf.tensordot(h, self.head_kernel, 1) + self.head_bias
        operand = hoisted_lstm.operand_rounding(BFLOAT16)
        return tf.cast(tf.tensordot(operand(h), operand(self.head_kernel), 1), tf.float32) + self.head_bias

    def head(self, index: int, parts, bins, sight: Sight | None = None):
        """The output of the field at `index`, as in `HeadOutputs`.

        Args:
          index: place in the table.
          parts: `[..., width]`, of `head_parts`.
          bins: `[...]` int32 each, of this note's fields before `index`.
          sight: of `look`, for the pitch of a model with a context.
        """
        size = self.config.head_units
        field = self.table.fields[index]
        hidden = parts[..., index * size : (index + 1) * size]
        for other, other_bins in zip(self.table.fields[:index], bins, strict=True):
            hidden += tf.gather(self.conditions[field.name, other.name], other_bins)
        # A bfloat16 product would round logits, and a mixture's locations, to three digits.
        product = tf.tensordot(tf.nn.relu(hidden), self._output_kernel(index), 1)
        if field.name == "pitch" and sight is not None:
            scores = context.on_pitch_axis(sight.scores, field.width)
            product += scores if len(product.shape) == 3 else scores[:, 0]
        return head_output(field, product, tf.convert_to_tensor(self.output_biases[index]))

    def _output_kernel(self, index: int):
        field, kernel = self.table.fields[index], self.output_kernels[index]
        return tied_kernel(field, kernel, self.embeddings[index]) if self.is_tied(field) else kernel

    def field_nll(
        self,
        field: fields_lib.FieldSpec,
        outputs: HeadOutputs,
        targets: Mapping[str, Any],
        deviation: tf.Tensor | float | None = None,
    ) -> tf.Tensor:
        """What a field of each position costs: exact nats over the ticks of the grid.

        The fields' costs of a piece together are its negative log-likelihood.

        Args:
          field: of this model's table.
          outputs: of the model.
          targets: `bins`, `raw`, `is_note`, `is_end`, as for `heads.field_losses`.
          deviation: of an MSE head, the standard deviation of its residual in ticks.

        Returns:
          `[batch, time]` float64, 0 where nothing is predicted; END's cost is in `pitch`.
        """
        index = self.table.names.index(field.name)
        bins, values = targets["bins"][..., index], targets["raw"][..., index]
        nll = heads.value_nll(field, outputs.fields[field.name], bins, values, deviation)
        nll *= tf.cast(targets["is_note"], tf.float64)
        if field.name == "pitch":
            nll += heads.end_cost(tf.cast(outputs.end_logit, tf.float64), targets)
        return nll

    def point_guess(self, field: fields_lib.FieldSpec, outputs: HeadOutputs) -> tf.Tensor:
        """`[batch, time]` float64, the value that a field's head holds likeliest, in ticks for a time field."""
        return heads.guess(field, outputs.fields[field.name])
