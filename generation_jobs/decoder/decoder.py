"""Decodes many pieces at once: a fixed number of slots, refilled inside one compiled call.

A step predicts one note in every slot. A slot whose piece ends takes the next request in the same step, so seeds of
different lengths share a batch and no slot waits. The model's state stays in the slot; a piece with a primer begins
from the state after it (`prefill`). A call makes `STEPS_PER_CALL` steps, well under two seconds, so that a
signal is heard; between notes nothing goes back to Python.

A sample's notes depend on its request alone: its random words come from its own key, counted by the note's place in
the piece, and every row of a batch computes alike wherever it stands. With another number of slots, or on another
machine, sums may round differently, and a draw at a boundary may fall to the other side.

Requests with constraints (`Request.controls`), and those that may only draw the likeliest values, are decoded by
compiled calls of their own: what nobody asked for costs nothing, and which call makes a piece hangs on its own request
alone.

Notes that share onset, pitch and program are never drawn where the bundles' corpora have none
(`trainer.sampling.onset_order`).

Several bundles are an ensemble: each keeps its state, and their probabilities are averaged field by field.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import tensorflow as tf

from generation_jobs.decoder.ensemble import Ensemble
from generation_jobs.decoder.network import Network
from generation_jobs.decoder.prefill import Prefill
from generation_jobs.decoder.request_queue import DRAWN, END, OVER, Kind, RequestQueue
from generation_jobs.settings.controls import control_problems
from generation_jobs.settings.requests import Request, Result
from midi_codec import fields
from midi_codec.music.note_batch import NoteBatch
from trainer.bundle import Bundle
from trainer.sampling import constraints, field_sampling

STEPS_PER_CALL = 32
WAITING_PER_SLOT = 2  # requests a call can take up, beside those in its slots


class Decoder:
    """Generates pieces with one bundle, or with several together.

    Args:
      bundle: the model, or the models of an ensemble, whose field tables are equal (`bundles.load`).
      num_slots: pieces decoded at once; 1, or a multiple of 16, so that all rows of a batch compute alike.
    """

    def __init__(self, bundle: Bundle | Sequence[Bundle], *, num_slots: int = 64):
        if num_slots < 1 or num_slots % fields.WIDTH_MULTIPLE and num_slots > 1:
            raise ValueError(f"num_slots is {num_slots}, want 1, or a multiple of {fields.WIDTH_MULTIPLE}")
        bundles = [bundle] if isinstance(bundle, Bundle) else list(bundle)
        self.bundle, self.num_slots = bundles[0], num_slots
        self._table = self.bundle.fields
        self._allow_duplicates = any(one.may_have_duplicate_notes for one in bundles)
        self._network = Network(self.bundle) if len(bundles) == 1 else Ensemble(bundles)
        self._prefill = Prefill(self._network, self._table, rows=max(num_slots, fields.WIDTH_MULTIPLE))
        self._call = tf.function(self._decode, jit_compile=True)

    def generate(self, requests: Sequence[Request]) -> Iterator[tuple[int, Result]]:
        """Yields (index into `requests`, result) as pieces end.

        Raises:
          ValueError: a primer does not fit the model's fields or grid.
        """
        self._check(requests)
        for kind in sorted(set(map(Kind.of, requests))):
            chosen = [index for index, one in enumerate(requests) if Kind.of(one) == kind]
            for index, result in self._generate([requests[index] for index in chosen], kind):
                yield chosen[index], result

    def _generate(self, requests: Sequence[Request], kind: Kind) -> Iterator[tuple[int, Result]]:
        size = self.num_slots * (1 + WAITING_PER_SLOT)
        queue = RequestQueue(requests, self._table, size=size, begin=self._prefill.starts, kind=kind)
        slots = self._empty_slots(kind.has_controls)
        while True:
            queue.refresh()
            if queue.is_empty:
                return
            slots["request"] = tf.constant(queue.renumber(slots["request"].numpy()))
            slots, emitted = self._call(slots, queue.tensors())
            yield from queue.collect({name: value.numpy() for name, value in emitted.items()})

    def _check(self, requests: Sequence[Request]) -> None:
        """All primers at once, as `primers.load` did; one by one only to say which of them does not fit."""
        given = [request.primer for request in requests if request.primer is not None]
        time_base = self._table.time_base
        is_on_grid = all(primer.time_base == time_base for primer in given)
        is_free = all(request.controls.is_free for request in requests)
        if is_free and is_on_grid and not self._table.problems(NoteBatch.from_notes(given, time_base)):
            return
        for index, request in enumerate(requests):
            problems = self._table.problems(request.primer) if request.primer is not None else []
            if not problems and not request.controls.is_free:
                problems = list(control_problems(request.controls, self._table, request.primer))
            if problems:
                raise ValueError(f"request {index}: {'; '.join(problems)}")

    def _empty_slots(self, has_controls: bool) -> dict[str, Any]:
        size = self.num_slots
        state, drawn = self._prefill.nothing(size)
        return {
            **({"drawn": drawn} if has_controls else {}),
            "request": tf.fill([size], -1),
            "place": tf.zeros([size], tf.int32),
            "ticks": tf.zeros([size], tf.int32),
            "previous": tf.zeros([size, len(self._table)], tf.int32),
            "state": state,
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

        row = tf.where(starts, turn, 0)

        def begun(beginning, value):
            beginning = tf.gather(beginning, row)
            return tf.where(tf.reshape(starts, [-1] + [1] * (len(value.shape) - 1)), beginning, value)

        state, drawn = tf.nest.pack_sequence_as(self._prefill.nothing(1), queue["begin_state"])
        refilled = {
            "request": tf.where(starts, turn, slots["request"]),
            **{name: begun(queue[f"begin_{name}"], slots[name]) for name in ("place", "ticks", "previous")},
            "state": tf.nest.map_structure(begun, state, slots["state"]),
        }
        if "drawn" in slots:
            refilled["drawn"] = tf.nest.map_structure(begun, drawn, slots["drawn"])
        return refilled, waiting + tf.reduce_sum(tf.cast(starts, tf.int32))

    def _step(self, slots, queue):
        """One note in every slot; `flags` has the bits of `request_queue`: a note drawn, END, the piece is over."""
        running = slots["request"] >= 0
        request = tf.maximum(slots["request"], 0)
        of = {
            name: tf.gather(value, request)
            for name, value in queue.items()
            if name != "count" and not name.startswith("begin_")
        }
        place = slots["place"]
        uniforms = field_sampling.note_uniforms(of["key"], place, len(self._table))
        names = [name for name in ("temperature", "top_k", "top_p", "min_p") if name in of]
        columns = zip(*(tf.unstack(of[name], axis=1) for name in names), strict=True)
        settings = [field_sampling.RowSettings(**dict(zip(names, column, strict=True))) for column in columns]
        keep_to = self._constraints(slots, of)
        network, step = self._network, self._table.names.index("step")
        parts, state = network.trunk(slots["previous"], slots["state"])
        end_logit = network.end_logit(parts)
        of_pitch = settings[self._table.names.index("pitch")]  # END is a value of pitch
        is_end = field_sampling.draw_end(end_logit, uniforms[:, 0], of_pitch)
        sights: list[Any] = [None]

        def head(index, bins, values):
            if self._table.fields[index].name == "pitch":
                sights[0] = network.look(parts, state, values[step])
            return network.head(index, parts, bins, sights[0])

        note = field_sampling.draw_note(
            self._table,
            head,
            uniforms[:, 1:],
            settings,
            previous=slots["previous"],
            is_first=place == 0,
            deviations=self.bundle.deviations,
            constraints=keep_to,
            allow_duplicates=self._allow_duplicates,
        )
        ticks = slots["ticks"] + tf.where(place > 0, note.values[:, step], 0)
        is_late = (ticks > of["max_ticks"]) & ~is_end
        is_drawn = running & ~is_end & ~is_late
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
            "state": network.remember(state, note.values, sights[0]),
        }
        if keep_to is not None:
            after["drawn"] = keep_to.after(note.values, note.bins, tf.zeros_like(running), place == 0)
        return after, emitted

    def _constraints(self, slots, of) -> constraints.Constraints | None:
        if "drawn" not in slots:
            return None
        columns = {name.removeprefix("control/"): value for name, value in of.items() if name.startswith("control/")}
        return constraints.Constraints(self._table, columns, slots["drawn"])
