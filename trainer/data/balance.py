"""Sources of a corpus in balance: pieces of small sources occur several times per epoch."""

from __future__ import annotations

import dataclasses
import math
import re

import numpy as np

from job_runtime.problem_report import UserError, first_few
from trainer.data.pieces import BLOCK_PIECES, PIECE, Pieces


def balanced(pieces: Pieces, regex: str) -> tuple[Pieces, dict[str, int]]:
    """The pieces, those of smaller sources repeatedly, and how often those of each source occur.

    A source with a fraction of the notes of the largest occurs 1 / sqrt(fraction) times, rounded: it gains weight, and
    its pieces are not learned by heart. The first group of the expression names a piece's source.

    Raises:
      UserError: the expression finds nothing in some paths.
    """
    number: dict[str, int] = {}  # of each source
    notes: list[int] = []
    source_of = pieces.scratch(pieces.num_pieces, np.int32)
    others = []
    for piece, events in enumerate(pieces.num_events):
        path = pieces.source(piece)
        match = re.search(regex, path)
        if not (match and match[1]):
            others.append(path)
            continue
        if match[1] not in number:
            number[match[1]] = len(notes)
            notes.append(0)
        source_of[piece] = number[match[1]]
        notes[number[match[1]]] += int(events)
    if others:
        raise UserError(f"balance_regex {regex!r} finds no source in the paths {first_few(sorted(others))}")
    times = {name: round(math.sqrt(max(notes) / notes[number[name]])) for name in sorted(number)}
    return _repeated(pieces, source_of, np.array([times[name] for name in number])), times


def _repeated(pieces: Pieces, source_of: np.ndarray, times: np.ndarray) -> Pieces:
    """Each piece as many times as its source says, its copies one after the other."""
    index = pieces.scratch(int(np.bincount(source_of) @ times), PIECE)
    done = 0
    for begin in range(0, pieces.num_pieces, BLOCK_PIECES):
        block = slice(begin, begin + BLOCK_PIECES)
        part = np.repeat(pieces.index[block], times[source_of[block]])
        index[done : done + len(part)] = part
        done += len(part)
    return dataclasses.replace(pieces, index=index)
