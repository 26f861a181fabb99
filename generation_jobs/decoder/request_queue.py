"""Connects a list of requests with the decoder's calls: makes arrays of one fixed shape, and puts pieces together.

A call sees a window of the list: first the requests that have a slot, then the next ones that wait. After a call its
notes are sorted by request, and the window moves on.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from generation_jobs.decoder import endings
from generation_jobs.decoder.endings import Events
from generation_jobs.decoder.prefill import Start
from generation_jobs.settings.controls import Controls, columns
from generation_jobs.settings.label_weights import Condition
from generation_jobs.settings.requests import STEERED, Ended, Request, Result
from generation_jobs.settings.value_kinds import MAX_SECONDS
from midi_codec import fields
from midi_codec.music.notes import DEFAULT_TEMPO, Notes, seconds_per_tick
from midi_codec.music.sounding import end_at_restrikes

DRAWN, END, OVER = 1, 2, 4  # bits of a step's `flags`


class RequestKind(NamedTuple):
    """Which optional parts of a step a request needs; depends only on the request."""

    is_restricted: bool  # top_k or top_p
    has_min_p: bool  # costs far less, and is one of the defaults
    has_controls: bool
    is_guided: bool = False

    @classmethod
    def of_request(cls, request: Request) -> RequestKind:
        sampling = request.sampling
        return cls(
            sampling.is_restricted, sampling.has_min_p, not request.controls.is_free, request.condition.is_guided
        )


PLAIN = RequestKind(is_restricted=False, has_min_p=False, has_controls=False)


@dataclasses.dataclass(eq=False)
class _Piece:
    """A request in the window, and what was drawn for it so far."""

    index: int
    request: Request
    primer: np.ndarray  # [length, num_fields] int32
    start: Start
    has_slot: bool = False
    is_over: bool = False
    ended: bool = False
    events: list[Events] = dataclasses.field(default_factory=list)


class RequestQueue:
    """The window over a list of requests.

    Args:
      size: number of requests in a window.
      compute_starts: gives the starts of primers, as `prefill.Prefill.starts`.
      kind: of all the requests.
      may_restrike: whether a note may sound on while its key is struck again.
    """

    def __init__(
        self,
        requests: Sequence[Request],
        table: fields.FieldTable,
        *,
        size: int,
        compute_starts: Callable[[Sequence[np.ndarray], Sequence[Condition]], Sequence[Start]],
        kind: RequestKind = PLAIN,
        may_restrike: bool = True,
    ) -> None:
        self._requests, self._table, self._size, self._kind = requests, table, size, kind
        self._may_restrike = may_restrike
        self._compute_starts = compute_starts
        self._next = 0
        self._window: list[_Piece] = []
        self._old_indices: list[int] = []  # where each piece of this window was in the one before

    @property
    def is_empty(self) -> bool:
        return not self._window

    def refresh(self) -> None:
        """Drops the pieces that are over, moves those with a slot to the front, and adds the next requests."""
        remaining = [(index, piece) for index, piece in enumerate(self._window) if not piece.is_over]
        remaining.sort(key=lambda entry: not entry[1].has_slot)  # stable: the order of the list is kept
        self._old_indices = [index for index, _ in remaining]
        self._window = [piece for _, piece in remaining]
        new = range(self._next, min(self._next + self._size - len(self._window), len(self._requests)))
        if not new:
            return
        primers = [self._raw(self._requests[index].primer) for index in new]
        conditions = [self._requests[index].condition for index in new]
        for index, primer, start in zip(new, primers, self._compute_starts(primers, conditions), strict=True):
            self._window.append(_Piece(index, self._requests[index], primer, start))
        self._next = new.stop

    def _raw(self, primer: Notes | None) -> np.ndarray:
        return np.zeros((0, len(self._table)), np.int32) if primer is None else self._table.raw(primer)

    def renumber(self, slots: np.ndarray) -> np.ndarray:
        """`[slots]` int32, the index in the refreshed window of each slot's request; -1 stays."""
        new_indices = np.full(max(self._old_indices, default=0) + 2, -1, np.int32)
        new_indices[self._old_indices] = np.arange(len(self._old_indices))
        return np.where(slots >= 0, new_indices[np.minimum(slots, len(new_indices) - 1)], -1).astype(np.int32)

    def tensors(self) -> dict[str, Any]:
        """The window as arrays, `[size]` or `[size, ...]`; the first `count` rows are requests.

        `initial_state` is a list: the arrays of `Start.state`.
        """
        requests = [piece.request for piece in self._window]
        starts = [piece.start for piece in self._window]
        rows = zip(*(start.state for start in starts), strict=True)
        lengths = [len(piece.primer) for piece in self._window]
        last = [min(length + own.max_notes, fields.MAX_TICK - 1) for length, own in zip(lengths, requests, strict=True)]
        steers = [request.steer_end for request in requests]
        return {
            "count": np.array(len(requests), np.int32),
            "initial_position": self._column(lengths, np.int32),
            "initial_ticks": self._column([start.ticks for start in starts], np.int32),
            "initial_previous": self._column([start.previous for start in starts], np.int32, len(self._table)),
            "initial_state": [self._column(row, row[0].dtype, *row[0].shape) for row in rows],
            "key": self._column([request.key for request in requests], np.uint32, 2),
            "max_notes": self._column(last, np.int32),
            "max_events": self._column(
                [most + steered for most, steered in zip(last, steers, strict=True)], np.int32
            ),  # the last may only be END
            "steers": self._column(steers, np.bool_),
            "avoids_loops": self._column([request.avoid_loops for request in requests], np.bool_),
            "copying": self._column([request.copying for request in requests], np.float32),
            "max_ticks": self._column([_max_ticks(request, self._table.time_base) for request in requests], np.int32),
            "temperature": self._by_field(requests, "temperature", 1.0, np.float32),
            **self._limit_columns(requests),
            **self._control_columns(requests),
        }

    def _limit_columns(self, requests: Sequence[Request]) -> dict[str, np.ndarray]:
        columns: dict[str, np.ndarray] = {}
        if self._kind.is_restricted:
            columns["top_k"] = self._by_field(requests, "top_k", fields.MAX_TICK, np.int32)
            columns["top_p"] = self._by_field(requests, "top_p", 1.0, np.float32)
        if self._kind.has_min_p:
            columns["min_p"] = self._by_field(requests, "min_p", 0.0, np.float32)
        return columns

    def _by_field(self, requests: Sequence[Request], setting: str, default: float, dtype: type) -> np.ndarray:
        """`[size, num_fields]`."""
        names = self._table.names
        rows = [
            [min(request.sampling.of_field(setting, name, default), fields.MAX_TICK) for name in names]
            for request in requests
        ]
        return self._column(rows, dtype, len(names))

    def _control_columns(self, requests: Sequence[Request]) -> dict[str, np.ndarray]:
        if not self._kind.has_controls:
            return {}
        tempos = [DEFAULT_TEMPO if request.primer is None else request.primer.tempo for request in requests]
        filled = [*(request.controls for request in requests), *[Controls()] * (self._size - len(requests))]
        tempos += [DEFAULT_TEMPO] * (self._size - len(requests))
        return {f"control/{name}": array for name, array in columns(filled, tempos, self._table).items()}

    def _column(self, values: Sequence, dtype: type, *shape: int) -> np.ndarray:
        column: np.ndarray = np.zeros((self._size, *shape), dtype)
        column[: len(values)] = np.array(values, dtype).reshape(len(values), *shape)
        return column

    def collect(self, emitted: dict[str, np.ndarray]) -> Iterator[tuple[int, Result]]:
        """Adds what a call emitted to its pieces; yields those that are over.

        Args:
          emitted: `request`, `flags` `[steps, slots]` int32, `log_likelihood`, `end_logit` float32, `values`
            `[steps, slots, num_fields]` int32.
        """
        request, flags = emitted["request"].ravel(), emitted["flags"].ravel()
        rows = np.flatnonzero(request >= 0)
        rows = rows[np.argsort(request[rows], kind="stable")]  # steps of a piece stay in order
        columns = (
            emitted["values"].reshape(-1, len(self._table)),
            flags & DRAWN > 0,
            np.where(flags & (DRAWN | END) > 0, emitted["log_likelihood"].ravel(), 0),
            emitted["end_logit"].ravel(),
        )
        indices, firsts = np.unique(request[rows], return_index=True)
        over = []
        for index, own in zip(indices, np.split(rows, firsts[1:]), strict=True):
            piece = self._window[index]
            piece.has_slot = True
            own_flags = flags[own]
            piece.events.append(Events(*(column[own] for column in columns)))
            piece.ended |= bool((own_flags & END).any())
            piece.is_over = bool((own_flags & OVER).any())
            if piece.is_over:
                over.append(piece)
        for piece in sorted(over, key=lambda piece: piece.index):
            result = _finish(piece, self._table)
            if not self._may_restrike:
                notes = end_at_restrikes(result.notes, num_given=result.num_primer_notes)
                result = dataclasses.replace(result, notes=notes)
            yield piece.index, result


def _max_ticks(request: Request, time_base: str) -> int:
    """The last tick at which a note may start, counted from the first onset."""
    seconds = MAX_SECONDS if request.max_seconds is None else request.max_seconds
    tempo = DEFAULT_TEMPO if request.primer is None else request.primer.tempo
    return min(fields.MAX_TICK, int(seconds / seconds_per_tick(time_base, tempo)))


def _finish(piece: _Piece, table: fields.FieldTable) -> Result:
    """Joins a piece's notes; steps become onsets."""
    events = Events(*(np.concatenate(columns) for columns in zip(*piece.events, strict=True)))
    ended: Ended = piece.ended
    if piece.request.steer_end and not ended:
        events, ended = endings.end_before_limit(events, table), STEERED
    raw = np.concatenate([piece.primer, events.values[events.is_drawn]])
    primer = piece.request.primer
    notes = table.to_notes(raw, tempo=DEFAULT_TEMPO if primer is None else primer.tempo)
    return Result(
        notes=notes,
        num_primer_notes=len(piece.primer),
        log_likelihood=float(events.log_likelihood.astype(np.float64).sum()),
        ended=ended,
    )
