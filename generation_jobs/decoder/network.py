"""The note model in the form that decoding needs: one event in every slot, from a bundle's folded weights.

It computes the same numbers as `trainer.model.note_model.NoteModel`, with a state of the same layout.

The first layer's input product is folded into the embedding tables: a row per bin holds what it adds to the gates'
sums. In the other layers the input kernel and the recurrent kernel are stacked, for one product; in the first layer too
when a context adds to its input. A layer norm's scale and shift are folded into the kernel and bias that follow, and
tied output kernels are multiplied out.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from midi_codec import fields
from trainer.bundle import Bundle
from trainer.model import context, pitch_context
from trainer.model.attention import copying, past
from trainer.model.attention.past import Candidates
from trainer.model.head_stack import END_COLUMNS, copy_column, query_column
from trainer.model.heads import head_output, standardise, tied_kernel
from trainer.model.model_config import ModelConfig
from trainer.model.pitch_context import NotesSoFar, PitchScores

State = list[Any]  # each layer's (h, c), `[slots, units]`, when copying `Past`, and with a context `NotesSoFar`
Arrays = tuple[np.ndarray, ...]


class HeadInputs(NamedTuple):
    """What the heads take of an event, `[slots, width]`, and what it may copy."""

    columns: tf.Tensor
    candidates: Candidates | None


class Network:
    """The stages of an event: `trunk`, `head` per field, `score_pitches` once the step is drawn, `remember`.

    Args:
      bundle: the model.
    """

    def __init__(self, bundle: Bundle) -> None:
        self._table, self._config = bundle.fields, ModelConfig(**bundle.config)
        config = self._config
        self._weights = _fold(bundle.weights, self._table, config)
        self._context = None
        if config.context_units:
            self._context = pitch_context.Weights.of_bundle(bundle.weights, config.context_periods)
        self._copying = None
        self._sources = config.sources
        if self._sources is not None:
            self._copying = copying.Weights.of_bundle(bundle.weights, self._table)

    @property
    def end_column(self) -> int:
        """The column of END's logit in `head_inputs`."""
        return len(self._table) * self._config.head_units

    def end_logit(self, head_inputs: HeadInputs) -> tf.Tensor:
        """`[slots]`, log odds that the piece ends here."""
        return head_inputs.columns[:, self.end_column]

    def zero_state(self, slots: int) -> State:
        """The state of pieces that have not begun."""
        config, zeros = self._config, tf.zeros([slots, self._config.units])
        state: State = [(zeros, zeros) for _ in range(config.layers)]
        if self._sources is not None:
            state.append(past.nothing_before(slots, sources=self._sources, num_fields=len(self._table)))
        if self._context is not None:
            notes, lags, units = config.context_notes, config.context_lags, config.context_units
            state.append(pitch_context.nothing_so_far(slots, notes=notes, lags=lags, units=units))
        return state

    def trunk(
        self, previous: tf.Tensor, state: State, copying_amount: tf.Tensor | None = None
    ) -> tuple[HeadInputs, State]:
        """The heads' inputs, and the state after: all that does not depend on the event's note.

        Args:
          previous: `[slots, num_fields]` int32, bins of the previous note.
          state: before the event.
          copying_amount: `[slots]` float32 from 0 to 1, how much copying counts; None for 1.
        """
        weights = self._weights
        sums = tf.add_n([tf.gather(table, previous[:, index]) for index, table in enumerate(weights["tables"])])
        x, after = None, []
        for index, (h, c) in enumerate(state[: self._config.layers]):
            kernel = weights["lstm_kernels"][index]
            below = h if x is None else tf.concat([self._standardise(x), h], axis=1)
            if x is None and self._context is not None:
                below = tf.concat([self._context_inputs(state[-1]), h], axis=1)
            gates = tf.matmul(below, kernel) + (sums if x is None else weights["lstm_biases"][index])
            h, c = gated(gates, c)
            x = x + h if self._config.residual and x is not None else h
            after.append((h, c))
        outputs = self._standardise(x)
        if self._context is not None:
            outputs = tf.concat([outputs, state[-1].above], axis=1)
        head_inputs = tf.matmul(outputs, weights["head_kernel"]) + weights["head_bias"]
        candidates = None
        if self._copying is not None and self._sources is not None:
            candidates = past.event_candidates(self._table, self._sources, state[self._config.layers])
            candidates = candidates._replace(amount=copying_amount)
            gap = copy_column(self._table, self._config) - query_column(self._table, self._config)
            head_inputs += copying.level_inputs(self._copying, self._table, candidates, gap=gap)[:, 0]
        return HeadInputs(head_inputs, candidates), [*after, *state[self._config.layers :]]

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
        return pitch_context.score_pitches(self._context, surroundings, onset, query)

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
          state: before the notes.
          counts: `[rows]` int32, how many of the notes are real.
        """
        if self._context is None:
            layers = self._config.layers
            after = self._consume_by_layer(previous, state[:layers], counts)
            if self._sources is not None:
                after.append(past.past_after(self._table, self._sources, state[layers], values, counts))
            return after
        step = self._table.names.index("step")

        def body(position: tf.Tensor, state: State) -> tuple[tf.Tensor, State]:
            # one note at a time: a note's context depends on the note before
            head_inputs, after = self.trunk(previous[:, position], state)
            pitch_scores = self.score_pitches(head_inputs, after, values[:, position, step])
            after = self.remember(after, values[:, position], pitch_scores)
            return position + 1, keep_rows(position < counts, after, state)

        num_notes = values.shape[1]
        _, state = tf.while_loop(
            lambda position, _: position < num_notes, body, (0, state), maximum_iterations=num_notes
        )
        return state

    def _consume_by_layer(self, previous: tf.Tensor, state: State, counts: tf.Tensor) -> State:
        """Layer by layer: one input product for all notes; only the recurrent product waits for the note before."""
        weights, units, num_notes = self._weights, self._config.units, previous.shape[1]
        before = tf.transpose(previous, [1, 0, 2])  # time first
        sums = tf.add_n([tf.gather(table, before[:, :, index]) for index, table in enumerate(weights["tables"])])
        x, after = None, []
        for index, (h, c) in enumerate(state):
            kernel = weights["lstm_kernels"][index]
            if x is not None:
                flat = tf.reshape(self._standardise(x), [-1, units])
                sums = tf.reshape(tf.matmul(flat, kernel[:units]) + weights["lstm_biases"][index], sums.shape)
                kernel = kernel[units:]
            outputs = tf.TensorArray(tf.float32, num_notes, element_shape=h.shape)

            def body(
                position: tf.Tensor,
                h: tf.Tensor,
                c: tf.Tensor,
                outputs: tf.TensorArray,
                sums: tf.Tensor = sums,
                kernel: tf.Tensor = kernel,
            ) -> tuple[Any, ...]:
                new = gated(sums[position] + tf.matmul(h, kernel), c)
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
        return pitch_context.inputs(self._context, so_far.around[:, None], so_far.now, chord_size)[:, 0]

    def _standardise(self, x: tf.Tensor) -> tf.Tensor:
        """Layer norm without its scale and shift, which are folded into the kernel that follows."""
        return standardise(x) if self._config.layer_norm else x


def gated(sums: tf.Tensor, c: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """An LSTM's h and c, `[rows, units]`, from the gates' sums `[rows, 4 units]` and the previous c."""
    i, f, g, o = tf.split(sums, 4, axis=1)  # Keras's order
    c = tf.sigmoid(f) * c + tf.sigmoid(i) * tf.tanh(g)
    return tf.sigmoid(o) * tf.tanh(c), c


def keep_rows(is_new: tf.Tensor, new: Any, old: Any) -> Any:
    """The rows of the new state where `is_new`, `[rows]` bool; those of the old one elsewhere."""

    def choose(after: tf.Tensor, before: tf.Tensor) -> tf.Tensor:
        return tf.where(tf.reshape(is_new, [-1] + [1] * (len(after.shape) - 1)), after, before)

    return tf.nest.map_structure(choose, new, old)


def _fold(weights: dict[str, np.ndarray], table: fields.FieldTable, config: ModelConfig) -> dict[str, Any]:
    """The bundle's weights as `Network` needs them."""
    layers = [_folded_layer(weights, config, index) for index in range(config.layers)]
    kernel, recurrent, bias = zip(*layers, strict=True)
    tables = [weights[f"embedding_{field.name}"] @ kernel[0] for field in table]
    tables[0] = tables[0] + bias[0]
    first = [np.zeros_like(kernel[0][:0]) if not config.context_units else kernel[0]]
    stacked = [np.concatenate(pair) for pair in zip([*first, *kernel[1:]], recurrent, strict=True)]
    head_kernel, head_bias = _folded_norm(weights, config, config.layers, weights["head_kernel"], weights["head_bias"])
    if config.context_units:
        above = weights[f"{pitch_context.NAME}/above_kernel"]
        above = np.pad(above, [[0, 0], [0, head_kernel.shape[1] - above.shape[1]]])
        head_kernel = np.concatenate([head_kernel, above])
    return {
        "tables": [tf.constant(t) for t in tables],
        "lstm_kernels": [tf.constant(k) for k in stacked],
        "lstm_biases": [tf.constant(b) for b in bias],
        "head_kernel": tf.constant(head_kernel),
        "head_bias": tf.constant(head_bias),
        "conditions": [
            [tf.constant(weights[f"condition_{field.name}_{other.name}"]) for other in table.fields[:index]]
            for index, field in enumerate(table)
        ],
        "output_kernels": [_output_kernel(weights, field) for field in table],
        "output_biases": [tf.constant(weights[f"output_bias_{field.name}"]) for field in table],
    }


