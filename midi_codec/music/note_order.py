"""The total order of notes: start, then pitch, program, duration, velocity.

A note in music shorter than an hour fits a 64-bit word, with its columns in that order from the highest bits to the
lowest. So sorting the words sorts whole notes, without an index or gathering, and only equal notes tie.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

START_BITS, PITCH_BITS, PROGRAM_BITS, DURATION_BITS, VELOCITY_BITS = 22, 7, 8, 20, 7
MAX_PACKED_START = (1 << START_BITS) - 1
MAX_PACKED_DURATION = (1 << DURATION_BITS) - 1


def sort_pieces(columns: Sequence[np.ndarray], offsets: np.ndarray) -> list[np.ndarray]:
    """Puts the notes of each piece in the total order; piece i is `offsets[i]` to `offsets[i + 1]`.

    Args:
      columns: `[total]` each: start int32, pitch uint8, program uint8, duration int32, velocity uint8, all
        within the ranges of `notes.COLUMN_RANGES`.
      offsets: `[pieces + 1]`, ascending from 0 to `total`.
    """
    start, _, _, duration, _ = columns
    if not len(start):
        return list(columns)
    if start.max() <= MAX_PACKED_START and duration.max() <= MAX_PACKED_DURATION:
        words = _pack(*columns)
        bounds = offsets.tolist()
        for begin, stop in zip(bounds, bounds[1:], strict=False):
            words[begin:stop].sort(kind="stable")  # fast because tracks are sorted runs
        return _unpack(words)
    if len(offsets) > 2:
        pieces = [slice(begin, stop) for begin, stop in zip(offsets[:-1], offsets[1:], strict=True)]
        ordered = [_sort_piece([column[piece] for column in columns]) for piece in pieces]
        return [np.concatenate(parts) for parts in zip(*ordered, strict=True)]
    order = _index(*columns)
    return [column.take(order) for column in columns]


def _sort_piece(columns: Sequence[np.ndarray]) -> list[np.ndarray]:
    return sort_pieces(columns, np.array([0, len(columns[0])]))


def _pack(
    start: np.ndarray, pitch: np.ndarray, program: np.ndarray, duration: np.ndarray, velocity: np.ndarray
) -> np.ndarray:
    """`[total]` uint64; narrow columns are combined in their own width first, which is faster."""
    low = duration.astype(np.uint32)
    low <<= VELOCITY_BITS
    low |= velocity.astype(np.uint32)
    middle = pitch.astype(np.uint16)
    middle <<= PROGRAM_BITS
    middle |= program.astype(np.uint16)
    words = start.astype(np.uint64)
    words <<= PITCH_BITS + PROGRAM_BITS
    words |= middle.astype(np.uint64)
    words <<= DURATION_BITS + VELOCITY_BITS
    words |= low.astype(np.uint64)
    return words


def _unpack(words: np.ndarray) -> list[np.ndarray]:
    """The inverse of `_pack`; overwrites `words`."""
    low = words.astype(np.uint32)
    velocity = low.astype(np.uint8)
    velocity &= (1 << VELOCITY_BITS) - 1
    low >>= VELOCITY_BITS
    low &= MAX_PACKED_DURATION
    words >>= DURATION_BITS + VELOCITY_BITS
    middle = words.astype(np.uint32)
    program = middle.astype(np.uint8)
    middle >>= PROGRAM_BITS
    pitch = middle.astype(np.uint8)
    pitch &= (1 << PITCH_BITS) - 1
    words >>= PITCH_BITS + PROGRAM_BITS
    return [words.astype(np.int32), pitch, program, low.view(np.int32), velocity]


def _index(
    start: np.ndarray, pitch: np.ndarray, program: np.ndarray, duration: np.ndarray, velocity: np.ndarray
) -> np.ndarray:
    """`[n]` the index that sorts one piece, however long it lasts.

    The first three columns fit one integer; only notes that are equal in these are sorted by the others.
    """
    key = start.astype(np.int64)
    key <<= 15
    key |= pitch.astype(np.int64) << 8 | program
    order = key.argsort(kind="stable")
    key = key.take(order)
    same = key[1:] == key[:-1]
    if np.any(same):
        tied = np.flatnonzero(np.append(same, False) | np.append(False, same))
        rows = order[tied]
        order[tied] = rows[np.lexsort([velocity[rows], duration[rows], key[tied]])]
    return order
