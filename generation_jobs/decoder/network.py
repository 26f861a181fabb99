"""The note model in the form that decoding needs: one event in every slot, from a bundle's folded weights.

It computes the same numbers as `trainer.model.note_model.NoteModel`. Its state has the same layout by row; during the
steps of a call it is kept by feature (`by_feature`): oneDNN repacks the right operand of every product, so the weights
are the left one, `[4 units, K]`, and the state is the right one, `[K, slots]`.

In bfloat16 the operands of the LSTM's and the context's large products, and of the one that gives the head inputs, are
rounded to bfloat16, as in `NoteModel`, and so are these products; everything else stays float32.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from generation_jobs.decoder.folded_weights import fold, label_rows
from generation_jobs.settings.label_weights import NO_CONDITION, Condition
from midi_codec import fields
from trainer.bundle import Bundle
from trainer.model import context, pitch_context
from trainer.model.attention import copying, past
from trainer.model.attention.past import Candidates
from trainer.model.head_stack import END_COLUMNS, copy_column, query_column
from trainer.model.heads import head_output, standardise
from trainer.model.model_config import ModelConfig
from trainer.model.pitch_context import NotesSoFar, PitchScores
from trainer.model.precision import FLOAT32

State = list[Any]  # each layer's (h, c), `[slots, units]` by row; of what the model has: `Past`, labels, `NotesSoFar`


class HeadInputs(NamedTuple):
    """What the heads take of an event, `[slots, width]`, and what it may copy."""

    columns: tf.Tensor
    candidates: Candidates | None


class Network:
    """The stages of an event: `trunk`, `head` per field, `score_pitches` once the step is drawn, `remember`.

    Args:
      bundle: the model.
      precision: of the products, float32 or bfloat16.
    """

    def __init__(self, bundle: Bundle, precision: str = FLOAT32) -> None:
        self._table, self._config = bundle.fields, ModelConfig(**bundle.config)
        config, self._operand = self._config, tf.as_dtype(precision)
        self._weights = fold(bundle.weights, self._table, config, self._operand)
        self._label_rows = label_rows(bundle.weights, self._table, config)
        self._context = None
        if config.context_units:
            self._context = pitch_context.Weights.of_bundle(bundle.weights, config.context_periods)
        self._copying = None
        self._sources = config.sources
        if self._sources is not None:
            self._copying = copying.Weights.of_bundle(bundle.weights, self._table, self._sources)

    @property
    def end_column(self) -> int:
        """The column of END's logit in `head_inputs`."""
        return len(self._table) * self._config.head_units

    def end_logit(self, head_inputs: HeadInputs) -> tf.Tensor:
        """`[slots]`, log odds that the piece ends here."""
        return head_inputs.columns[:, self.end_column]

    def zero_state(self, slots: int, conditions: Sequence[Condition] | None = None) -> State:
        """The state of pieces that have not begun; without conditions of pieces whose labels are unknown."""
        config, zeros = self._config, tf.zeros([slots, self._config.units])
        state: State = [(zeros, zeros) for _ in range(config.layers)]
        if self._sources is not None:
            state.append(past.nothing_before(slots, sources=self._sources, num_fields=len(self._table)))
        if self._label_rows:
            state.append(self._label_gates(conditions or [NO_CONDITION] * slots))
        if self._context is not None:
            notes, lags, units = config.context_notes, config.context_lags, config.context_units
            state.append(pitch_context.nothing_so_far(slots, notes=notes, lags=lags, units=units))
        return state

    @property
    def _label_place(self) -> int:
        """The index in a state of what the labels add to the first layer's gates."""
        return self._config.layers + (self._sources is not None)

    def _label_gates(self, conditions: Sequence[Condition]) -> tf.Tensor:
        """`[slots, 4 units]` float32."""
        gates = np.zeros((len(conditions), 4 * self._config.units), np.float32)
        vocabularies = {label.name: label for label in self._table.labels}
        for row, condition in enumerate(conditions):
            for name, weights in condition.labels:
                for value, weight in weights:
                    gates[row] += np.float32(weight) * self._label_rows[name][vocabularies[name].index(value)]
        return tf.constant(gates)

    def by_feature(self, state: State) -> State:
        """The state as `trunk` takes it: h, in the products' precision, and c of each layer as `[units, slots]`."""
        layers = self._config.layers
        turned = [(self._round(tf.transpose(h)), tf.transpose(c)) for h, c in state[:layers]]
        return [*turned, *self._with_turned_labels(state)[layers:]]

    def _with_turned_labels(self, state: State) -> State:
        place = self._label_place
        return [*state[:place], tf.transpose(state[place]), *state[place + 1 :]] if self._label_rows else state

    def by_row(self, state: State) -> State:
        """What `by_feature` was given: a row of every array belongs to a slot."""
        layers = self._config.layers
        turned = [(tf.transpose(tf.cast(h, tf.float32)), tf.transpose(c)) for h, c in state[:layers]]
        return [*turned, *self._with_turned_labels(state)[layers:]]

    def trunk(
        self, previous: tf.Tensor, state: State, copying_amount: tf.Tensor | None = None
    ) -> tuple[HeadInputs, State]:
        """The heads' inputs, and the state after: all that does not depend on the event's note.

        Args:
          previous: `[slots, num_fields]` int32, bins of the previous note.
          state: before the event, by feature.
          copying_amount: `[slots]` float32 from 0 to 1, how much copying counts; None for 1.
        """
        weights = self._weights
        sums = tf.add_n([tf.gather(table, previous[:, index]) for index, table in enumerate(weights["tables"])])
        sums = tf.transpose(sums)  # before the product is added: rows of a table are faster to read than columns
        if self._label_rows:
            sums += state[self._label_place]
        x, after = None, []
        for index, (h, c) in enumerate(state[: self._config.layers]):
            inputs = [] if x is None else [self._standardise(x, axis=0)]
            if x is None and self._context is not None:
                inputs = [tf.transpose(self._context_inputs(state[-1]))]
            gates = self._product(weights["lstm_kernels"][index], [*inputs, h])
            gates += sums if x is None else weights["lstm_biases"][index][:, None]
            h, c = gated(gates, c, axis=0)
            x = x + h if self._config.residual and x is not None else h
            after.append((self._round(h), c))
        outputs = [self._standardise(x, axis=0)]
        if self._context is not None:
            outputs.append(tf.transpose(state[-1].above))
        head_inputs = tf.transpose(self._product(weights["head_kernel"], outputs)) + weights["head_bias"]
        candidates = None
        if self._copying is not None and self._sources is not None:
            candidates = past.event_candidates(self._table, self._sources, state[self._config.layers])
            candidates = candidates._replace(amount=copying_amount)
            gap = copy_column(self._table, self._config) - query_column(self._table, self._config)
            added = copying.level_inputs(self._copying, self._table, candidates, gap=gap, operand=self._round)
            head_inputs += added[:, 0]
        return HeadInputs(head_inputs, candidates), [*after, *state[self._config.layers :]]

    def _product(self, kernel: tf.Tensor, inputs: Sequence[tf.Tensor]) -> tf.Tensor:
        """`[width, slots]` float32, the product with the inputs `[units, slots]`, one below the other."""
        return tf.cast(tf.matmul(kernel, tf.concat([self._round(x) for x in inputs], axis=0)), tf.float32)

    def _round(self, x: tf.Tensor) -> tf.Tensor:
        """An operand of a product."""
        return tf.cast(x, self._operand)

    def score_pitches(self, head_inputs: HeadInputs, state: State, step: tf.Tensor) -> PitchScores | None:
        """How the notes so far score each pitch for the event; None without a context.

        Args:
          head_inputs, state: from `trunk`.
          step: `[slots]` int32, ticks since the previous note.
        """
        if self._context is None:
            return None
        config, so_far = self._config, state[-1]
        onset = so_far.now + step[:, None]
        surroundings = context.surroundings(
            so_far.memory,
            onset,
            notes=config.context_notes,
            lags=config.context_lags,
            time_base=self._table.time_base,
        )
        first = self.end_column + END_COLUMNS
        query = head_inputs.columns[:, None, first : copy_column(self._table, config)]
        return pitch_context.score_pitches(self._context, surroundings, onset, query, operand=self._round)

    def head(
        self, index: int, head_inputs: HeadInputs, bins: Sequence[tf.Tensor], pitch_scores: PitchScores | None
    ) -> tf.Tensor:
        """The output of the field at `index`, given the bins of this note's fields before it; `NoteModel.head`."""
        size = self._config.head_units
        field = self._table.fields[index]
        hidden = head_inputs.columns[:, index * size : (index + 1) * size]
        for condition, other_bins in zip(self._weights["conditions"][index], bins, strict=True):
            hidden += tf.gather(condition, other_bins)
        product = tf.matmul(tf.nn.relu(hidden), self._weights["output_kernels"][index])
        if field.name == "pitch" and pitch_scores is not None:
            product += context.on_pitch_axis(pitch_scores.scores[:, 0], field.width)
        if head_inputs.candidates is not None and field.loss == fields.CATEGORICAL:
            assert self._copying is not None and self._sources is not None
            count = self._sources.num_candidates
            first = copy_column(self._table, self._config) + index * count
            queries = head_inputs.columns[:, None, first : first + count]
            known = [column[:, None] for column in bins]
            added = copying.added_logits(self._copying, self._table, index, head_inputs.candidates, queries, known)
            product += added[:, 0]
        return head_output(field, product, self._weights["output_biases"][index])

    def remember(self, state: State, values: tf.Tensor, pitch_scores: PitchScores | None) -> State:
        """The state with the event's note added.

        Args:
          state: from `trunk`.
          values: `[slots, num_fields]` int32, the note.
          pitch_scores: from `score_pitches`.
        """
        state, layers = list(state), self._config.layers
        if self._sources is not None:
            state[layers] = past.remember(self._table, self._sources, state[layers], values)
        if pitch_scores is not None:
            state[-1] = pitch_context.remember(state[-1], self._table, values, pitch_scores)
        return state

    def consume(self, previous: tf.Tensor, values: tf.Tensor, state: State, counts: tf.Tensor) -> State:
        """The state after given notes; each row has its own number of them.

        Args:
          previous: `[rows, notes, num_fields]` int32, bins of the note before each note.
          values: `[rows, notes, num_fields]` int32, the notes.
          state: before the notes, by row, as it is afterwards.
          counts: `[rows]` int32, how many of the notes are real.
        """
        if self._context is None:
            layers = self._config.layers
            labels = state[self._label_place] if self._label_rows else None
            after = self._consume_by_layer(previous, state[:layers], counts, labels)
            if self._sources is not None:
                after.append(past.past_after(self._table, self._sources, state[layers], values, counts))
            return after if labels is None else [*after, labels]
        step = self._table.names.index("step")

        def body(position: tf.Tensor, state: State) -> tuple[tf.Tensor, State]:
            # one note at a time: a note's context depends on the note before
            head_inputs, after = self.trunk(previous[:, position], self.by_feature(state))
            pitch_scores = self.score_pitches(head_inputs, after, values[:, position, step])
            after = self.by_row(self.remember(after, values[:, position], pitch_scores))
            return position + 1, keep_rows(position < counts, after, state)

        num_notes = values.shape[1]
        _, state = tf.while_loop(
            lambda position, _: position < num_notes, body, (0, state), maximum_iterations=num_notes
        )
        return state

    def _consume_by_layer(
        self, previous: tf.Tensor, state: State, counts: tf.Tensor, labels: tf.Tensor | None
    ) -> State:
        """Layer by layer: one input product for all notes; only the recurrent product waits for the note before."""
        weights, units, num_notes = self._weights, self._config.units, previous.shape[1]

        def product(x: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
            return tf.cast(tf.matmul(self._round(x), kernel, transpose_b=True), tf.float32)

        before = tf.transpose(previous, [1, 0, 2])  # time first
        sums = tf.add_n([tf.gather(table, before[:, :, index]) for index, table in enumerate(weights["tables"])])
        sums = sums if labels is None else sums + labels
        x, after = None, []
        for index, (h, c) in enumerate(state):
            kernel = weights["lstm_kernels"][index]
            if x is not None:
                flat = tf.reshape(self._standardise(x, axis=-1), [-1, units])
                sums = tf.reshape(product(flat, kernel[:, :units]) + weights["lstm_biases"][index], sums.shape)
                kernel = kernel[:, units:]
            outputs = tf.TensorArray(tf.float32, num_notes, element_shape=h.shape)

            def body(
                position: tf.Tensor,
                h: tf.Tensor,
                c: tf.Tensor,
                outputs: tf.TensorArray,
                sums: tf.Tensor = sums,
                kernel: tf.Tensor = kernel,
            ) -> tuple[Any, ...]:
                new = gated(sums[position] + product(h, kernel), c, axis=1)
                h, c = keep_rows(position < counts, new, (h, c))
                return position + 1, h, c, outputs.write(position, h)

            _, h, c, outputs = tf.while_loop(
                lambda position, *_: position < num_notes, body, (0, h, c, outputs), maximum_iterations=num_notes
            )
            y = outputs.stack()
            x = x + y if self._config.residual and x is not None else y
            after.append((h, c))
        return after

    def _context_inputs(self, so_far: NotesSoFar) -> tf.Tensor:
        assert self._context is not None
        chord_size = so_far.chord_size[:, None]
        seen = so_far.around[:, None]
        return pitch_context.inputs(self._context, seen, so_far.now, chord_size, self._round)[:, 0]

    def _standardise(self, x: tf.Tensor, *, axis: int) -> tf.Tensor:
        """Layer norm without its scale and shift, which are folded into the kernel that follows."""
        return standardise(x, axis=axis) if self._config.layer_norm else x


def gated(sums: tf.Tensor, c: tf.Tensor, *, axis: int) -> tuple[tf.Tensor, tf.Tensor]:
    """An LSTM's h and c from the gates' sums, side by side on one axis, and the previous c."""
    i, f, g, o = tf.split(sums, 4, axis=axis)  # Keras's order
    c = _sigmoid(f) * c + _sigmoid(i) * tf.tanh(g)
    return _sigmoid(o) * tf.tanh(c), c


def _sigmoid(x: tf.Tensor) -> tf.Tensor:
    """`tf.sigmoid` by tanh, which XLA computes in a third of the time."""
    return 0.5 * tf.tanh(0.5 * x) + 0.5


def keep_rows(is_new: tf.Tensor, new: Any, old: Any) -> Any:
    """The rows of the new state where `is_new`, `[rows]` bool; those of the old one elsewhere."""

    def choose(after: tf.Tensor, before: tf.Tensor) -> tf.Tensor:
        return tf.where(tf.reshape(is_new, [-1] + [1] * (len(after.shape) - 1)), after, before)

    return tf.nest.map_structure(choose, new, old)
