"""Decodes many pieces at once: a fixed number of slots, refilled inside one compiled call.

A step predicts one note in every slot. A slot whose piece ends takes the next request in the same step, so seeds of
different lengths share a batch and no slot waits. The LSTM's state stays in the slot; a primer's notes go through the
same step, their values given instead of drawn. A call makes `STEPS_PER_CALL` steps, well under two seconds, so that a
signal is heard; between notes nothing goes back to Python.

A sample's notes depend on its request alone: its random words come from its own key, counted by the note's place in
the piece, and every row of a batch computes alike wherever it stands. With another number of slots, or on another
machine, sums may round differently, and a draw at a boundary may fall to the other side.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from generation_jobs.request_queue import DRAWN, END, OVER, RequestQueue
from generation_jobs.requests import Request, Result
from midi_codec import fields
from trainer import sampling
from trainer.bundle import Bundle
from trainer.model import ModelConfig, head_output, standardise, tied_kernel

STEPS_PER_CALL = 32
WAITING_PER_SLOT = 2  # requests a call can take up, beside those in its slots


class Decoder:
    """Generates pieces with one bundle.

    Args:
      bundle: the model.
      num_slots: pieces decoded at once; a multiple of 16.
    """

    def __init__(self, bundle: Bundle, *, num_slots: int = 64):
        if num_slots < 1 or num_slots % fields.WIDTH_MULTIPLE:
            raise ValueError(f"num_slots is {num_slots}, want a multiple of {fields.WIDTH_MULTIPLE} above 0")
        self.bundle, self.num_slots = bundle, num_slots
        self._table, self._config = bundle.fields, ModelConfig(**bundle.config)
        self._weights = fold_weights(bundle)
        self._call = tf.function(self._decode, jit_compile=True)

    def generate(self, requests: Sequence[Request]) -> Iterator[tuple[int, Result]]:
        """Yields (index into `requests`, result) as pieces end.

        Raises:
          ValueError: a primer does not fit the model's fields or grid.
        """
        for index, request in enumerate(requests):
            problems = self._table.problems(request.primer) if request.primer is not None else []
            if problems:
                raise ValueError(f"request {index}: {'; '.join(problems)}")
        queue = RequestQueue(requests, self._table, size=self.num_slots * (1 + WAITING_PER_SLOT))
        slots = self._empty_slots()
        while True:
            queue.refresh()
            if queue.is_empty:
                return
            slots["request"] = tf.constant(queue.renumber(slots["request"].numpy()))
            slots, emitted = self._call(slots, queue.tensors())
            yield from queue.collect({name: value.numpy() for name, value in emitted.items()})

    def _empty_slots(self) -> dict[str, Any]:
        size, units = self.num_slots, self._config.units
        layers = self._config.layers
        return {
            "request": tf.fill([size], -1),
            "place": tf.zeros([size], tf.int32),
            "ticks": tf.zeros([size], tf.int32),
            "previous": tf.zeros([size, len(self._table)], tf.int32),
            "state": tf.zeros([layers, 2, size, units]),
        }

    def _decode(self, slots, queue):
        """`STEPS_PER_CALL` steps: the slots after them, and what each step gave each slot."""
        size = self.num_slots
        shapes = {"request": [], "place": [], "flags": [], "log_likelihood": [], "values": [len(self._table)]}
        arrays = {
            name: tf.TensorArray(
                tf.float32 if name == "log_likelihood" else tf.int32, STEPS_PER_CALL, element_shape=[size, *shape]
            )
            for name, shape in shapes.items()
        }
        waiting = tf.reduce_max(tf.concat([slots["request"], [-1]], 0)) + 1  # those with a slot come first

        def body(step, slots, waiting, arrays):
            slots, waiting = self._refill(slots, waiting, queue)
            slots, emitted = self._step(slots, queue)
            return step + 1, slots, waiting, {name: arrays[name].write(step, emitted[name]) for name in arrays}

        _, slots, _, arrays = tf.while_loop(
            lambda step, *_: step < STEPS_PER_CALL,
            body,
            (0, slots, waiting, arrays),
            parallel_iterations=1,
            maximum_iterations=STEPS_PER_CALL,
        )
        return slots, {name: array.stack() for name, array in arrays.items()}

    def _refill(self, slots, waiting, queue):
        """Gives every empty slot the next request that waits."""
        empty = slots["request"] < 0
        turn = waiting + tf.cumsum(tf.cast(empty, tf.int32), exclusive=True)
        starts = empty & (turn < queue["count"])
        refilled = {
            "request": tf.where(starts, turn, slots["request"]),
            "place": tf.where(starts, 0, slots["place"]),
            "ticks": tf.where(starts, 0, slots["ticks"]),
            "previous": tf.where(starts[:, None], self._table.start_bins, slots["previous"]),
            "state": tf.where(starts[:, None], 0.0, slots["state"]),
        }
        return refilled, waiting + tf.reduce_sum(tf.cast(starts, tf.int32))

    def _step(self, slots, queue):
        """One note in every slot; `flags` has the bits of `request_queue`: a note drawn, END, the piece is over."""
        running = slots["request"] >= 0
        request = tf.maximum(slots["request"], 0)
        of = {name: tf.gather(value, request) for name, value in queue.items() if name not in ("count", "primer")}
        place = slots["place"]
        is_given = place < of["primer_length"]
        given = tf.gather_nd(queue["primer"], tf.stack([request, tf.minimum(place, queue["primer"].shape[1] - 1)], 1))
        h, state = self._lstm(slots["previous"], slots["state"])
        uniforms = sampling.note_uniforms(of["key"], place, len(self._table))
        settings = sampling.RowSettings(of["temperature"], of["top_k"], of["top_p"])
        parts = tf.matmul(h, self._weights["head_kernel"]) + self._weights["head_bias"]
        end_logit = parts[:, len(self._table) * self._config.head_units]
        is_end = sampling.draw_end(end_logit, uniforms[:, 0], settings) & ~is_given
        note = sampling.draw_note(
            self._table,
            functools.partial(self._head, parts),
            uniforms[:, 1:],
            settings,
            previous=slots["previous"],
            is_first=place == 0,
            deviations=self.bundle.deviations,
            given=(is_given, given),
        )
        ticks = slots["ticks"] + tf.where(place > 0, note.values[:, 0], 0)
        is_late = (ticks > of["max_ticks"]) & ~is_given & ~is_end
        is_drawn = running & ~is_given & ~is_end & ~is_late
        is_over = running & (is_end | is_late | (place + 1 >= of["max_events"]))
        log_likelihood = tf.where(is_end, 0.0, note.log_likelihood) - tf.nn.softplus(
            tf.where(is_end, -end_logit, end_logit)
        )
        emitted = {
            "request": slots["request"],
            "place": place,
            "flags": DRAWN * tf.cast(is_drawn, tf.int32)
            + END * tf.cast(running & is_end, tf.int32)
            + OVER * tf.cast(is_over, tf.int32),
            "log_likelihood": tf.where(is_drawn | (running & is_end), log_likelihood, 0.0),
            "values": note.values,
        }
        after = {
            "request": tf.where(is_over, -1, slots["request"]),
            "place": place + 1,
            "ticks": ticks,
            "previous": note.bins,
            "state": state,
        }
        return after, emitted

    def _lstm(self, previous, state):
        """What the heads see `[slots, units]`, and all layers' state; Keras's gate order i, f, g, o."""
        inputs = tf.add_n([tf.gather(t, previous[:, i]) for i, t in enumerate(self._weights["tables"])])
        states = []
        x = None
        for index, kernel in enumerate(self._weights["lstm_kernels"]):
            h, c = state[index, 0], state[index, 1]
            if x is None:
                sums = inputs + tf.matmul(h, kernel)
            else:
                below = tf.concat([self._standardise(x), h], axis=1)
                sums = tf.matmul(below, kernel) + self._weights["lstm_biases"][index]
            i, f, g, o = tf.split(sums, 4, axis=1)
            c = tf.sigmoid(f) * c + tf.sigmoid(i) * tf.tanh(g)
            h = tf.sigmoid(o) * tf.tanh(c)
            x = x + h if self._config.residual and x is not None else h
            states.append(tf.stack([h, c]))
        return self._standardise(x), tf.stack(states)

    def _standardise(self, x):
        """Layer norm without its scale and shift, which the kernel after it has taken in."""
        return standardise(x) if self._config.layer_norm else x

    def _head(self, parts, index, bins, _values):
        """The output of the field at `index`, given the bins of this note's fields before it; `NoteModel.head`."""
        size = self._config.head_units
        hidden = parts[:, index * size : (index + 1) * size]
        for condition, other_bins in zip(self._weights["conditions"][index], bins, strict=True):
            hidden += tf.gather(condition, other_bins)
        product = tf.matmul(tf.nn.relu(hidden), self._weights["output_kernels"][index])
        return head_output(self._table.fields[index], product, self._weights["output_biases"][index])


