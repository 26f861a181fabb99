"""Sources of a corpus in balance: pieces of small sources occur several times per epoch."""

from __future__ import annotations

import collections
import math
import re
from collections.abc import Sequence

import numpy as np

from job_runtime.problem_report import UserError, first_few
from trainer.data.pieces import Pieces


def balanced(pieces: Pieces, regex: str) -> tuple[Pieces, dict[str, int]]:
    """The pieces, those of smaller sources repeatedly, and how often those of each source occur.

    A source with a fraction of the notes of the largest occurs 1 / sqrt(fraction) times, rounded: it gains weight, and
    its pieces are not learned by heart. The first group of the expression names a piece's source.

    Raises:
      UserError: the expression finds nothing in some paths.
    """
    matches = [re.search(regex, path) for path in pieces.source]
    if others := [path for path, match in zip(pieces.source, matches, strict=True) if not (match and match[1])]:
        raise UserError(f"balance_regex {regex!r} finds no source in the paths {first_few(sorted(others))}")
    names = [match[1] for match in matches if match]
    notes: collections.Counter[str] = collections.Counter()
    for name, events in zip(names, pieces.num_events.tolist(), strict=True):
        notes[name] += events
    times = {name: round(math.sqrt(max(notes.values()) / count)) for name, count in sorted(notes.items())}
    return _repeated(pieces, [times[name] for name in names]), times


def _repeated(pieces: Pieces, times: Sequence[int]) -> Pieces:
    """Each piece as many times as given, its copies one after the other."""
    index = np.repeat(np.arange(pieces.num_pieces), times)
    lengths = pieces.num_events[index]
    first = np.concatenate([[0], np.cumsum(lengths)])
    rows = np.arange(first[-1]) + np.repeat(pieces.first_event[index] - first[:-1], lengths)
    return Pieces(
        raw=pieces.raw[rows],
        first_event=first.astype(np.int64),
        milliseconds_per_tick=pieces.milliseconds_per_tick[index],
        is_drum=pieces.is_drum[rows],
        piece_id=pieces.piece_id[index],
        group=pieces.group[index],
        source=[pieces.source[piece] for piece in index.tolist()],
    )