def _folded_layer(weights: dict[str, np.ndarray], config: ModelConfig, layer: int) -> Arrays:
    """Kernel, recurrent kernel and bias of an LSTM layer, with the layer norm before it folded in."""
    kernel, recurrent, bias = (
        weights[f"lstm_{layer}/lstm_cell/{name}"] for name in ("kernel", "recurrent_kernel", "bias")
    )
    kernel, bias = _folded_norm(weights, config, layer, kernel, bias)
    return kernel, recurrent, bias


def _folded_norm(
    weights: dict[str, np.ndarray], config: ModelConfig, index: int, kernel: np.ndarray, bias: np.ndarray
) -> Arrays:
    """Kernel and bias that do to standardised inputs what the given ones do to normalised inputs."""
    if not config.layer_norm or index == 0:
        return kernel, bias
    scale, shift = weights[f"norm_{index}_scale"], weights[f"norm_{index}_shift"]
    return scale[:, None] * kernel, bias + shift @ kernel


def _output_kernel(weights: dict[str, np.ndarray], field: fields.FieldSpec) -> tf.Tensor:
    projection = weights.get(f"output_projection_{field.name}")
    if projection is None:
        return tf.constant(weights[f"output_kernel_{field.name}"])
    return tied_kernel(field, projection, weights[f"embedding_{field.name}"])
