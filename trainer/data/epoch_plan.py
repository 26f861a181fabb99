"""The batches of an epoch, in order: every piece cut into windows, the windows shuffled and sorted by length.

Each epoch cuts every piece at a new random offset, so that each event is predicted exactly once per epoch. The plan
depends on `rng_seed` and the epoch alone. It takes 12 bytes per window and per piece, in scratch files where the
pieces have a folder; a batch is looked up when it is made.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import SupportsIndex

import numpy as np

from trainer.data.batches import Windows, keyed_rng
from trainer.data.pieces import BLOCK_PIECES, Pieces

SORTED_BATCHES = 64  # windows are sorted by length within this many batches: little padding, much shuffling
POOLS = 64  # sorted at a time


def _shuffled(size: int, pieces: Pieces, rng: np.random.Generator) -> np.ndarray:
    """`rng.permutation(size)`, in a scratch file."""
    numbers = pieces.scratch(size, np.int64)
    for begin in range(0, size, BLOCK_PIECES):
        end = min(begin + BLOCK_PIECES, size)
        numbers[begin:end] = np.arange(begin, end)
    rng.shuffle(numbers)
    return numbers


class EpochPlan(Sequence[Windows]):
    """The windows of each batch; the last ones may hold fewer than `batch_size`."""

    def __init__(self, pieces: Pieces, *, window: int, batch_size: int, rng_seed: int, epoch: int):
        self._num_events, self._window, self._batch_size = pieces.num_events, window, batch_size
        rng = keyed_rng(rng_seed, epoch)
        self._cut(pieces, rng)
        self._order = _shuffled(len(self._piece), pieces, rng)  # of the windows, by batch
        self._sort_by_length()
        self._batches = _shuffled(-(-len(self._order) // batch_size), pieces, rng)

    def _cut(self, pieces: Pieces, rng: np.random.Generator) -> None:
        """Cuts every piece at a random offset and then after every `window` events; pieces that fit stay whole."""
        window, num = self._window, pieces.num_pieces
        self._first = pieces.scratch(num, np.int32)  # events in the first window of each piece
        self._number = pieces.scratch(num + 1, np.int64)  # of each piece's first window
        for begin in range(0, num, BLOCK_PIECES):
            end = min(begin + BLOCK_PIECES, num)
            events = self._num_events[begin:end].astype(np.int64)
            cut = 1 + np.floor(rng.random(end - begin) * window).astype(np.int64)
            self._first[begin:end] = np.where(events <= window, events, cut)
            counts = 1 + -(-(events - self._first[begin:end]) // window)
            self._number[begin + 1 : end + 1] = self._number[begin] + np.cumsum(counts)
        self._piece = pieces.scratch(int(self._number[-1]), np.int32)  # of each window
        for begin in range(0, num, BLOCK_PIECES):
            end = min(begin + BLOCK_PIECES, num)
            counts = np.diff(self._number[begin : end + 1])
            self._piece[self._number[begin] : self._number[end]] = np.repeat(np.arange(begin, end), counts)

    def _sort_by_length(self) -> None:
        """Sorts the windows of every `SORTED_BATCHES` batches, the longest first."""
        pool = self._batch_size * SORTED_BATCHES
        for begin in range(0, len(self._order), POOLS * pool):
            numbers = self._order[begin : begin + POOLS * pool]
            shorter = self._window - self._windows(numbers).length
            key = np.arange(len(numbers)) // pool * (self._window + 1) + shorter
            numbers[:] = numbers[np.argsort(key, kind="stable")]

    def _windows(self, numbers: np.ndarray) -> Windows:
        piece = self._piece[numbers].astype(np.int64)
        first, in_piece = self._first[piece].astype(np.int64), numbers - self._number[piece]
        begin = np.where(in_piece == 0, 0, first + (in_piece - 1) * self._window)
        size = np.where(in_piece == 0, first, self._window)
        return Windows(piece, begin, np.minimum(size, self._num_events[piece] - begin))

    def __len__(self) -> int:
        return len(self._batches)

    def __getitem__(self, index: SupportsIndex) -> Windows:  # type: ignore[override]  # no slices
        begin = int(self._batches[operator.index(index)]) * self._batch_size
        return self._windows(self._order[begin : begin + self._batch_size])