def fold_weights(bundle: Bundle) -> dict[str, Any]:
    """The bundle's weights as a step wants them.

    The first layer's input product is folded into the embedding tables: a row per bin of what it adds to the gates'
    sums. Of the other layers the input and the recurrent kernel stand above each other, for one product. A layer
    norm's scale and shift go into the kernel and bias after it, and tied output kernels are multiplied out.
    """
    weights, table, config = bundle.weights, bundle.fields, ModelConfig(**bundle.config)
    layers = [_folded_layer(weights, config, index) for index in range(config.layers)]
    kernel, recurrent, bias = zip(*layers, strict=True)
    tables = [weights[f"embedding_{field.name}"] @ kernel[0] for field in table]
    tables[0] = tables[0] + bias[0]
    stacked = [recurrent[0]] + [np.concatenate(pair) for pair in zip(kernel[1:], recurrent[1:], strict=True)]
    head_kernel, head_bias = _folded_norm(weights, config, config.layers, weights["head_kernel"], weights["head_bias"])
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


Arrays = tuple[np.ndarray, ...]


def _folded_layer(weights: dict[str, np.ndarray], config: ModelConfig, layer: int) -> Arrays:
    """Kernel, recurrent kernel and bias of an LSTM layer."""
    kernel, recurrent, bias = (
        weights[f"lstm_{layer}/lstm_cell/{name}"] for name in ("kernel", "recurrent_kernel", "bias")
    )
    kernel, bias = _folded_norm(weights, config, layer, kernel, bias)
    return kernel, recurrent, bias


def _folded_norm(
    weights: dict[str, np.ndarray], config: ModelConfig, index: int, kernel: np.ndarray, bias: np.ndarray
) -> Arrays:
    """Kernel and bias that do to standardised inputs what these do to the normalised ones."""
    if not config.layer_norm or index == 0:
        return kernel, bias
    scale, shift = weights[f"norm_{index}_scale"], weights[f"norm_{index}_shift"]
    return scale[:, None] * kernel, bias + shift @ kernel


def _output_kernel(weights: dict[str, np.ndarray], field: fields.FieldSpec) -> tf.Tensor:
    projection = weights.get(f"output_projection_{field.name}")
    if projection is None:
        return tf.constant(weights[f"output_kernel_{field.name}"])
    return tied_kernel(field, projection, weights[f"embedding_{field.name}"])
