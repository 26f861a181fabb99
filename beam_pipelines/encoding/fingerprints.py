"""Fingerprints: a short row of numbers per piece, which other versions of the same music share in part.

Onsets close together form a chord, of which only the highest and the lowest pitch count, so the order of notes and
inner voices do not matter. A feature is the six intervals between seven successive highest (or lowest) pitches, and
whether their second half takes longer than the first, shorter, or neither. Transposition, tempo, tracks, programs,
velocities and durations do not change it.

A fingerprint is a one-permutation MinHash of the set of features: a hash puts every feature into one of NUM_VALUES
bins, and each bin keeps the smallest. The share of bins in which two pieces agree estimates the share of features that
they have in common (Jaccard index: those in both divided by those in either). The constants below follow from the
measurements in docs/near_duplicates.md.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from midi_codec.music.note_batch import NoteBatch
from midi_codec.music.notes import BEATS, COLUMN_DTYPES, DRUM_PROGRAM, MILLISECONDS

NUM_VALUES = 128
DTYPE = np.uint16
EMPTY = 0  # a bin without a feature
MIN_FILLED = 32  # bins; a piece with fewer (about 37 features) has only empty ones: no fingerprint

_NUM_INTERVALS = 6
_INTERVAL_BITS = 5  # intervals count modulo 32 semitones
_NUM_MORE_OF_DRUMS = 3  # much music shares rhythms of a few drums, so drums have longer features
_LONGER = np.float32(1.7)  # times as long as the other half
_BIN_BITS = NUM_VALUES.bit_length() - 1
_NOTHING = np.uint32(0xFFFFFFFF)  # above every hash
_NOTES_AT_ONCE = 1 << 16  # their intermediate results fit into a processor's cache


class _Grid(NamedTuple):
    """In ticks: longer gaps count as `longest_gap`; notes within `always_chord` form a chord in any piece."""

    longest_gap: int
    always_chord: int
    most_chord: int


_GRIDS = {MILLISECONDS: _Grid(1000, 25, 100), BEATS: _Grid(48, 1, 5)}
_CHORD_SHARE = 0.2  # of a piece's typical gap


class _Chords(NamedTuple):
    """The chords of all pieces, concatenated."""

    piece: np.ndarray  # [n] int64
    start: np.ndarray  # [n] int32, ticks
    outer: np.ndarray  # [2, n] uint32, highest and lowest pitch
    is_drums: np.ndarray  # [pieces] bool, whether a piece is all drums


def of_batch(batch: NoteBatch) -> np.ndarray:
    """`[pieces, NUM_VALUES]` of DTYPE; a row depends only on its piece.

    Drums count only in pieces without other notes.
    """
    rows = np.empty((len(batch), NUM_VALUES), DTYPE)
    step = max(1, len(batch) * _NOTES_AT_ONCE // max(1, len(batch.start)))
    for begin in range(0, len(batch), step):
        rows[begin : begin + step] = _smallest_in_bins(_chords(_slice(batch, begin, min(begin + step, len(batch)))))
    return rows


def _slice(batch: NoteBatch, begin: int, end: int) -> NoteBatch:
    """Pieces `begin` to `end`; the columns are views."""
    notes = slice(batch.offsets[begin], batch.offsets[end])
    columns = {name: getattr(batch, name)[notes] for name in COLUMN_DTYPES}
    offsets = batch.offsets[begin : end + 1] - batch.offsets[begin]
    tempo, signatures = batch.tempo[begin:end], batch.signatures[begin:end]
    return NoteBatch(**columns, offsets=offsets, tempo=tempo, time_base=batch.time_base, signatures=signatures)


def _smallest_in_bins(chords: _Chords) -> np.ndarray:
    """`[pieces, NUM_VALUES]`, the fingerprints."""
    num_pieces = len(chords.is_drums)
    bins = np.full(num_pieces * NUM_VALUES, _NOTHING, np.uint32)
    if len(chords.piece) > _NUM_INTERVALS:
        hashes, is_counted = _hash_features(chords)
        if chords.is_drums.any():
            _lengthen_drums(hashes, is_counted, chords)
        bin_index = hashes & np.uint32(NUM_VALUES - 1) | (chords.piece[:-_NUM_INTERVALS] << _BIN_BITS)
        hashes >>= np.uint32(_BIN_BITS)
        hashes[~is_counted] = _NOTHING
        np.minimum.at(bins, bin_index.ravel(), hashes.ravel())
    is_empty = bins == _NOTHING
    bins *= np.uint32(0x9E3779B1)  # minima are small: spread them over 16 bits
    bins >>= np.uint32(16)
    np.maximum(bins, EMPTY + 1, out=bins)
    bins[is_empty] = EMPTY
    rows = bins.astype(DTYPE).reshape(num_pieces, NUM_VALUES)
    rows[np.count_nonzero(rows, axis=1) < MIN_FILLED] = EMPTY
    return rows


def _chords(batch: NoteBatch) -> _Chords:
    """Notes form a chord if each starts soon after the previous one.

    The threshold is a share of the piece's typical gap between onsets, so that tempo does not matter. The typical gap
    is the mean over time (not over notes), which notes within chords hardly change.
    """
    grid = _GRIDS[batch.time_base]
    pitch, start, lengths, is_drums = _counted_notes(batch)
    begins = (np.cumsum(lengths) - lengths)[lengths > 0]
    gap = np.diff(start, prepend=start[:1])
    gap[begins] = 0
    close = np.zeros(len(lengths), np.int32)
    if len(begins):
        capped = np.minimum(gap, grid.longest_gap)
        total = np.add.reduceat(capped, begins, dtype=np.int64)  # whole numbers, so that neighbours do not matter
        squares = np.add.reduceat(capped * capped, begins, dtype=np.int64)
        typical = squares / np.maximum(total, 1)
        close[lengths > 0] = np.clip(_CHORD_SHARE * typical, grid.always_chord, grid.most_chord)
    is_first = gap > np.repeat(close, lengths)
    is_first[begins] = True
    first = np.flatnonzero(is_first)
    chord: np.ndarray = np.cumsum(is_first) - 1
    outer = np.zeros((2, len(first)), np.uint8)
    outer[1] = 255
    np.maximum.at(outer[0], chord, pitch)
    np.minimum.at(outer[1], chord, pitch)
    piece = np.repeat(np.flatnonzero(lengths), np.diff(chord[begins], append=len(first)))
    outer = outer.astype(np.uint32)
    if is_drums.any():  # drums have no intervals: a stroke is its highest and lowest drum together
        outer = np.where(is_drums[piece], outer[0] * np.uint32(5) + outer[1] * np.uint32(11), outer)
    return _Chords(piece, start[first], outer, is_drums)


def _counted_notes(batch: NoteBatch) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Pitches and starts without drums, the number of notes per piece, and whether a piece is all drums."""
    is_drum = batch.program == DRUM_PROGRAM
    if not is_drum.any():
        return batch.pitch, batch.start, batch.lengths, np.zeros(len(batch), bool)
    num_drums = np.diff(np.concatenate([np.zeros(1, np.int64), np.cumsum(is_drum)])[batch.offsets])
    is_drums = num_drums == batch.lengths
    rows = np.flatnonzero(~is_drum | np.repeat(is_drums, batch.lengths))
    lengths = np.where(is_drums, num_drums, batch.lengths - num_drums)
    return batch.pitch[rows], batch.start[rows], lengths, is_drums


