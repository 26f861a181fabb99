"""Windows of notes for the transformer, from the arrays of `benchmarks.quality.performances.performance_data`.

Needs only NumPy.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

PITCH = 1  # its index among the fields


@dataclasses.dataclass(frozen=True)
class Split:
    """The events of a split as our side wrote them.

    Attributes:
      bins: `[num_events, num_fields]` int64; zeros for END.
      first_event: `[num_pieces + 1]`.
      is_drum: `[num_events]` bool, notes that are not transposed.
    """

    bins: np.ndarray
    first_event: np.ndarray
    is_drum: np.ndarray

    @property
    def num_notes(self) -> int:
        return len(self.bins) - len(self.first_event) + 1


def load_split(arrays: Any, name: str) -> Split:
    return Split(*(arrays[f"{name}_{field.name}"] for field in dataclasses.fields(Split)))


class Windows:
    """Endless batches of training windows. Every epoch cuts each piece at a new random offset."""

    def __init__(self, split: Split, setup: dict[str, Any], rng: np.random.Generator):
        self._split, self._rng, self._transpose = split, rng, setup["transpose"]
        self._size, self._rows = setup["window"], setup["batch_size"]
        self._start = np.array(setup["num_bins"])
        self._queue: list[np.ndarray] = []

    def __next__(self) -> dict[str, np.ndarray]:
        if not self._queue:
            self._queue = self._plan()
        return gather(self._split, self._queue.pop(), self._start, shift=self._shift)

    def _plan(self) -> list[np.ndarray]:
        """Batches `[rows, 3]` of (piece, first event, end), with similar lengths."""
        rows = []
        for piece, total in enumerate(np.diff(self._split.first_event)):
            first = total if total <= self._size else 1 + int(self._rng.random() * self._size)
            edges = [0, *range(first, total, self._size), total]
            rows += [(piece, begin, end) for begin, end in zip(edges, edges[1:], strict=False)]
        windows = np.array(rows)[self._rng.permutation(len(rows))]
        pool = 64 * self._rows
        ordered = [block[np.argsort(block[:, 1] - block[:, 2], kind="stable")]
                   for block in (windows[at : at + pool] for at in range(0, len(windows), pool))]  # fmt: skip
        batches = [block[at : at + self._rows] for block in ordered for at in range(0, len(block), self._rows)]
        return [batches[index] for index in self._rng.permutation(len(batches))]

    def _shift(self, pitch: np.ndarray, where: np.ndarray) -> np.ndarray:
        """`[rows, 1]`, semitones that keep every note of a row within 0..127."""
        low = np.maximum(-self._transpose, -np.where(where, pitch, 127).min(axis=1, initial=127))
        high = np.minimum(self._transpose, 127 - np.where(where, pitch, 0).max(axis=1, initial=0))
        return (low + np.floor(self._rng.random(len(pitch)) * (high - low + 1))).astype(np.int64)[:, None]


def gather(split: Split, windows: np.ndarray, start: np.ndarray, *, shift: Any = None) -> dict[str, np.ndarray]:
    """The arrays of some windows: `previous`, `current` `[rows, time, num_fields]`, `is_note`, `is_end` `[rows, time]`.

    Args:
      windows: `[rows, 3]`: piece, first event, end.
      start: `[num_fields]`, the bins before a piece's first event.
      shift: takes pitches and a mask of those that may move, and returns semitones.
    """
    piece, begin, end = windows.T
    position = begin[:, None] + np.arange(-1, (end - begin).max())
    first, total = split.first_event[piece][:, None], np.diff(split.first_event)[piece][:, None]
    inside = (position >= 0) & (position < end[:, None])
    is_note = inside & (position < total - 1)
    events = np.where(is_note, first + position, 0)
    bins = np.where(is_note[..., None], split.bins[events], 0)
    if shift is not None:
        melodic = is_note & ~split.is_drum[events]
        bins[..., PITCH] += np.where(melodic, shift(bins[..., PITCH], melodic), 0)
    previous = np.where((position[:, 1:] == 0)[..., None], start, bins[:, :-1])
    arrays = {"previous": previous, "current": bins[:, 1:], "is_note": is_note[:, 1:],
              "is_end": (inside & (position == total - 1))[:, 1:]}  # fmt: skip
    return {name: np.ascontiguousarray(array) for name, array in arrays.items()}


def cut_for_scoring(first_event: np.ndarray, window: int) -> tuple[np.ndarray, np.ndarray]:
    """Windows that overlap by half.

    Returns:
      `[n, 3]` as for `gather`, the longest first, and `[n]`, how many events at the start of each are context that an
      earlier window has scored.
    """
    half, rows = window // 2, []
    for piece, total in enumerate(np.diff(first_event)):
        begins = range(0, max(1, total - half), half)
        rows += [(piece, begin, min(begin + window, total)) for begin in begins]
    windows = np.array(rows)
    windows = windows[np.argsort(windows[:, 1] - windows[:, 2], kind="stable")]
    return windows, np.where(windows[:, 1] > 0, half, 0)
