"""What a model knows after a primer: many primers and many notes at once, and of equal primers only one.

The notes of a primer are given, so that nothing has to wait for a draw: a layer's input product is one product for many
notes, and no head is asked. The hundred samples of a seed begin from one computed state.

A state depends on its primer alone: it is computed in a batch of so many rows whatever is asked for, and every row of a
batch computes alike wherever it stands.
"""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from generation_jobs.decoder.ensemble import Ensemble
from generation_jobs.decoder.network import Network, keep_rows
from generation_jobs.settings.controls import MAX_POLYPHONY
from midi_codec import fields
from trainer.sampling import constraints

NOTES_PER_CALL = 64
MAX_ROWS = 64
MAX_KEPT = 1024  # states of primers, some 10 kB each


@dataclasses.dataclass(frozen=True, eq=False)
class Start:
    """Where a piece begins to be generated.

    Attributes:
      previous: `[num_fields]` int32, bins of the note before.
      ticks: onset of that note.
      state: of the network and of `trainer.sampling.constraints`, a row of each array.
    """

    previous: np.ndarray
    ticks: int
    state: tuple[np.ndarray, ...]


class Prefill:
    """Computes starts.

    Args:
      rows: primers in a batch; the same for a whole job.
    """

    def __init__(self, network: Network | Ensemble, table: fields.FieldTable, *, rows: int):
        self._network, self._table, self._rows = network, table, min(rows, MAX_ROWS)
        self._call = tf.function(self._consume, jit_compile=True)
        self._kept: collections.OrderedDict[bytes, Start] = collections.OrderedDict()
        self._silence = Start(table.start_bins, 0, self._take(self.nothing(1), 0))

    def nothing(self, rows: int) -> tuple[Any, constraints.State]:
        """The states of pieces that have not begun."""
        return self._network.zero_state(rows), constraints.nothing_drawn(rows, MAX_POLYPHONY)

    def starts(self, primers: Sequence[np.ndarray]) -> list[Start]:
        """Of each primer `[length, num_fields]` int32, as `FieldTable.raw` gives them; an empty one is silence."""
        keys = [primer.tobytes() for primer in primers]
        new = {key: primer for key, primer in zip(keys, primers, strict=True) if key and key not in self._kept}
        found = {key: self._kept[key] for key in keys if key in self._kept}
        waiting = list(new.items())
        for first in range(0, len(waiting), self._rows):
            part = waiting[first : first + self._rows]
            found |= zip((key for key, _ in part), self._compute([primer for _, primer in part]), strict=True)
        for key in dict.fromkeys(filter(None, keys)):
            self._kept[key] = found[key]
            self._kept.move_to_end(key)
        while len(self._kept) > MAX_KEPT:
            self._kept.popitem(last=False)
        return [found[key] if key else self._silence for key in keys]

    def _compute(self, primers: Sequence[np.ndarray]) -> list[Start]:
        lengths = np.zeros(self._rows, np.int32)
        lengths[: len(primers)] = [len(primer) for primer in primers]
        num_calls = -(-int(lengths.max()) // NOTES_PER_CALL)
        values = np.zeros((self._rows, num_calls * NOTES_PER_CALL, len(self._table)), np.int32)
        for row, primer in enumerate(primers):
            values[row, : len(primer)] = primer
        bins = self._table.encode(values)
        begin = np.broadcast_to(np.asarray(self._table.start_bins, np.int32), (self._rows, 1, len(self._table)))
        previous = np.concatenate([begin, bins[:, :-1]], axis=1)
        states = self.nothing(self._rows)
        for call in range(num_calls):
            part = slice(call * NOTES_PER_CALL, (call + 1) * NOTES_PER_CALL)
            counts = np.clip(lengths - part.start, 0, NOTES_PER_CALL)
            states = self._call(states, previous[:, part], bins[:, part], values[:, part], counts)
        arrays = [array.numpy() for array in tf.nest.flatten(states)]
        step = self._table.names.index("step")
        return [
            Start(bins[row, len(primer) - 1], int(primer[1:, step].sum()), tuple(array[row] for array in arrays))
            for row, primer in enumerate(primers)
        ]

    @staticmethod
    def _take(states: Any, row: int) -> tuple[np.ndarray, ...]:
        return tuple(array.numpy()[row] for array in tf.nest.flatten(states))

    def _consume(self, states, previous, bins, values, counts):
        """The states after `counts` of these notes, `[rows, NOTES_PER_CALL, num_fields]`."""
        state, drawn = states

        def body(place, drawn):
            rules = constraints.Constraints(self._table, {"notes_per_tick": tf.zeros(self._rows)}, drawn)
            given = tf.ones([self._rows], tf.bool)
            after = rules.after(values[:, place], bins[:, place], given, ~given)
            return place + 1, keep_rows(place < counts, after, drawn)

        _, drawn = tf.while_loop(
            lambda place, _: place < NOTES_PER_CALL, body, (0, drawn), maximum_iterations=NOTES_PER_CALL
        )
        return self._network.consume(previous, values, state, counts), drawn
