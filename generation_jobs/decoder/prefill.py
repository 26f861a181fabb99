"""The model's state after a primer: computed for many primers and many notes at once, and once for equal primers.

The notes of a primer are given, so nothing waits for a draw: a layer's input product is one product for many notes, and
no head is computed. The hundred samples of a seed start from one computed state.

A state depends only on its primer and the piece's labels: the batch always has the same number of rows, and every row
of a batch is computed alike wherever it is.
"""

from __future__ import annotations

import collections
import dataclasses
import functools
import threading
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from generation_jobs.decoder.ensemble import Ensemble
from generation_jobs.decoder.guided import Guided
from generation_jobs.decoder.network import Network, keep_rows
from generation_jobs.settings.controls import MAX_POLYPHONY
from generation_jobs.settings.label_weights import NO_CONDITION, Condition
from midi_codec import fields
from trainer.sampling import constraints

NOTES_PER_CALL = 64
MAX_ROWS = 64
MAX_KEPT = 1024  # states of primers, about 10 kB each


Key = tuple[bytes, Condition]  # of a start: its primer, and what the model is told
_SILENCE: Key = (b"", NO_CONDITION)


@dataclasses.dataclass(frozen=True, eq=False)
class Start:
    """Where the generation of a piece starts.

    Attributes:
      previous: `[num_fields]` int32, bins of the last note.
      ticks: onset of that note.
      state: of the network and of `trainer.sampling.constraints`, one row of each array.
    """

    previous: np.ndarray
    ticks: int
    state: tuple[np.ndarray, ...]


class Prefill:
    """Computes starts.

    Args:
      rows: number of primers in a batch; the same for a whole job.
    """

    def __init__(self, network: Network | Ensemble | Guided, table: fields.FieldTable, *, rows: int) -> None:
        self._network, self._table, self._rows = network, table, min(rows, MAX_ROWS)
        self._call = tf.function(self._consume, autograph=False, jit_compile=True)
        self._kept: collections.OrderedDict[Key, Start] = collections.OrderedDict()
        self._lock = threading.Lock()  # groups of slots ask at the same time
        self._silence = Start(table.start_bins, 0, self._take(self.initial_states(1), 0))

    def initial_states(self, rows: int, conditions: Sequence[Condition] | None = None) -> tuple[Any, constraints.State]:
        """The states of pieces that have not begun; without conditions of pieces whose labels are unknown."""
        return self._network.zero_state(rows, conditions), constraints.nothing_drawn(rows, MAX_POLYPHONY)

    def starts(self, primers: Sequence[np.ndarray], conditions: Sequence[Condition] | None = None) -> list[Start]:
        """The start after each primer, `[length, num_fields]` int32 as in `FieldTable.raw`; an empty one is silence."""
        with self._lock:
            return self._starts(primers, conditions or [NO_CONDITION] * len(primers))

    def _starts(self, primers: Sequence[np.ndarray], conditions: Sequence[Condition]) -> list[Start]:
        keys = [(primer.tobytes(), condition) for primer, condition in zip(primers, conditions, strict=True)]
        new = {
            key: primer for key, primer in zip(keys, primers, strict=True) if key != _SILENCE and key not in self._kept
        }
        starts = {key: self._kept[key] for key in keys if key in self._kept}
        waiting = list(new.items())
        for first in range(0, len(waiting), self._rows):
            batch = waiting[first : first + self._rows]
            computed = self._compute([primer for _, primer in batch], [condition for (_, condition), _ in batch])
            starts |= zip((key for key, _ in batch), computed, strict=True)
        for key in dict.fromkeys(key for key in keys if key != _SILENCE):
            self._kept[key] = starts[key]
            self._kept.move_to_end(key)
        while len(self._kept) > MAX_KEPT:
            self._kept.popitem(last=False)
        return [self._silence if key == _SILENCE else starts[key] for key in keys]

    def traced_call(self) -> Callable[[], Any]:
        """A call for any primers, without any; the first one compiles."""
        notes = np.zeros((self._rows, NOTES_PER_CALL, len(self._table)), np.int32)
        inputs = self.initial_states(self._rows), notes, notes, notes, np.zeros(self._rows, np.int32)
        self._call.get_concrete_function(*inputs)
        return functools.partial(self._call, *inputs)

    def _compute(self, primers: Sequence[np.ndarray], conditions: Sequence[Condition]) -> list[Start]:
        lengths = np.zeros(self._rows, np.int32)
        lengths[: len(primers)] = [len(primer) for primer in primers]
        num_calls = -(-int(lengths.max()) // NOTES_PER_CALL)
        values = np.zeros((self._rows, num_calls * NOTES_PER_CALL, len(self._table)), np.int32)
        for row, primer in enumerate(primers):
            values[row, : len(primer)] = primer
        bins = self._table.encode(values)
        start_bins = np.broadcast_to(np.asarray(self._table.start_bins, np.int32), (self._rows, 1, len(self._table)))
        previous = np.concatenate([start_bins, bins], axis=1)  # each note's input, and the first one drawn's
        states = self.initial_states(self._rows, [*conditions, *[NO_CONDITION] * (self._rows - len(primers))])
        for call in range(num_calls):
            notes = slice(call * NOTES_PER_CALL, (call + 1) * NOTES_PER_CALL)
            counts = np.clip(lengths - notes.start, 0, NOTES_PER_CALL)
            states = self._call(states, previous[:, notes], bins[:, notes], values[:, notes], counts)
        arrays = [array.numpy() for array in tf.nest.flatten(states)]
        step = self._table.names.index("step")
        return [
            Start(previous[row, len(primer)], int(primer[1:, step].sum()), tuple(array[row] for array in arrays))
            for row, primer in enumerate(primers)
        ]

    @staticmethod
    def _take(states: Any, row: int) -> tuple[np.ndarray, ...]:
        return tuple(array.numpy()[row] for array in tf.nest.flatten(states))

    def _consume(
        self, states: Any, previous: tf.Tensor, bins: tf.Tensor, values: tf.Tensor, counts: tf.Tensor
    ) -> tuple[Any, constraints.State]:
        """The states after `counts` of these notes, `[rows, NOTES_PER_CALL, num_fields]`."""
        state, drawn = states

        def body(position: tf.Tensor, drawn: constraints.State) -> tuple[tf.Tensor, constraints.State]:
            rules = constraints.Constraints(self._table, {"notes_per_tick": tf.zeros(self._rows)}, drawn)
            is_given = tf.ones([self._rows], tf.bool)
            after = rules.after(values[:, position], bins[:, position], is_given, ~is_given)
            return position + 1, keep_rows(position < counts, after, drawn)

        _, drawn = tf.while_loop(
            lambda position, _: position < NOTES_PER_CALL, body, (0, drawn), maximum_iterations=NOTES_PER_CALL
        )
        return self._network.consume(previous, values, state, counts), drawn
