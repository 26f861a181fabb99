"""What stands between a list of requests and the decoder's calls: arrays of one fixed shape, and pieces put together.

A call sees a window of the list: first the requests that have a slot, then the next ones that wait. After a call the
notes that came out are sorted to their requests, and the window moves on.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from generation_jobs.decoder.prefill import Start
from generation_jobs.settings.controls import Controls, columns
from generation_jobs.settings.requests import Request, Result
from generation_jobs.settings.value_kinds import MAX_SECONDS
from midi_codec import fields
from midi_codec.music.notes import DEFAULT_TEMPO, Notes, seconds_per_tick

DRAWN, END, OVER = 1, 2, 4  # bits of a step's `flags`


class Kind(NamedTuple):
    """What requests need of a step, apart from what all need; which kind a request is hangs on itself alone."""

    is_restricted: bool  # top_k or top_p
    has_min_p: bool  # which costs far less, and is in the defaults
    has_controls: bool

    @classmethod
    def of(cls, request: Request) -> Kind:
        how = request.sampling
        return cls(how.is_restricted, how.has_min_p, not request.controls.is_free)


PLAIN = Kind(is_restricted=False, has_min_p=False, has_controls=False)


@dataclasses.dataclass(eq=False)
class _Piece:
    """A request in the window, and what has come out of it so far."""

    index: int
    request: Request
    primer: np.ndarray  # [length, num_fields] int32
    start: Start
    has_slot: bool = False
    is_over: bool = False
    ended: bool = False
    values: list[np.ndarray] = dataclasses.field(default_factory=list)
    log_likelihoods: list[np.ndarray] = dataclasses.field(default_factory=list)


class RequestQueue:
    """The window over a list of requests.

    Args:
      size: requests a window holds.
      kind: of all the requests.
      begin: gives the starts of primers, as `prefill.Prefill.starts`.
    """

    def __init__(
        self,
        requests: Sequence[Request],
        table: fields.FieldTable,
        *,
        size: int,
        begin: Callable[[Sequence[np.ndarray]], Sequence[Start]],
        kind: Kind = PLAIN,
    ):
        self._requests, self._table, self._size, self._kind, self._begin = requests, table, size, kind, begin
        self._next = 0
        self._window: list[_Piece] = []
        self._numbers: list[int] = []  # of the last window, where each piece of this one stood

    @property
    def is_empty(self) -> bool:
        return not self._window

    def refresh(self) -> None:
        """Drops the pieces that are over, puts those with a slot first, and fills up with the next requests."""
        there = [(number, piece) for number, piece in enumerate(self._window) if not piece.is_over]
        there.sort(key=lambda entry: not entry[1].has_slot)  # stable: the order of the list is kept
        self._numbers = [number for number, _ in there]
        self._window = [piece for _, piece in there]
        come = range(self._next, min(self._next + self._size - len(self._window), len(self._requests)))
        if not come:
            return
        primers = [self._raw(self._requests[index].primer) for index in come]
        for index, primer, start in zip(come, primers, self._begin(primers), strict=True):
            self._window.append(_Piece(index, self._requests[index], primer, start))
        self._next = come.stop

    def _raw(self, primer: Notes | None) -> np.ndarray:
        return np.zeros((0, len(self._table)), np.int32) if primer is None else self._table.raw(primer)

    def renumber(self, slots: np.ndarray) -> np.ndarray:
        """`[slots]` int32, the requests in the slots by their place in the refreshed window; -1 stays."""
        moved = np.full(max(self._numbers, default=0) + 2, -1, np.int32)
        moved[self._numbers] = np.arange(len(self._numbers))
        return np.where(slots >= 0, moved[np.minimum(slots, len(moved) - 1)], -1).astype(np.int32)

    def tensors(self) -> dict[str, Any]:
        """The window as arrays, `[size]` or `[size, ...]`; `count` of them are real.

        `begin_state` is a list: the arrays of `Start.state`.
        """
        requests = [piece.request for piece in self._window]
        starts = [piece.start for piece in self._window]
        rows = zip(*(start.state for start in starts), strict=True)
        lengths = [len(piece.primer) for piece in self._window]
        return {
            "count": np.array(len(requests), np.int32),
            "begin_place": self._column(lengths, np.int32),
            "begin_ticks": self._column([start.ticks for start in starts], np.int32),
            "begin_previous": self._column([start.previous for start in starts], np.int32, len(self._table)),
            "begin_state": [self._column(row, row[0].dtype, *row[0].shape) for row in rows],
            "key": self._column([request.key for request in requests], np.uint32, 2),
            "max_events": self._column(
                [min(length + r.max_notes, fields.MAX_TICK) for length, r in zip(lengths, requests, strict=True)],
                np.int32,
            ),
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

    def _by_field(self, requests: Sequence[Request], setting: str, otherwise: float, dtype: type) -> np.ndarray:
        """`[size, num_fields]`."""
        names = self._table.names
        how = [request.sampling for request in requests]
        rows = [[min(one.of_field(setting, name, otherwise), fields.MAX_TICK) for name in names] for one in how]
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
        """Sorts what a call gave to its pieces; yields those that are over.

        Args:
          emitted: `request`, `flags` `[steps, slots]` int32, `log_likelihood` float32, `values`
            `[steps, slots, num_fields]` int32.
        """
        request, flags = emitted["request"].ravel(), emitted["flags"].ravel()
        rows = np.flatnonzero(request >= 0)
        rows = rows[np.argsort(request[rows], kind="stable")]  # steps of a piece stay in order
        values = emitted["values"].reshape(-1, len(self._table))
        log_likelihood = emitted["log_likelihood"].ravel()
        numbers, firsts = np.unique(request[rows], return_index=True)
        over = []
        for number, own in zip(numbers, np.split(rows, firsts[1:]), strict=True):
            piece = self._window[number]
            piece.has_slot = True
            own_flags = flags[own]
            piece.values.append(values[own[own_flags & DRAWN > 0]])
            piece.log_likelihoods.append(log_likelihood[own[own_flags & (DRAWN | END) > 0]])
            piece.ended |= bool((own_flags & END).any())
            piece.is_over = bool((own_flags & OVER).any())
            if piece.is_over:
                over.append(piece)
        for piece in sorted(over, key=lambda piece: piece.index):
            yield piece.index, _finish(piece, self._table)


def _max_ticks(request: Request, time_base: str) -> int:
    """The last tick a note may start at, from the first onset on."""
    seconds = MAX_SECONDS if request.max_seconds is None else request.max_seconds
    tempo = DEFAULT_TEMPO if request.primer is None else request.primer.tempo
    return min(fields.MAX_TICK, int(seconds / seconds_per_tick(time_base, tempo)))


def _finish(piece: _Piece, table: fields.FieldTable) -> Result:
    """Puts a piece's notes together: steps become onsets."""
    raw = np.concatenate([piece.primer, *piece.values])
    primer = piece.request.primer
    notes = table.to_notes(raw, tempo=DEFAULT_TEMPO if primer is None else primer.tempo)
    return Result(
        notes=notes,
        num_primer_notes=len(piece.primer),
        log_likelihood=float(np.concatenate(piece.log_likelihoods).astype(np.float64).sum()),
        ended=piece.ended,
    )
