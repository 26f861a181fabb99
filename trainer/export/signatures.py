"""The signatures of an exported model: the note model's own steps, between values of notes instead of bins.

With a context the state holds a memory of notes, which are integers: then `state` and `hidden` are rows of int32 that
hold floats bit by bit. With labels the state holds those of its piece, and `state` is such a row, too. The pitch scores
of a note are computed when its pitch is drawn, and once more by the next `step`, which remembers the note: between the
two only the note itself has to be passed on.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from midi_codec import fields
from trainer.bundle import Bundle
from trainer.model import mixture
from trainer.model.field_bins import encode_bins
from trainer.model.note_model import State
from trainer.sampling import field_sampling

NO_NOTE = -1  # every value of the note before a piece's first note


class Signatures:
    """Functions of a bundle's model for a SavedModel.

    Attributes:
      module: holds the weights; what `tf.saved_model.save` takes.
    """

    def __init__(self, bundle: Bundle):
        self._bundle, self._table = bundle, bundle.fields
        self._model = bundle.build_model()
        self.module = tf.Module()
        # Only the variables: with the whole Keras model, a second model would be saved beside ours.
        self.module.weights = [weight.value for weight in self._model.weights]

    def functions(self) -> dict[str, Any]:
        """The functions by signature name; each returns a dict of tensors."""
        model, num_fields = self._model, len(self._table)
        note = tf.TensorSpec([None, num_fields], tf.int32, "note")
        start = (
            tf.function(self.start, autograph=False)
            .get_concrete_function(tf.TensorSpec([], tf.int32))
            .structured_outputs["state"]
        )
        state = tf.TensorSpec([None, *start.shape[1:]], start.dtype, "state")
        hidden = self._packed_hidden(tf.zeros([1, model.head_bias.shape[0]]), model.zero_state(1))
        hidden = tf.TensorSpec([None, hidden.shape[1]], hidden.dtype, "hidden")
        uniform = tf.TensorSpec([None, 2 * num_fields], tf.float32, "uniform")
        temperature = tf.TensorSpec([None], tf.float32, "temperature")
        notes = tf.TensorSpec([None, None, num_fields], tf.int32, "notes")
        length = tf.TensorSpec([None], tf.int32, "length")
        batch_size = tf.TensorSpec([], tf.int32, "batch_size")
        labels = tf.TensorSpec([None, len(self._table.labels)], tf.int32, "labels")
        signatures: dict[str, tuple[Callable[..., dict[str, tf.Tensor]], list[tf.TensorSpec]]] = {
            "start": (self.start, [batch_size]),
            "step": (self.step, [note, state]),
            "draw": (self.draw, [note, hidden, uniform, temperature]),
            "likelihood": (self.likelihood, [notes, length]),
        }
        if self._table.labels:
            signatures["start_with_labels"] = (self.start, [batch_size, labels])
            signatures["likelihood_with_labels"] = (self.likelihood, [notes, length, labels])
        for index, field in enumerate(self._table):
            signatures[f"head_{field.name}"] = (self._head_function(index), [hidden, note])
        return {name: _trace(function, *specs) for name, (function, specs) in signatures.items()}

    def start(self, batch_size: tf.Tensor, labels: tf.Tensor | None = None) -> dict[str, tf.Tensor]:
        """What comes before the first note: `note` `[batch, num_fields]`, `state` `[batch, layers, 2, units]`.

        `labels` `[batch, labels]` int32 is 0 for unknown, i + 1 for value i; None if all are unknown.
        """
        state = self._zero_state(batch_size, labels)
        head_inputs = tf.zeros([batch_size, self._model.head_bias.shape[0]])
        note = tf.fill([batch_size, len(self._table)], NO_NOTE)
        return {"note": note, "state": self._packed_state(state, head_inputs)}

    def _zero_state(self, batch_size: tf.Tensor, labels: tf.Tensor | None) -> State:
        state = self._model.zero_state(batch_size)
        return state if labels is None else self._model.with_labels(state, labels)

    def step(self, note: tf.Tensor, state: tf.Tensor) -> dict[str, tf.Tensor]:
        """From the note before: END's log odds `[batch]`, `hidden` for the heads, and the state after."""
        before = self._remember(note, state) if self._has_words else _unpack(state)
        h, after = self._model.trunk(self._bins_before(note)[:, None, :], before)
        head_inputs = self._model.head_inputs(h, after)
        return {
            "end_log_odds": head_inputs[:, self._model.end_column],
            "hidden": self._packed_hidden(head_inputs, after),
            "state": self._packed_state(after, head_inputs),
        }

    def _remember(self, note: tf.Tensor, state: tf.Tensor) -> State:
        """A state that is a row of words, unpacked and with `note` added; rows without a note keep theirs."""
        model = self._model
        zeros = (model.zero_state(1), tf.zeros([1, model.head_bias.shape[0]]))
        before, head_inputs = _from_words(state, zeros)
        is_none = note[:, 0] < 0
        note = tf.where(is_none[:, None], [field.lows[0] for field in self._table], note)  # values that have bins
        scores = model.score_pitches(before, head_inputs, note[:, self._table.names.index("step")])
        after = model.remember(before, note, scores)

        def choose(old: tf.Tensor, new: tf.Tensor) -> tf.Tensor:
            return tf.where(tf.reshape(is_none, [-1] + [1] * (len(old.shape) - 1)), old, new)

        return tf.nest.map_structure(choose, before, after)

    def _packed_state(self, state: State, head_inputs: tf.Tensor) -> tf.Tensor:
        return _words((state, head_inputs)) if self._has_words else _pack(state)

    def _packed_hidden(self, head_inputs: tf.Tensor, state: State) -> tf.Tensor:
        return _words((head_inputs, self._memories(state))) if self._has_memory else head_inputs

    def _unpacked_hidden(self, hidden: tf.Tensor) -> tuple[tf.Tensor, State]:
        """The head inputs, and as much of the state as `score_pitches` and `candidates` need."""
        model = self._model
        if not self._has_memory:
            return hidden, []
        state = model.zero_state(tf.shape(hidden)[0])
        like = (tf.zeros([1, model.head_bias.shape[0]]), self._memories(model.zero_state(1)))
        head_inputs, memories = _from_words(hidden, like)
        if model.copying is not None:
            state[model.config.layers] = memories[0]
        if model.context is not None:
            state[-1] = state[-1]._replace(memory=memories[-1])
        return head_inputs, state

    @property
    def _has_memory(self) -> bool:
        """Whether the state holds notes."""
        return self._model.memory > 0

    @property
    def _has_words(self) -> bool:
        """Whether the state holds more than the layers'."""
        return self._has_memory or bool(self._table.labels)

    def _memories(self, state: State) -> list[Any]:
        """The notes that a state holds."""
        model = self._model
        copied = [] if model.copying is None else [state[model.config.layers]]
        return copied if model.context is None else [*copied, state[-1].memory]

    def _head(self, index: int, hidden: tf.Tensor, bins: Sequence[tf.Tensor], step: tf.Tensor | None) -> tf.Tensor:
        """The output of a head, given the bins of the note's fields before it, and the note's step."""
        head_inputs, state = self._unpacked_hidden(hidden)
        is_pitch = self._table.fields[index].name == "pitch"
        scores = self._model.score_pitches(state, head_inputs, step) if is_pitch else None
        candidates = self._model.candidates(state)
        return self._model.head(index, head_inputs, bins, scores, candidates)

    def draw(
        self, note: tf.Tensor, hidden: tf.Tensor, uniform: tf.Tensor, temperature: tf.Tensor
    ) -> dict[str, tf.Tensor]:
        """Draws the next note `[batch, num_fields]`, with its log likelihood `[batch]` at temperature 1.

        `note` is the one before it, `uniform` is in (0, 1), temperature 0 takes the likeliest values.
        """
        step = self._table.names.index("step")
        settings = field_sampling.RowSettings(temperature)
        drawn = field_sampling.draw_note(
            self._table,
            lambda index, bins, values: self._head(index, hidden, bins, values[step] if values else None),
            uniform,
            settings,
            previous=self._bins_before(note),
            is_first=note[:, 0] < 0,
            deviations=self._bundle.deviations,
            allow_duplicates=self._bundle.may_have_duplicate_notes,
        )
        return {"note": drawn.values, "log_likelihood": drawn.log_likelihood}

    def _head_function(self, index: int) -> Callable[..., dict[str, tf.Tensor]]:
        field = self._table.fields[index]

        def head(hidden: tf.Tensor, note: tf.Tensor) -> dict[str, tf.Tensor]:
            """The field's distribution, given the note's fields that come before it; the others are not read."""
            bins = [self._encode(before, note[:, column]) for column, before in enumerate(self._table.fields[:index])]
            output = self._head(index, hidden, bins, note[:, self._table.names.index("step")])
            if field.loss == fields.MSE:
                deviation = tf.fill(tf.shape(output), np.float32(self._bundle.deviations[field.name]))
                return {"mean": output, "deviation": deviation}
            if field.loss == fields.MIXTURE:
                predicted = mixture.Mixture.of(output)
                names = ("log_weights", "locations", "log_scales")
                return {name: getattr(predicted, name) for name in names}
            return {"log_probabilities": tf.nn.log_softmax(output)[:, : field.num_bins]}

        return head

    def likelihood(self, notes: tf.Tensor, length: tf.Tensor, labels: tf.Tensor | None = None) -> dict[str, tf.Tensor]:
        """Exact nats of whole pieces: `nll` `[batch, time + 1, num_fields]` float64, END's in `pitch`.

        `notes` holds each piece's values from its first note on, `length` its number of notes; later values are not
        read and cost 0. `labels` are as in `start`.
        """
        batch, time = tf.shape(notes)[0], tf.shape(notes)[1]
        index = tf.range(time + 1)[None, :]
        is_note, is_end = index < length[:, None], index == length[:, None]
        lowest = tf.constant([field.lows[0] for field in self._table], tf.int32)
        raw = tf.concat([notes, tf.zeros([batch, 1, len(self._table)], tf.int32)], axis=1)
        raw = tf.where(is_note[..., None], raw, lowest)  # a value that has a bin
        columns = [self._encode(field, raw[..., column]) for column, field in enumerate(self._table)]
        bins = tf.stack(columns, axis=-1)
        first = tf.tile(tf.constant(self._model.start_bins)[None, None], [batch, 1, 1])
        state = self._zero_state(batch, labels)
        previous = tf.concat([first, bins[:, :-1]], axis=1)
        outputs, _ = self._model(previous, bins, state, raw=raw, is_note=tf.cast(is_note, tf.float32))
        targets = {
            "bins": bins,
            "raw": raw,
            "is_note": tf.cast(is_note, tf.float32),
            "is_end": tf.cast(is_end, tf.float32),
        }
        costs = [self._model.field_nll(f, outputs, targets, self._bundle.deviations.get(f.name)) for f in self._table]
        return {"nll": tf.stack(costs, axis=-1)}

    def _bins_before(self, note: tf.Tensor) -> tf.Tensor:
        """`[batch, num_fields]` bins of the note before; those of the start where there is none."""
        is_none = note[:, :1] < 0
        columns = [self._encode(field, note[:, index]) for index, field in enumerate(self._table)]
        return tf.where(is_none, self._model.start_bins, tf.stack(columns, axis=1))

    def _encode(self, field: fields.FieldSpec, values: tf.Tensor) -> tf.Tensor:
        """Bins of values of any shape; categories below or above the corpus's range count as its lowest or highest."""
        if field.kind == fields.CATEGORY:
            values = tf.clip_by_value(values, min(field.values), max(field.values))
        return encode_bins(field, values)