def _hash_features(chords: _Chords) -> tuple[np.ndarray, np.ndarray]:
    """`[2, n - 6]`: uint32 hashes of the features that begin at each chord, and bool, which of them count.

    A feature that extends into the next piece does not count; nor does one that repeats one or two intervals (repeated
    pitches, trills, broken octaves), because all music has those.
    """
    interval = (chords.outer[:, 1:] - chords.outer[:, :-1]) & np.uint32((1 << _INTERVAL_BITS) - 1)
    two = interval[:, :-1] << np.uint32(_INTERVAL_BITS) | interval[:, 1:]
    four = two[:, :-2] << np.uint32(2 * _INTERVAL_BITS) | two[:, 2:]
    hashes = four[:, :-2] << np.uint32(2 * _INTERVAL_BITS) | two[:, 4:]
    is_counted = four[:, :-2] != four[:, 2:]
    is_counted &= chords.piece[:-_NUM_INTERVALS] == chords.piece[_NUM_INTERVALS:]
    middle = chords.start[_NUM_INTERVALS // 2 : -_NUM_INTERVALS // 2]
    first_half = (middle - chords.start[:-_NUM_INTERVALS]).astype(np.float32)
    second_half = (chords.start[_NUM_INTERVALS:] - middle).astype(np.float32)
    hashes |= (second_half > first_half * _LONGER).astype(np.uint32) << np.uint32(30)
    hashes |= (first_half > second_half * _LONGER).astype(np.uint32) << np.uint32(31)
    _mix(hashes)
    return hashes, is_counted


def _lengthen_drums(hashes: np.ndarray, is_counted: np.ndarray, chords: _Chords) -> None:
    """Combines each feature of all-drum pieces with a later one, in place."""
    num = max(0, hashes.shape[1] - _NUM_MORE_OF_DRUMS)
    piece = chords.piece
    is_drum = chords.is_drums[piece[:-_NUM_INTERVALS]]
    longer = hashes[:, :num] * np.uint32(0x9E3779B1) ^ hashes[:, _NUM_MORE_OF_DRUMS:]
    _mix(longer)
    is_longer_counted = is_counted[:, :num] | is_counted[:, _NUM_MORE_OF_DRUMS:]
    is_longer_counted &= piece[:num] == piece[_NUM_INTERVALS + _NUM_MORE_OF_DRUMS :]
    hashes[:, :num] = np.where(is_drum[:num], longer, hashes[:, :num])
    is_counted[:, :num] = np.where(is_drum[:num], is_longer_counted, is_counted[:, :num])
    is_counted[:, num:] &= ~is_drum[num:]


def _mix(values: np.ndarray) -> None:
    """A bijection of uint32, in place, that makes every bit depend on all bits: Wellons' lowbias32."""
    values ^= values >> np.uint32(16)
    values *= np.uint32(0x7FEB352D)
    values ^= values >> np.uint32(15)
    values *= np.uint32(0x846CA68B)
    values ^= values >> np.uint32(16)
