"""Decodes many pieces at once: a fixed number of slots, refilled inside one compiled call.

A step draws one event in every slot: a note, or END. A slot whose piece ends takes the next request in the same step,
so seeds of different lengths share a batch and no slot waits. The model's state stays in the slot; a piece with a
primer begins from the state after it (`prefill`). A call makes `STEPS_PER_CALL` steps, well under two seconds, so that
signals are noticed; between notes nothing returns to Python.

A sample's notes depend only on its request: its random words come from its own key, counted by the note's position in
the piece, and every row of a batch is computed alike wherever it is. With another number of slots, or on another
machine, sums may round differently, and a draw at a boundary may fall on the other side.

Requests with constraints (`Request.controls`), and those that may draw only the likeliest values, are decoded by
compiled calls of their own: features that no request uses cost nothing, and which call makes a piece depends only on
its own request.

A request with `steer_end` ends no more often early than the corpus does, and where a limit would cut it, at the best
place before (`endings`). One with `avoid_loops` copies less while it is too predictable (`loop_guard`).

Notes that share onset, pitch and program are never drawn where the bundles' corpora have none
(`trainer.sampling.onset_order`).

Several bundles are an ensemble: each keeps its own state, and their probabilities are averaged field by field.
"""

from __future__ import annotations

import dataclasses
import functools
import operator
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent import futures
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from generation_jobs.decoder import groups
from generation_jobs.decoder.endings import EarlyEnds
from generation_jobs.decoder.ensemble import Ensemble
from generation_jobs.decoder.guided import Guided, Pair
from generation_jobs.decoder.loop_guard import LoopGuard
from generation_jobs.decoder.network import Network
from generation_jobs.decoder.prefill import Prefill
from generation_jobs.decoder.request_queue import DRAWN, END, OVER, RequestKind, RequestQueue
from generation_jobs.settings.controls import control_problems
from generation_jobs.settings.requests import PER_FIELD, Request, Result
from midi_codec import fields
from midi_codec.music.note_batch import NoteBatch
from trainer.bundle import Bundle
from trainer.model.precision import FLOAT32
from trainer.sampling import constraints, field_sampling
from trainer.sampling.constraints import Constraints
from trainer.sampling.field_sampling import DrawnNote, RowSettings

STEPS_PER_CALL = 32
WAITING_PER_SLOT = 2  # requests that a call can take up, besides those in its slots

Arrays = dict[str, Any]  # tensors by name: the slots, the queue, or what a step emits


class _Event(NamedTuple):
    """What was drawn in every slot, whether or not a piece is there.

    Attributes:
      is_end: `[slots]` bool; the note counts only where it is False.
      end_logit: `[slots]` float32, END's log odds.
      early_share: `[slots]` float32, of `endings.EarlyEnds`, after the event.
      log_likelihood: `[slots]` float32, of END, or of a note and of END not being drawn.
      state: of the network, after the note.
    """

    note: DrawnNote
    is_end: tf.Tensor
    end_logit: tf.Tensor
    early_share: tf.Tensor
    log_likelihood: tf.Tensor
    state: Any


class _Outcome(NamedTuple):
    """What the event means for the piece in each slot: `[slots]` bool, and `ticks` int32, the onset of the note."""

    is_drawn: tf.Tensor
    is_end: tf.Tensor
    is_over: tf.Tensor
    ticks: tf.Tensor


@dataclasses.dataclass
class _Group:
    """Slots, and which of the requests they are for."""

    indices: Sequence[int]
    queue: RequestQueue
    slots: Arrays


