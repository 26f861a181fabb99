"""Duplicates among generated pieces: equal notes, or a long shared run in any key.

Two pieces are exact duplicates if their generated notes, moved to the same start, are equal in every column. In
addition, the longest run that each piece shares with any other is found, by the same rules as for a corpus.
"""

from __future__ import annotations

import collections
from collections.abc import Iterator, Sequence

import numpy as np

from generation_jobs.memorisation.corpus_index import Copied, Index
from generation_jobs.memorisation.note_strings import END, Strings
from generation_jobs.memorisation.run_search import DEPTH, Run, Text, common_symbols, longest_common
from midi_codec.dataset.records import Piece
from midi_codec.music.notes import Notes

_CHUNK = 1 << 16  # positions whose symbols are compared at once


def exact_groups(generated: Sequence[Notes]) -> list[list[int]]:
    """Indices of pieces with equal notes, for each group of two or more, in order; pieces without notes are skipped."""
    rows: dict[str, list[int]] = collections.defaultdict(list)
    for row, notes in enumerate(generated):
        if len(notes):
            rows[notes.piece_id].append(row)
    return [group for group in rows.values() if len(group) > 1]


def shared_runs(generated: Sequence[Notes], names: Sequence[str], *, time_base: str) -> Iterator[Copied]:
    """For each piece, in order, its longest run in common with any other; `piece_id` is the other piece's name.

    `generated` excludes the primers' notes, and positions count within it. Of equally long runs the first is given.

    Raises:
      ValueError: the pieces are on another grid than `time_base`.
    """
    pieces = [Piece(name, "", "", notes) for name, notes in zip(names, generated, strict=True)]
    index = Index.build(pieces, time_base=time_base, dataset="")
    bounds = _common_with_others(index)
    strings = index.strings
    for begin, end in zip(strings.offsets[:-1].tolist(), strings.offsets[1:].tolist(), strict=True):
        rows = slice(begin, end)
        mine = Strings(
            strings.symbol[rows],
            strings.step[rows],
            strings.note[rows],
            strings.pitch[rows],
            np.array([0, end - begin]),
        )
        query = Text.of(mine.symbol, mine.step, time_base, padding=END)
        run: Run = longest_common(query, index.text, index.order, bounds=bounds[rows], excluded=(begin, end))
        yield index.describe(run, mine, 0)


def _common_with_others(index: Index) -> np.ndarray:
    """`[total]`: the most symbols that each position has in common with any position of another piece, up to DEPTH.

    In sorted order that position is the nearest one of another piece. (The number is a little too high where both
    pieces end within these symbols.)
    """
    order, text = index.order, index.text
    total = len(order)
    piece = np.repeat(np.arange(len(index.piece_ids), dtype=np.int32), np.diff(index.strings.offsets))[order]
    starts = np.flatnonzero(np.diff(piece, prepend=-1))  # of blocks of consecutive positions of one piece
    block = np.cumsum(np.diff(piece, prepend=-1) != 0) - 1
    before = starts[block] - 1
    after = np.append(starts, total)[block + 1]
    bounds = np.zeros(total, np.int64)
    for begin in range(0, total, _CHUNK):
        rows = np.arange(begin, min(begin + _CHUNK, total))
        for others in (before[rows], after[rows]):
            is_there = (others >= 0) & (others < total)
            at, found = order[rows[is_there]], order[others[is_there]]
            common = common_symbols(text, text, at, found)
            bounds[at] = np.maximum(bounds[at], np.minimum(common, DEPTH))
    bounds[text.symbol[:total] >= END] = 0
    return bounds
