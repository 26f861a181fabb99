"""The signatures of an exported model: the note model's own parts, between values of notes instead of bins.

With a context the state has a memory of notes, which is of integers: then `state` and `hidden` are rows of int32, in
which floats stand bit by bit. What a note saw of the notes before it is computed where its pitch is scored, and once
more by the `step` after it, which remembers it: between the two nothing but the note need be handed on.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from midi_codec import fields
from trainer.bundle import Bundle
from trainer.model import mixture
from trainer.sampling import field_sampling

NO_NOTE = -1  # every value of the note before a piece's first


class Signatures:
    """Functions of a bundle's model that can be saved.

    Attributes:
      module: holds the weights; what `tf.saved_model.save` takes.
    """

    def __init__(self, bundle: Bundle):
        self._bundle, self._table = bundle, bundle.fields
        self._model = bundle.build_model()
        self.module = tf.Module()
        # Keras would save a model of its own beside ours: only its variables are given to TensorFlow.
        self.module.weights = [weight.value for weight in self._model.weights]

    def functions(self) -> dict[str, Any]:
        """By name of the signature; each gives a dict of tensors."""
        model, num_fields = self._model, len(self._table)
        note = tf.TensorSpec([None, num_fields], tf.int32, "note")
        start = tf.function(self.start).get_concrete_function(tf.TensorSpec([], tf.int32)).structured_outputs["state"]
        state = tf.TensorSpec([None, *start.shape[1:]], start.dtype, "state")
        hidden = self._packed_hidden(tf.zeros([1, model.head_bias.shape[0]]), model.zero_state(1))
        hidden = tf.TensorSpec([None, hidden.shape[1]], hidden.dtype, "hidden")
        uniform = tf.TensorSpec([None, 2 * num_fields], tf.float32, "uniform")
        temperature = tf.TensorSpec([None], tf.float32, "temperature")
        notes = tf.TensorSpec([None, None, num_fields], tf.int32, "notes")
        length = tf.TensorSpec([None], tf.int32, "length")
        signatures: dict[str, tuple[Callable, list[tf.TensorSpec]]] = {
            "start": (self.start, [tf.TensorSpec([], tf.int32, "batch_size")]),
            "step": (self.step, [note, state]),
            "draw": (self.draw, [note, hidden, uniform, temperature]),
            "likelihood": (self.likelihood, [notes, length]),
        }
        for index, field in enumerate(self._table):
            signatures[f"head_{field.name}"] = (self._head_function(index), [hidden, note])
        return {
            name: tf.function(function).get_concrete_function(*specs) for name, (function, specs) in signatures.items()
        }

    def start(self, batch_size):
        """What stands before the first note: `note` `[batch, num_fields]`, `state` `[batch, layers, 2, units]`."""
        state, parts = self._model.zero_state(batch_size), tf.zeros([batch_size, self._model.head_bias.shape[0]])
        return {"note": tf.fill([batch_size, len(self._table)], NO_NOTE), "state": self._packed_state(state, parts)}

    def step(self, note, state):
        """From the note before: END's log odds `[batch]`, `hidden` for the heads, and the state after."""
        before = self._remembered(note, state) if self._model.context is not None else _unpack(state)
        h, after = self._model.trunk(self._bins_before(note)[:, None, :], before)
        parts = self._model.parts(h, after)
        hidden, state = self._packed_hidden(parts, after), self._packed_state(after, parts)
        return {"end_log_odds": parts[:, self._model.end_column], "hidden": hidden, "state": state}

    def _remembered(self, note, state):
        """The state of a model with a context before `note`, and with it where there is one."""
        model = self._model
        zeros = (model.zero_state(1), tf.zeros([1, model.head_bias.shape[0]]))
        before, parts = _from_words(state, zeros)
        sight = model.look(before, parts, note[:, self._table.names.index("step")])
        after = model.remember(before, note, sight)
        is_none = note[:, 0] < 0

        def chosen(old, new):
            return tf.where(tf.reshape(is_none, [-1] + [1] * (len(old.shape) - 1)), old, new)

        return tf.nest.map_structure(chosen, before, after)

    def _packed_state(self, state, parts):
        return _pack(state) if self._model.context is None else _words((state, parts))

    def _packed_hidden(self, parts, state):
        return parts if self._model.context is None else _words((parts, state[-1].memory))

    def _unpacked_hidden(self, hidden):
        """The heads' parts, and as much of the state as `look` wants."""
        model = self._model
        if model.context is None:
            return hidden, []
        nothing = model.zero_state(tf.shape(hidden)[0])
        parts, memory = _from_words(hidden, (tf.zeros([1, model.head_bias.shape[0]]), model.zero_state(1)[-1].memory))
        return parts, [nothing[-1]._replace(memory=memory)]

    def _head(self, index: int, hidden, bins, step):
        """The output of a head, given the bins and the step of this note."""
        parts, state = self._unpacked_hidden(hidden)
        sight = self._model.look(state, parts, step) if self._table.fields[index].name == "pitch" else None
        return self._model.head(index, parts, bins, sight)

    def draw(self, note, hidden, uniform, temperature):
        """The next note `[batch, num_fields]`, drawn, and its log likelihood `[batch]` at temperature 1.

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

    def _head_function(self, index: int) -> Callable:
        field = self._table.fields[index]

        def head(hidden, note):
            """The field's distribution, given those of its note's fields that come before it; others are not read."""
            bins = [self._encode(before, note[:, place]) for place, before in enumerate(self._table.fields[:index])]
            output = self._head(index, hidden, bins, note[:, self._table.names.index("step")])
            if field.loss == fields.MSE:
                deviation = tf.fill(tf.shape(output), np.float32(self._bundle.deviations[field.name]))
                return {"mean": output, "deviation": deviation}
            if field.loss == fields.MIXTURE:
                parts = mixture.Mixture.of(output)
                names = ("log_weights", "locations", "log_scales")
                return {name: getattr(parts, name) for name in names}
            return {"log_probabilities": tf.nn.log_softmax(output)[:, : field.num_bins]}

        return head

    def likelihood(self, notes, length):
        """Exact nats of whole pieces: `nll` `[batch, time + 1, num_fields]` float64, END's in `pitch`.

        `notes` holds each piece's values from its first note on, `length` its number of notes; what lies behind is not
        read and costs 0.
        """
        batch, time = tf.shape(notes)[0], tf.shape(notes)[1]
        place = tf.range(time + 1)[None, :]
        is_note, is_end = place < length[:, None], place == length[:, None]
        lowest = tf.constant([field.lows[0] for field in self._table], tf.int32)
        raw = tf.concat([notes, tf.zeros([batch, 1, len(self._table)], tf.int32)], axis=1)
        raw = tf.where(is_note[..., None], raw, lowest)  # a value that has a bin
        columns = [self._encode(field, raw[..., index]) for index, field in enumerate(self._table)]
        bins = tf.stack(columns, axis=-1)
        first = tf.tile(tf.constant(self._model.start_bins)[None, None], [batch, 1, 1])
        state = self._model.zero_state(batch)
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

    def _bins_before(self, note):
        """`[batch, num_fields]` bins of the note before, the start's where there is none."""
        is_none = note[:, :1] < 0
        columns = [self._encode(field, note[:, index]) for index, field in enumerate(self._table)]
        return tf.where(is_none, self._model.start_bins, tf.stack(columns, axis=1))

    def _encode(self, field: fields.FieldSpec, values):
        """Bins of values of any shape; categories beyond the corpus's lowest or highest count as that one."""
        if field.kind == fields.CATEGORY:
            values = tf.clip_by_value(values, min(field.values), max(field.values))
        return tf.reshape(field_sampling.encode_bins(field, tf.reshape(values, [-1])), tf.shape(values))


