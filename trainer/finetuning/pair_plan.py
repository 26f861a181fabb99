"""Pairs of pieces as rows of batches: the better piece, then the worse one, each whole and from its beginning."""

from __future__ import annotations

import dataclasses
import hashlib
import operator
from collections.abc import Sequence
from typing import SupportsIndex

import numpy as np

from midi_codec.dataset.pairs_file import Example
from midi_codec.fields import FieldTable
from trainer.data.batches import Windows, keyed_rng
from trainer.data.pieces import Pieces, stack_pieces

HELD_OUT = 5  # one in five groups of connected pieces is held out

NamedPair = tuple[Example, Example]


@dataclasses.dataclass(frozen=True)
class Pairs:
    """Pairs whose pieces are rows 2k, the better one, and 2k + 1.

    Attributes:
      pieces: of the rows.
      ended: `[rows]` bool, whether the piece's END was drawn; otherwise it is no event.
    """

    pieces: Pieces
    ended: np.ndarray

    def __len__(self) -> int:
        return len(self.ended) // 2

    @property
    def num_events(self) -> np.ndarray:
        """`[rows]` int64, the events of each row."""
        return self.pieces.num_events - ~self.ended


def lay_out_pairs(pairs: Sequence[NamedPair], table: FieldTable) -> Pairs:
    """The pairs in memory, each piece once."""
    examples = {piece.name: piece for pair in pairs for piece in pair}
    place = {name: number for number, name in enumerate(examples)}
    pieces = stack_pieces([piece.notes for piece in examples.values()], table)
    rows = np.array([place[piece.name] for pair in pairs for piece in pair], np.int64)
    ended = np.array([piece.ended for pair in pairs for piece in pair], bool)
    return Pairs(dataclasses.replace(pieces, index=pieces.index[rows]), ended)


def split_pairs(pairs: Sequence[NamedPair]) -> tuple[list[NamedPair], list[NamedPair]]:
    """The pairs to train on, and those held out: no piece is in both.

    Pieces that pairs connect stay together. Groups are in the order of a hash of their first name; one in `HELD_OUT`
    is held out, so the split does not depend on the order of the file. With a single group none is.
    """
    root: dict[str, str] = {}

    def find(name: str) -> str:
        while root.setdefault(name, name) != name:
            root[name] = root[root[name]]
            name = root[name]
        return name

    for better, worse in pairs:
        first, other = sorted((find(better.name), find(worse.name)))
        root[other] = first
    groups = sorted({find(better.name) for better, _ in pairs}, key=lambda name: hashlib.sha256(name.encode()).digest())
    held_out = set(groups[: max(len(groups) // HELD_OUT, 1) if len(groups) > 1 else 0])
    sides: tuple[list[NamedPair], list[NamedPair]] = ([], [])
    for pair in pairs:
        sides[find(pair[0].name) in held_out].append(pair)
    return sides


class PairPlan(Sequence[Windows]):
    """The windows of each batch of an epoch, in place of `trainer.data.epoch_plan.EpochPlan`.

    Args:
      pairs: of the run.
      replicas: each gets whole pairs; the last batch is filled up with empty rows.
      batch_size: rows.
      rng_seed, epoch: the order depends on them alone; None: the order of the pairs.
    """

    def __init__(self, pairs: Pairs, *, replicas: int, batch_size: int, rng_seed: int = 0, epoch: int | None = None):
        self._pairs, self._replicas, self._size = pairs, replicas, batch_size // 2
        self._order = np.arange(len(pairs))
        if epoch is not None:
            self._order = keyed_rng(rng_seed, epoch).permutation(len(pairs))

    def __len__(self) -> int:
        return -(-len(self._order) // self._size)

    def __getitem__(self, index: SupportsIndex | slice) -> Windows:  # type: ignore[override]
        number = operator.index(index)  # type: ignore[arg-type]
        if number >= len(self):
            raise IndexError(number)
        start = number * self._size
        pair = self._order[start : start + self._size]
        rows = (2 * pair[:, None] + [0, 1]).ravel()
        empty = -len(rows) % (2 * self._replicas)
        lengths = np.pad(self._pairs.num_events[rows], (0, empty))
        rows = np.pad(rows, (0, empty))
        return Windows(rows, np.zeros(len(rows), np.int64), lengths.astype(np.int64))