class Decoder:
    """Generates pieces with one bundle, or with several together.

    Args:
      bundle: the model, or the models of an ensemble, whose field tables are equal (`bundles.load`).
      num_slots: pieces decoded at once; 1, or a multiple of 16, so that all rows of a batch are computed alike.
      precision: of the network's products, float32 or bfloat16.

    Attributes:
      num_steps: events drawn in every slot so far, on average.
    """

    def __init__(self, bundle: Bundle | Sequence[Bundle], *, num_slots: int = 64, precision: str = FLOAT32) -> None:
        if num_slots < 1 or num_slots % fields.WIDTH_MULTIPLE and num_slots > 1:
            raise ValueError(f"num_slots is {num_slots}, want 1, or a multiple of {fields.WIDTH_MULTIPLE}")
        bundles = [bundle] if isinstance(bundle, Bundle) else list(bundle)
        self.bundle, self.num_slots, self._rows = bundles[0], num_slots, groups.rows(num_slots)
        self.num_steps = 0.0
        self._table = self.bundle.fields
        self._allow_duplicates = any(model.may_have_duplicate_notes for model in bundles)
        self._may_restrike = any(model.may_restrike for model in bundles)
        network = Network(self.bundle, precision) if len(bundles) == 1 else Ensemble(bundles, precision)
        self._networks: dict[bool, Network | Ensemble | Guided] = {False: network, True: Guided(network)}
        rows = max(self._rows, fields.WIDTH_MULTIPLE)
        self._prefills = {key: Prefill(own, self._table, rows=rows) for key, own in self._networks.items()}
        self._early_ends, self._loop_guard = EarlyEnds(bundles), LoopGuard(bundles)
        self._call = tf.function(self._decode, autograph=False, jit_compile=True)

    def prepare(self, requests: Sequence[Request]) -> None:
        """Compiles what these requests need, on all cores; otherwise `generate` does it. Draws nothing that counts.

        Functions are traced one after another, so that their names, which XLA's cache knows them by, do not vary.
        """
        first = {RequestKind.of_request(request): request for request in reversed(requests)}
        calls = [self._traced_call(first[kind], kind) for kind in sorted(first)]
        primed = {request.condition.is_guided for request in requests if request.primer is not None}
        calls += [self._prefills[is_guided].traced_call() for is_guided in sorted(primed)]
        if len(calls) == 1:
            calls[0]()
        elif calls:
            with futures.ThreadPoolExecutor(len(calls)) as pool:
                list(pool.map(operator.call, calls))

    def _traced_call(self, request: Request, kind: RequestKind) -> Callable[[], Any]:
        """A call for requests of this kind that draws nothing that counts; the first one compiles."""
        queue = self._queue([dataclasses.replace(request, primer=None)], kind)
        queue.refresh()
        inputs = self._empty_slots(kind), queue.tensors() | {"count": np.array(0, np.int32)}
        self._call.get_concrete_function(*inputs)
        return functools.partial(self._call, *inputs)

    def generate(self, requests: Sequence[Request]) -> Iterator[tuple[int, Result]]:
        """Yields (index into `requests`, result) as pieces end.

        Raises:
          ValueError: a primer does not fit the model's fields or grid.
        """
        self._check(requests)
        kinds = [RequestKind.of_request(request) for request in requests]
        for kind in sorted(set(kinds)):
            chosen = [index for index, own in enumerate(kinds) if own == kind]
            for index, result in self._generate([requests[index] for index in chosen], kind):
                yield chosen[index], result

    def _generate(self, requests: Sequence[Request], kind: RequestKind) -> Iterator[tuple[int, Result]]:
        count = min(groups.num_groups(self.num_slots), -(-len(requests) // self._rows))
        own_groups = [
            _Group(
                indices=range(first, len(requests), count),
                queue=self._queue(requests[first::count], kind),
                slots=self._empty_slots(kind),
            )
            for first in range(count)
        ]
        for results in groups.results_of_calls(self._make_call, own_groups):
            self.num_steps += STEPS_PER_CALL / count
            yield from results

    def _make_call(self, group: _Group) -> list[tuple[int, Result]] | None:
        """The results of a group's next call; None when all its requests are over."""
        queue, slots = group.queue, group.slots
        queue.refresh()
        if queue.is_empty:
            return None
        slots["request"] = tf.constant(queue.renumber(slots["request"].numpy()))
        group.slots, emitted = self._call(slots, queue.tensors())
        results = queue.collect({name: value.numpy() for name, value in emitted.items()})
        return [(group.indices[index], result) for index, result in results]

    def _queue(self, requests: Sequence[Request], kind: RequestKind) -> RequestQueue:
        return RequestQueue(
            requests,
            self._table,
            size=self._rows * (1 + WAITING_PER_SLOT),
            compute_starts=self._prefills[kind.is_guided].starts,
            kind=kind,
            may_restrike=self._may_restrike,
        )

    def _check(self, requests: Sequence[Request]) -> None:
        """Checks all primers at once, as `primers.load` did; one by one only to name those that do not fit."""
        primers = [request.primer for request in requests if request.primer is not None]
        time_base = self._table.time_base
        is_on_grid = all(primer.time_base == time_base for primer in primers)
        is_free = all(request.controls.is_free for request in requests)
        if is_free and is_on_grid and not self._table.problems(NoteBatch.from_notes(primers, time_base)):
            return
        for index, request in enumerate(requests):
            problems = self._table.problems(request.primer) if request.primer is not None else []
            if not problems and not request.controls.is_free:
                problems = list(control_problems(request.controls, self._table, request.primer))
            if problems:
                raise ValueError(f"request {index}: {'; '.join(problems)}")

    def _empty_slots(self, kind: RequestKind) -> Arrays:
        size = self._rows
        state, drawn = self._prefills[kind.is_guided].initial_states(size)
        return {
            **({"drawn": drawn} if kind.has_controls else {}),
            "request": tf.fill([size], -1),
            "position": tf.zeros([size], tf.int32),
            "ticks": tf.zeros([size], tf.int32),
            "early_share": tf.zeros([size]),
            "cost": self._loop_guard.begin(size),
            "previous": tf.zeros([size, len(self._table)], tf.int32),
            "state": state,
        }

    def _network(self, slots: Arrays) -> Any:
        """The network whose states these slots have."""
        return self._networks[isinstance(slots["state"], Pair)]

    def _decode(self, slots: Arrays, queue: Arrays) -> tuple[Arrays, Arrays]:
        """Makes `STEPS_PER_CALL` steps: the slots after them, and what each step emitted for each slot."""
        shapes = {"request": [], "flags": [], "log_likelihood": [], "end_logit": [], "values": [len(self._table)]}
        arrays = {
            name: tf.TensorArray(
                tf.float32 if name in ("log_likelihood", "end_logit") else tf.int32,
                STEPS_PER_CALL,
                element_shape=[self._rows, *shape],
            )
            for name, shape in shapes.items()
        }
        waiting = tf.reduce_max(tf.concat([slots["request"], [-1]], 0)) + 1  # requests with a slot come first
        network = self._network(slots)
        slots = slots | {"state": network.by_feature(slots["state"])}

        def body(step: tf.Tensor, slots: Arrays, waiting: tf.Tensor, arrays: Arrays) -> tuple[Any, ...]:
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
        slots = slots | {"state": network.by_row(slots["state"])}
        return slots, {name: array.stack() for name, array in arrays.items()}

    def _refill(self, slots: Arrays, waiting: tf.Tensor, queue: Arrays) -> tuple[Arrays, tf.Tensor]:
        """Gives every empty slot the next request that waits; `waiting` is the index of the first one."""
        is_empty = slots["request"] < 0
        turn = waiting + tf.cumsum(tf.cast(is_empty, tf.int32), exclusive=True)
        starts = is_empty & (turn < queue["count"])
        slots = tf.cond(  # in most steps no piece starts, and the state stays where it is
            tf.reduce_any(starts), lambda: self._started(slots, starts, turn, queue), lambda: slots
        )
        return slots, waiting + tf.reduce_sum(tf.cast(starts, tf.int32))

    def _started(self, slots: Arrays, starts: tf.Tensor, turn: tf.Tensor, queue: Arrays) -> Arrays:
        """The slots with the request `turn` in each of those that `starts`."""
        row, network = tf.where(starts, turn, 0), self._network(slots)

        def started(initial: tf.Tensor, current: tf.Tensor) -> tf.Tensor:
            initial = tf.gather(initial, row)
            return tf.where(tf.reshape(starts, [-1] + [1] * (len(current.shape) - 1)), initial, current)

        state, drawn = tf.nest.pack_sequence_as(
            self._prefills[isinstance(slots["state"], Pair)].initial_states(1), queue["initial_state"]
        )
        refilled = {
            "request": tf.where(starts, turn, slots["request"]),
            "early_share": started(self._early_ends.share(queue["initial_position"]), slots["early_share"]),
            "cost": tf.where(starts, self._loop_guard.begin(self._rows), slots["cost"]),
            **{name: started(queue[f"initial_{name}"], slots[name]) for name in ("position", "ticks", "previous")},
            "state": network.by_feature(tf.nest.map_structure(started, state, network.by_row(slots["state"]))),
        }
        if "drawn" in slots:
            refilled["drawn"] = tf.nest.map_structure(started, drawn, slots["drawn"])
        return refilled

    def _step(self, slots: Arrays, queue: Arrays) -> tuple[Arrays, Arrays]:
        """Draws one event in every slot: the slots after it, and what is emitted for each slot."""
        request = _gather_requests(slots, queue)
        rules = self._constraints(slots, request)
        event = self._draw_event(slots, request, rules)
        outcome = self._outcome(slots, request, event)
        return self._advance(slots, event, outcome, rules), _emit(slots, event, outcome)

    def _draw_event(self, slots: Arrays, request: Arrays, rules: Constraints | None) -> _Event:
        """Draws END or a note from the network's heads, each field given those before it."""
        network, names = self._network(slots), self._table.names
        step, pitch = names.index("step"), names.index("pitch")
        uniforms = field_sampling.note_uniforms(request["key"], slots["position"], len(names))
        settings = _settings_per_field(request)
        head_inputs: Any  # of one network, or a list of an ensemble's
        amount = self._loop_guard.amount(slots["cost"], request["copying"], request["avoids_loops"])
        head_inputs, state = network.trunk(slots["previous"], slots["state"], amount)
        end_logit = network.end_logit(head_inputs)
        probability, early_share = self._early_ends.limit(
            tf.sigmoid(end_logit), slots["position"], slots["early_share"], request["steers"]
        )
        is_end = field_sampling.draw_end(probability, uniforms[:, 0], settings[pitch])  # END is a value of pitch
        pitch_scores: Any = None

        def head(index: int, bins: Sequence[tf.Tensor], values: Sequence[tf.Tensor]) -> tf.Tensor:
            nonlocal pitch_scores
            if index == pitch:  # the step is known now, and with it the notes' distances in time
                pitch_scores = network.score_pitches(head_inputs, state, values[step])
            return network.head(index, head_inputs, bins, pitch_scores)

        note = field_sampling.draw_note(
            self._table,
            head,
            uniforms[:, 1:],
            settings,
            previous=slots["previous"],
            is_first=slots["position"] == 0,
            deviations=self.bundle.deviations,
            constraints=rules,
            allow_duplicates=self._allow_duplicates,
        )
        log_likelihood = tf.where(is_end, 0.0, note.log_likelihood) - tf.nn.softplus(
            tf.where(is_end, -end_logit, end_logit)
        )
        after = network.remember(state, note.values, pitch_scores)
        return _Event(note, is_end, end_logit, early_share, log_likelihood, after)

    def _outcome(self, slots: Arrays, request: Arrays, event: _Event) -> _Outcome:
        """Where a note was drawn and where a piece is over: by END, by its last tick, or by its number of notes."""
        running, position = slots["request"] >= 0, slots["position"]
        step = event.note.values[:, self._table.names.index("step")]
        ticks = slots["ticks"] + tf.where(position > 0, step, 0)
        is_late = ((ticks > request["max_ticks"]) | (position >= request["max_notes"])) & ~event.is_end
        return _Outcome(
            is_drawn=running & ~event.is_end & ~is_late,
            is_end=running & event.is_end,
            is_over=running & (event.is_end | is_late | (position + 1 >= request["max_events"])),
            ticks=ticks,
        )

    def _advance(self, slots: Arrays, event: _Event, outcome: _Outcome, rules: Constraints | None) -> Arrays:
        """The slots after the event; those whose piece is over are empty."""
        after = {
            "request": tf.where(outcome.is_over, -1, slots["request"]),
            "position": slots["position"] + 1,
            "ticks": outcome.ticks,
            "early_share": event.early_share,
            "cost": self._loop_guard.after(slots["cost"], event.log_likelihood),
            "previous": event.note.bins,
            "state": event.state,
        }
        if rules is not None:
            is_given = tf.zeros_like(outcome.is_over)
            after["drawn"] = rules.after(event.note.values, event.note.bins, is_given, slots["position"] == 0)
        return after

    def _constraints(self, slots: Arrays, request: Arrays) -> Constraints | None:
        if "drawn" not in slots:
            return None
        prefix = "control/"
        columns = {name.removeprefix(prefix): value for name, value in request.items() if name.startswith(prefix)}
        return constraints.Constraints(self._table, columns, slots["drawn"])


def _gather_requests(slots: Arrays, queue: Arrays) -> Arrays:
    """The columns of the request in each slot; those of request 0 in empty slots."""
    index = tf.maximum(slots["request"], 0)
    return {
        name: tf.gather(column, index)
        for name, column in queue.items()
        if name != "count" and not name.startswith("initial_")
    }


def _settings_per_field(request: Mapping[str, tf.Tensor]) -> list[RowSettings]:
    names = [name for name in PER_FIELD if name in request]
    columns = zip(*(tf.unstack(request[name], axis=1) for name in names), strict=True)
    return [RowSettings(**dict(zip(names, column, strict=True))) for column in columns]


def _emit(slots: Arrays, event: _Event, outcome: _Outcome) -> Arrays:
    """What `RequestQueue.collect` takes; `flags` has its bits."""
    return {
        "request": slots["request"],
        "flags": DRAWN * tf.cast(outcome.is_drawn, tf.int32)
        + END * tf.cast(outcome.is_end, tf.int32)
        + OVER * tf.cast(outcome.is_over, tf.int32),
        "log_likelihood": tf.where(outcome.is_drawn | outcome.is_end, event.log_likelihood, 0.0),
        "end_logit": event.end_logit,
        "values": event.note.values,
    }
