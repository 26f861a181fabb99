"""Whole pieces in chunks: which events are in which rows of which call of a model.

Pieces of similar length go together, the longest first. Row r of every chunk is the same piece, so that its state can
be carried over. Rows whose pieces have ended are dropped from the end, so that little is computed for nothing.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from trainer.data.batches import Windows
from trainer.data.pieces import Pieces

CHUNK = 256  # events of a piece per compiled call, few enough for a quick response to a signal


def plan_whole_pieces(
    num_events: np.ndarray, *, chunk: int, batch_size: int, replicas: int = 1
) -> Iterator[list[Windows]]:
    """Batches of whole pieces, each a list of chunks in order.

    Pieces are dealt to the replicas in turn, like cards, so that all replicas finish at about the same time. A chunk
    has equally many rows for each replica, the first replica's rows first. The rows that a replica has in the next
    chunk are the first of those it has in this one. A row without a piece has length 0.

    Args:
      num_events: `[num_pieces]` int64, at least 1 each.
      chunk: the most events of a piece per call.
      batch_size: the most rows of a chunk, a multiple of `replicas`.
      replicas: the number of equal parts that the rows are split into.
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


def piece_seconds(pieces: Pieces) -> np.ndarray:
    """`[num_pieces]` float64, how long each piece lasts, from its first onset to its last end; at least one tick."""
    step, duration = (pieces.names.index(name) for name in ("step", "duration"))
    lasts = []
    for block in pieces.blocks():
        first = block.first_event[:-1]
        onset = np.cumsum(block.raw[:, step], dtype=np.int64)
        lasts.append(np.maximum.reduceat(onset + block.raw[:, duration], first) - onset[first])
    ticks = np.maximum(np.concatenate([np.zeros(0, np.int64), *lasts]), 1)
    return ticks * pieces.index["milliseconds_per_tick"].astype(np.float64) / 1000
