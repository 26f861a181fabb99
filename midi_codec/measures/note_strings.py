"""Pieces as strings in which equal notes in another key, or slightly different in time, are the same symbols.

A note is compared by the step from the previous note:

    symbol   the interval in pitch, -127 to 127; for drums both pitches, since a transposed drum is another drum
    step     the time from one chord to the next, in ticks; 0 inside a chord

Notes are ordered by chord, and inside a chord by pitch. A chord is a series of notes each of which begins at most
`CHORD_TICKS` after the previous one: the order of notes that are played together is arbitrary. (50 ms separates
slightly rolled chords from the fastest notes of one hand best.) Drums are ignored, unless a piece has nothing else.

Repeated notes, trills and tremolos occur in any music: where the symbol has equalled that of two steps before for
`TRIVIAL_STEPS` steps, the step agrees with nothing, and a run ends there.

Two steps agree if their symbols are equal and their times differ by at most `SLACK_TICKS`, or neither time is more than
1.4 times the other: less than the ratio of a dotted to an even note (1.5). So a run is also found at another tempo, up
to 1.4 times as fast.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from midi_codec.music.notes import BEATS, DRUM_PROGRAM, MILLISECONDS, Notes
from midi_codec.music.piece_offsets import offsets_of, reduce_pieces

CHORD_TICKS: Mapping[str, int] = {MILLISECONDS: 50, BEATS: 1}
SLACK_TICKS: Mapping[str, int] = {MILLISECONDS: 60, BEATS: 2}
TRIVIAL_STEPS = 8
_RATIO = (7, 5)  # 1.4, in whole numbers

BOUNDARY = 65535  # symbol of a piece's first note, and of trivial steps: agrees with nothing
END = 65534  # after the piece that is searched for: also agrees with nothing
_FIRST_DRUM = 256  # symbols from here on are pairs of drums, 128 * before + after


@dataclasses.dataclass(frozen=True, eq=False)
class Strings:
    """Pieces one after another, each in the order of comparison; entry k of a piece is the step to its note k."""

    symbol: np.ndarray  # [total] uint16; BOUNDARY for the first of each piece and for trivial steps
    step: np.ndarray  # [total] int32, ticks; the first of each piece is its onset
    note: np.ndarray  # [total] int32: the index of the note in its piece, in the order of `Notes`
    pitch: np.ndarray  # [total] uint8
    offsets: np.ndarray  # [pieces + 1] int64


def strings_of(pieces: Sequence[Notes], time_base: str) -> Strings:
    """The strings of the pieces, in order; a piece without notes has an empty string.

    Raises:
      ValueError: a piece is on another grid.
    """
    for index, notes in enumerate(pieces):
        if notes.time_base != time_base:
            raise ValueError(f"piece {index} is on the grid of {notes.time_base}, want {time_base}")
    lengths = [len(notes) for notes in pieces]
    nothing = np.zeros(0, np.int64)
    pitch = np.concatenate([nothing, *(notes.pitch for notes in pieces)])
    start = np.concatenate([nothing, *(notes.start for notes in pieces)])
    is_drum = np.concatenate([nothing, *(notes.program for notes in pieces)]) == DRUM_PROGRAM
    is_used = is_drum == np.repeat(reduce_pieces(np.logical_and, is_drum, offsets_of(lengths)), lengths)
    piece = np.repeat(np.arange(len(pieces)), lengths)[is_used]
    note = (np.arange(len(pitch)) - np.repeat(offsets_of(lengths)[:-1], lengths))[is_used]
    pitch, start, is_drum = pitch[is_used], start[is_used], is_drum[is_used]
    is_first = np.diff(piece, prepend=-1) != 0
    is_chord_start = is_first | (np.diff(start, prepend=0) > CHORD_TICKS[time_base])
    chord = np.cumsum(is_chord_start)
    onset = start[is_chord_start][chord - 1]
    order = np.argsort(chord * 128 + pitch, kind="stable")  # onsets and pieces are per chord, so they need no sorting
    pitch, is_drum = pitch[order], is_drum[order]
    before = np.concatenate([pitch[:1], pitch[:-1]])
    symbol = np.where(is_drum, _FIRST_DRUM + 128 * before + pitch, 127 + pitch - before)
    return Strings(
        symbol=np.where(is_first | _are_trivial(symbol, is_first), BOUNDARY, symbol).astype(np.uint16),
        step=np.where(is_first, onset, np.diff(onset, prepend=0)).astype(np.int32),
        note=note[order].astype(np.int32),
        pitch=pitch.astype(np.uint8),
        offsets=offsets_of(np.bincount(piece, minlength=len(pieces))),
    )


def _are_trivial(symbol: np.ndarray, is_first: np.ndarray) -> np.ndarray:
    """`[total]` bool: whether the last steps only alternate between one or two symbols, within one piece."""
    position = np.arange(len(symbol))
    in_piece = position - np.maximum.accumulate(np.where(is_first, position, 0))
    goes_on = in_piece >= 3  # steps begin at the second note
    goes_on[2:] &= symbol[2:] == symbol[:-2]
    return position - np.maximum.accumulate(np.where(goes_on, -1, position)) >= TRIVIAL_STEPS


def steps_agree(first: np.ndarray, second: np.ndarray, time_base: str) -> np.ndarray:
    """Whether times between chords count as equal; int64 or int32 ticks of shapes that broadcast."""
    larger = np.maximum(first, second).astype(np.int64)
    smaller = np.minimum(first, second).astype(np.int64)
    return (larger - smaller <= SLACK_TICKS[time_base]) | (larger * _RATIO[1] <= smaller * _RATIO[0])
