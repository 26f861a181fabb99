"""Duplicates among generated pieces: equal notes, or a long shared run in any key.

Two pieces are exact duplicates if their generated notes, moved to the same start, are equal in every column. In
addition, the longest run that each piece shares with any other is found, by the same rules as for a corpus.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator

import numpy as np

from generation_jobs.memorisation import index_files
from generation_jobs.memorisation.corpus_index import Copied, Index
from generation_jobs.memorisation.run_search import Text, common_symbols, longest_common, together
from generation_jobs.memorisation.suffix_sort import DEPTH
from midi_codec.measures.note_strings import Strings

_CHUNK = 1 << 16  # positions whose symbols are compared at once


def exact_groups(piece_ids: Iterable[str]) -> list[list[int]]:
    """Indices of pieces with equal notes, for each group of two or more, in order.

    Args:
      piece_ids: of the generated notes; empty for a piece without notes, which is skipped.
    """
    ids = np.fromiter(map(str.encode, piece_ids), "S32")
    order = np.argsort(ids, kind="stable")
    order = order[ids[order] != b""]
    is_first = np.append(True, ids[order[1:]] != ids[order[:-1]])[: len(order)]
    begins = np.flatnonzero(is_first)
    groups = [order[begin:end] for begin, end in itertools.pairwise([*begins, len(order)]) if end > begin + 1]
    return sorted(group.tolist() for group in groups)


def shared_runs(index: Index) -> Iterator[Copied]:
    """For each piece of the index, in order, its longest run in common with any other.

    Positions count within the notes that the index has. Of equally long runs the first is given.
    """
    columns = index.columns
    bounds = _common_with_others(index)
    for first, last in together(columns.offsets):
        offsets = columns.offsets[first : last + 1].astype(np.int64)
        rows = slice(int(offsets[0]), int(offsets[-1]))
        mine = Strings(
            symbol=columns.symbol[rows],
            step=columns.step[rows],
            note=columns.note[rows],
            pitch=columns.pitch[rows],
            offsets=offsets - offsets[0],
        )
        runs = longest_common(
            Text.of_query(mine.symbol, mine.step, index.time_base),
            mine.offsets,
            index.text,
            columns.order,
            bounds=bounds[rows].astype(np.int64),
            excluded=np.stack([offsets[:-1], offsets[1:]], axis=1),
        )
        yield from index.describe(runs, mine, [0] * (len(offsets) - 1))


def _common_with_others(index: Index) -> np.ndarray:
    """`[total]` uint8: the most symbols that each position has in common with any of another piece, up to DEPTH.

    In sorted order that position is the nearest one of another piece. (The number is a little too high where both
    pieces end within these symbols.) The result is in a temporary file.
    """
    order, text = index.columns.order, index.text
    bounds = index_files.temporary(len(text), np.uint8)
    chunks = range(0, len(order), _CHUNK)
    for begins, step in ((chunks, 1), (reversed(chunks), -1)):  # the nearest one before, then the nearest one after
        last, last_at, nearest = -1, -1, -1  # the position seen last and its piece, and the nearest one of another
        for begin in begins:
            at = order[begin : begin + _CHUNK][::step].astype(np.int64)
            if not len(at):
                continue
            piece = np.searchsorted(index.columns.offsets, at, "right")
            seen = np.append(last_at, at[:-1])
            is_new = piece != np.append(last, piece[:-1])
            place = np.maximum.accumulate(np.where(is_new, np.arange(len(at)), -1))
            found = np.where(place >= 0, seen[np.maximum(place, 0)], nearest)
            last, nearest, last_at = int(piece[-1]), int(found[-1]), int(at[-1])
            is_there = found >= 0
            common = common_symbols(text, text, at[is_there], found[is_there])
            bounds[at[is_there]] = np.maximum(bounds[at[is_there]], np.minimum(common, DEPTH))
    return bounds