def _pack(state):
    """Layers' (h, c) as one tensor `[batch, layers, 2, units]`."""
    return tf.stack([tf.stack(layer, axis=1) for layer in state], axis=1)


def _unpack(state):
    return [(layer[:, 0], layer[:, 1]) for layer in tf.unstack(state, axis=1)]


def _words(values):
    """Tensors `[batch, ...]` of float32 and int32 as one `[batch, width]` int32, floats bit by bit.

    Not as float32: a processor or a text format may change a float that means nothing as a number.
    """
    flat = [tf.bitcast(value, tf.int32) if value.dtype == tf.float32 else value for value in tf.nest.flatten(values)]
    return tf.concat([tf.reshape(value, [tf.shape(value)[0], _width(value)]) for value in flat], axis=1)


def _from_words(words, like):
    """The inverse of `_words`: tensors as those of `like`, whose batch is 1."""
    wanted = tf.nest.flatten(like)
    found = []
    for part, value in zip(tf.split(words, [_width(value) for value in wanted], axis=1), wanted, strict=True):
        part = tf.reshape(part, [-1, *value.shape[1:]])
        found.append(tf.bitcast(part, tf.float32) if value.dtype == tf.float32 else part)
    return tf.nest.pack_sequence_as(like, found)


def _width(value) -> int:
    return int(np.prod(value.shape[1:]))
