"""The note model: the fields of the note before -> LSTM -> one head per field.

    previous note's bins -> `trainer.model.recurrent.recurrent_stack` -> h -> `trainer.model.head_stack` -> outputs

A head sees the fields of its own note that come before it in the table, so the likelihood of a note is the product
of its heads and is exact. Whether the piece ends here (END, value 128 of `pitch`) depends on h alone: it is drawn
before the step, costs -log P(end), and a note costs -log(1 - P(end)) in its pitch field. Otherwise the pitch head
would have to average over every step that could have been drawn before an END.

With labels the embeddings of the piece's values are added to those of every note; the state carries their sum. With a
context (`trainer.model.context_reader`) the model also looks at the notes so far. Everything that has a width is padded
to `fields.WIDTH_MULTIPLE`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from midi_codec import fields as fields_lib
from trainer.model import heads, pitch_context
from trainer.model.attention import copying, echoes, past
from trainer.model.attention.past import Candidates
from trainer.model.attention.sources import Sources
from trainer.model.context_reader import ContextReader
from trainer.model.head_stack import HeadStack, copy_column, end_column, is_tied, query_column
from trainer.model.heads import HeadOutputs, output_width
from trainer.model.model_config import ModelConfig
from trainer.model.pitch_context import PitchContext, PitchScores
from trainer.model.recurrent import dropout, lstm
from trainer.model.recurrent.recurrent_stack import RecurrentStack

State = list[Any]  # (h, c) of each layer, each `[batch, units]`; of what the model has: `Past`, labels, `NotesSoFar`


class NoteModel(keras.Model):
    """Predicts the fields of each note from those before it.

    The weights belong to this class, in one order and without prefixes: checkpoints rely on their order, bundles on
    their names.

    Args:
      config: its size and shape.
      table: the fields.
      precision: "float32", or "bfloat16" for the products of the LSTM, the context and the heads' hidden layers;
        weights, states, logits and losses are always float32.

    Call arguments:
      previous: `[batch, time, num_fields]` int32, bins of the note before; `start_bins` at the start of a piece.
      current: `[batch, time, num_fields]` int32, bins of the notes predicted.
      state: from `zero_state`, `state_before` or the last call.
      dropout_keys: `[batch, 2]` uint32, a stream per sequence, or None for no dropout of inputs and embeddings.
      step_key: `[2]` uint32, the stream of the whole step, or None for no recurrent dropout.
      raw: `[batch, time, num_fields]` int32, values of the notes predicted; a context and copying need them.
      is_note: `[batch, time]`, 0 where there is none; a context and copying need it.

    Returns:
      `HeadOutputs`, and the state after the last time step.
    """

    def __init__(self, config: ModelConfig, table: fields_lib.FieldTable, *, precision: str = "float32"):
        super().__init__()
        self.config, self.table, self.precision = config, table, precision
        self._add_embeddings()
        self._add_lstm_layers()
        self.context: PitchContext | None = None
        self._context_reader: ContextReader | None = None
        if config.context_units:
            self._add_context()
        self.copying: copying.Copying | None = None
        self._sources = config.sources
        if self._sources is not None:
            self.copying = copying.Copying(table, self._sources, head_input_units=query_column(table, config))
        self._add_heads()
        self.built = True

        self.recurrent_stack = RecurrentStack(
            config, table, embeddings=self.embeddings, lstm_layers=self.lstm_layers, norms=self.norms
        )
        self._head_stack = HeadStack(
            config,
            table,
            precision=precision,
            kernel=self.head_kernel,
            bias=self.head_bias,
            conditions=self.conditions,
            output_kernels=self.output_kernels,
            output_biases=self.output_biases,
            embeddings=self.embeddings,
            copy_weights=self.copying,
        )

    def _add_embeddings(self) -> None:
        normal = keras.initializers.RandomNormal(stddev=len(self.table) ** -0.5)  # their sum has unit variance
        units, head_units = self.config.units, self.config.head_units
        self.embeddings = [
            self.add_weight(name=f"embedding_{field.name}", shape=(field.num_bins + 1, units), initializer=normal)
            for field in self.table
        ]
        self._label_tables = [
            self.add_weight(name=f"label_{each.name}", shape=(each.size, units), initializer="zeros")
            for each in self.table.labels
        ]
        self.conditions = {
            (field.name, other.name): self.add_weight(
                name=f"condition_{field.name}_{other.name}", shape=(other.num_bins, head_units), initializer=normal
            )
            for index, field in enumerate(self.table)
            for other in self.table.fields[:index]
        }

    def _add_lstm_layers(self) -> None:
        """The layers, and the norms of what enters the layers above the first and the heads."""
        config = self.config
        self.lstm_layers = [
            lstm.LSTM(config.units, precision=self.precision, name=f"lstm_{index}") for index in range(config.layers)
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

    def _add_context(self) -> None:
        config = self.config
        self.context = PitchContext(
            config.context_units,
            input_units=config.units,
            head_input_units=query_column(self.table, config),
            lags=config.context_lags,
            periods=config.context_periods,
            precision=self.precision,
        )
        stream = config.layers + 1 + len(self.table)  # lower streams drop inputs and embeddings
        self._context_reader = ContextReader(self.context, config, self.table, dropout_stream=stream)

    def _add_heads(self) -> None:
        """Kernels and biases; a tied projection begins so that its product with the table is as wide as a kernel."""
        glorot = keras.initializers.GlorotUniform()
        units, head_units = self.config.units, self.config.head_units
        width = copy_column(self.table, self.config)
        if self._sources is not None:
            width += copying.query_units(self.table, self._sources)
        self.head_kernel = self.add_weight(name="head_kernel", shape=(units, width), initializer=glorot)
        self.head_bias = self.add_weight(name="head_bias", shape=(width,), initializer="zeros")
        self.output_kernels, self.output_biases = [], []
        for field in self.table:
            width = output_width(field)
            name, shape, initial = f"output_kernel_{field.name}", (head_units, width), glorot
            if is_tied(field, self.config):
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
        config = self.config
        copied = 0 if self._sources is None else self._sources.memory
        return max(config.context_notes if config.context_units else 0, copied)

    @property
    def end_column(self) -> int:
        """The column of `head_inputs` that holds END's logit."""
        return end_column(self.table, self.config)

    def zero_state(self, batch_size: int | tf.Tensor) -> State:
        """The state of pieces that have not begun."""
        zeros = tf.zeros([batch_size, self.config.units])
        state: State = [(zeros, zeros) for _ in self.lstm_layers]
        if self._sources is not None:
            state.append(past.nothing_before(batch_size, sources=self._sources, num_fields=len(self.table)))
        if self._label_tables:
            state.append(self._label_inputs(tf.zeros([batch_size, len(self._label_tables)], tf.int32)))
        if self._context_reader is not None:
            state.append(self._context_reader.empty_state(batch_size))
        return state

    @property
    def _label_place(self) -> int:
        """The index in a state of what the labels add to the first layer's inputs."""
        return self.config.layers + (self._sources is not None)

    def _label_inputs(self, labels: tf.Tensor) -> tf.Tensor:
        """`[batch, units]`, from `[batch, labels]` int32."""
        indices = tf.unstack(labels, num=len(self._label_tables), axis=1)
        return tf.add_n([tf.gather(table, index) for table, index in zip(self._label_tables, indices, strict=True)])

    def with_labels(self, state: State, labels: tf.Tensor) -> State:
        """The state of pieces with these labels; in `zero_state` all are unknown.

        Args:
          labels: `[batch, labels]` int32, as in `Pieces.labels`.
        """
        if not self._label_tables:
            return state
        place = self._label_place
        return [*state[:place], self._label_inputs(labels), *state[place + 1 :]]

    def state_before(self, batch: Mapping[str, Any]) -> State:
        """The state at the start of a batch's windows: the LSTM knows nothing, a context the notes before."""
        state = self.with_labels(self.zero_state(tf.shape(batch["bins"])[0]), batch["labels"])
        if self._sources is not None:
            seen = slice(-self._sources.memory, None)
            before, is_note = batch["before"][:, seen], batch["before_is_note"][:, seen]
            state[self.config.layers] = past.past_of(self.table, self._sources, before, is_note)
        if self._context_reader is None:
            return state
        return [*state[:-1], self._context_reader.state_before(batch)]

    def call(
        self,
        previous: tf.Tensor,
        current: tf.Tensor,
        state: State,
        dropout_keys: tf.Tensor | None = None,
        step_key: tf.Tensor | None = None,
        raw: tf.Tensor | None = None,
        is_note: tf.Tensor | None = None,
    ) -> tuple[HeadOutputs, State]:
        reader, layers = self._context_reader, self.config.layers
        candidates = None
        pasts: State = []
        if self._sources is not None:
            candidates, copied = self._window_candidates(self._sources, state[layers], raw, is_note, dropout_keys)
            pasts.append(copied)
        window = scores = seen = None
        if self._label_tables:
            pasts.append(state[self._label_place])
        if reader is not None:
            window = reader.window(state[-1], raw, is_note)
            seen = reader.window_inputs(state[-1], window)
        inputs = self._with_label_inputs(seen, state)
        h, new_state = self.recurrent_stack(previous, inputs, state[:layers], dropout_keys, step_key)
        head_inputs = self._head_stack.inputs(h)
        if reader is not None and window is not None:
            head_inputs, scores, after = reader.score_window(state[-1], window, head_inputs, dropout_keys)
            pasts.append(after)
        head_inputs = self._with_levels(head_inputs, candidates)
        return self._head_stack.outputs(head_inputs, current, scores, candidates), [*new_state, *pasts]

    def _window_candidates(
        self, sources: Sources, before: past.Past, raw: tf.Tensor, is_note: tf.Tensor, dropout_keys: tf.Tensor | None
    ) -> tuple[Candidates, past.Past]:
        """What the events of a window may copy, some rows nothing in training, and the past after it."""
        config, stream = self.config, self.config.layers + 2 + len(self.table)
        length = before.bins.shape[2] + tf.shape(raw)[1]
        is_hidden = echoes.hidden(dropout_keys, rate=config.attention_gaps, stream=stream, notes=length)
        candidates, after = past.window_candidates(self.table, sources, before, raw, is_note, is_hidden)
        copies = dropout.keep_units(dropout_keys, rate=config.attention_dropout, stream=stream + 1, width=4)
        if copies is not None:
            candidates = candidates._replace(amount=tf.cast(copies[:, 0] > 0, tf.float32))
        return candidates, after

    def _with_label_inputs(self, inputs: tf.Tensor | None, state: State) -> tf.Tensor | None:
        """What is added to the embeddings, `[batch, time, units]`: what a context says, and the labels."""
        if not self._label_tables:
            return inputs
        own = state[self._label_place][:, None]
        return own if inputs is None else inputs + own

    def _with_levels(self, head_inputs: tf.Tensor, candidates: Candidates | None) -> tf.Tensor:
        return head_inputs if candidates is None else self._head_stack.with_levels(head_inputs, candidates)

    def trunk(self, previous: tf.Tensor, state: State) -> tuple[tf.Tensor, State]:
        """What the heads see of one event, `[batch, 1, units]`, and the state after it; neither depends on the note.

        A sampler calls `trunk`, `head_inputs`, then `score_pitches` when it knows the note's step, `head` for each
        field, and `remember` when it knows the note.

        Args:
          previous: `[batch, 1, num_fields]` int32, bins of the note before.
          state: before the event.
        """
        seen = None if self._context_reader is None else self._context_reader.event_inputs(state[-1])
        inputs = self._with_label_inputs(seen, state)
        h, new_state = self.recurrent_stack(previous, inputs, state[: self.config.layers], None, None)
        return h, [*new_state, *state[self.config.layers :]]

    def head_inputs(self, h: tf.Tensor, state: State) -> tf.Tensor:
        """`[batch, width]`, what the heads take of one event before its step is known; END's logit is one column.

        Args:
          h: `[batch, 1, units]`, of `trunk`.
          state: of `trunk`.
        """
        inputs = self._head_stack.inputs(h)
        if self._context_reader is not None:
            inputs = self._context_reader.with_above(inputs, state[-1].above[:, None])
        return self._with_levels(inputs, self.candidates(state))[:, 0]

    def candidates(self, state: State) -> Candidates | None:
        """What one more event may copy; None without copying.

        Args:
          state: of `trunk`.
        """
        if self._sources is None:
            return None
        return past.event_candidates(self.table, self._sources, state[self.config.layers])

    def score_pitches(self, state: State, head_inputs: tf.Tensor, step: tf.Tensor) -> PitchScores | None:
        """What the notes so far say of one more event; None without a context.

        Args:
          state: of `trunk`.
          head_inputs: `[batch, width]`.
          step: `[batch]` int32, ticks since the note before.
        """
        if self._context_reader is None:
            return None
        return self._context_reader.score_event(state[-1], head_inputs, step)

    def head(
        self,
        index: int,
        head_inputs: tf.Tensor,
        bins: Sequence[tf.Tensor],
        scores: PitchScores | None = None,
        candidates: Candidates | None = None,
    ) -> tf.Tensor:
        """The output of the field at `index` of the table, as in `HeadOutputs`.

        Args:
          index: of the field.
          head_inputs: `[..., width]`.
          bins: `[...]` int32 each, of this note's fields before `index`.
          scores: of `score_pitches`, for the pitch of a model with a context.
          candidates: of `candidates`, for a model that copies.
        """
        return self._head_stack.output(index, head_inputs, bins, scores, candidates)

    def remember(self, state: State, raw: tf.Tensor, scores: PitchScores | None) -> State:
        """The state with a note that was drawn.

        Args:
          state: of `trunk`.
          raw: `[batch, num_fields]` int32, the note's values.
          scores: of `score_pitches` for this note.
        """
        state = list(state)
        if self._sources is not None:
            before = state[self.config.layers]
            state[self.config.layers] = past.remember(self.table, self._sources, before, raw)
        if scores is not None:
            state[-1] = pitch_context.remember(state[-1], self.table, raw, scores)
        return state

    def field_nll(
        self,
        field: fields_lib.FieldSpec,
        outputs: HeadOutputs,
        targets: Mapping[str, Any],
        deviation: tf.Tensor | float | None = None,
    ) -> tf.Tensor:
        """What a field costs at each position: exact nats over the ticks of the grid.

        The costs of all fields over a piece add up to its negative log-likelihood.

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
        """`[batch, time]` float64, the value that a field's head finds likeliest, in ticks for a time field."""
        return heads.guess(field, outputs.fields[field.name])