def _pack(state: State) -> tf.Tensor:
    """The layers' (h, c) as one tensor `[batch, layers, 2, units]`."""
    return tf.stack([tf.stack(layer, axis=1) for layer in state], axis=1)


def _unpack(state: tf.Tensor) -> State:
    return [(layer[:, 0], layer[:, 1]) for layer in tf.unstack(state, axis=1)]


def _words(values: Any) -> tf.Tensor:
    """Tensors `[batch, ...]` of float32 and integers as one `[batch, width]` int32, floats bit by bit.

    They are not packed as float32: a processor or a text format may change a float that is not a meaningful number.
    """
    flat = [
        tf.bitcast(value, tf.int32) if value.dtype == tf.float32 else tf.cast(value, tf.int32)
        for value in tf.nest.flatten(values)
    ]
    return tf.concat([tf.reshape(value, [tf.shape(value)[0], _width(value)]) for value in flat], axis=1)


def _from_words(words: tf.Tensor, like: Any) -> Any:
    """The inverse of `_words`: tensors in the structure of `like`, whose batch is 1."""
    examples = tf.nest.flatten(like)
    unpacked = []
    for columns, example in zip(tf.split(words, [_width(e) for e in examples], axis=1), examples, strict=True):
        columns = tf.reshape(columns, [-1, *example.shape[1:]])
        is_float = example.dtype == tf.float32
        unpacked.append(tf.bitcast(columns, tf.float32) if is_float else tf.cast(columns, example.dtype))
    return tf.nest.pack_sequence_as(like, unpacked)


def _width(value: tf.Tensor) -> int:
    return int(np.prod(value.shape[1:]))


def _trace(function: Callable[..., Any], *specs: tf.TensorSpec) -> Any:
    return tf.function(function, autograph=False).get_concrete_function(*specs)
