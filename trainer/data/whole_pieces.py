"""Whole pieces through a model in chunks: which events stand in which rows of which call.

Pieces of like length go together, the longest first; row r of every chunk is the same piece, so that a state can be
carried. Rows whose pieces have ended are dropped from the end, so a batch of unlike pieces computes little in vain.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from midi_codec import fields
from trainer.data.batches import Windows
from trainer.data.pieces import Pieces

CHUNK = 256  # events of a piece in a compiled call: it ends soon enough for a signal to be heard


def plan_whole_pieces(
    num_events: np.ndarray, *, chunk: int, batch_size: int, replicas: int = 1
) -> Iterator[list[Windows]]:
    """Batches of whole pieces, each a list of chunks in order.

    Pieces are dealt to the replicas in turn, as cards are, so that all of them end about together. A chunk's rows are
    the first replica's, then the second's, and so on, equally many; a replica's rows of the next chunk are the first
    of its rows of this one. A row without a piece has length 0.

    Args:
      num_events: `[num_pieces]` int64, at least 1 each.
      chunk: most events of a piece in a call.
      batch_size: most rows of a chunk, a multiple of `replicas`.
      replicas: how many equal parts the rows are cut into.
    """
    order = np.argsort(-num_events, kind="stable")
    for start in range(0, len(order), batch_size):
        piece = order[start : start + batch_size]
        yield [
            _deal(piece[num_events[piece] > begin], num_events, begin=begin, chunk=chunk, replicas=replicas)
            for begin in range(0, int(num_events[piece[0]]), chunk)
        ]


def _deal(piece: np.ndarray, num_events: np.ndarray, *, begin: int, chunk: int, replicas: int) -> Windows:
    slots = -(-len(piece) // replicas)
    number = np.arange(len(piece))
    row = number % replicas * slots + number // replicas
    columns = [np.zeros(replicas * slots, np.int64) for _ in range(3)]
    for column, values in zip(columns, (piece, begin, np.minimum(num_events[piece] - begin, chunk)), strict=True):
        column[row] = values
    return Windows(*columns)


def piece_seconds(pieces: Pieces, table: fields.FieldTable) -> np.ndarray:
    """`[num_pieces]` float64, how long each piece lasts, from its first onset to its last end; a tick at least."""
    step, duration = (pieces.raw[:, table.names.index(name)].astype(np.int64) for name in ("step", "duration"))
    first = pieces.first_event[:-1]
    onset = np.cumsum(step)
    lasts = np.maximum.reduceat(onset + duration, first) - onset[first]
    return np.maximum(lasts, 1) * pieces.milliseconds_per_tick.astype(np.float64) / 1000
