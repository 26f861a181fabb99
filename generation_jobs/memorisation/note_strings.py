"""Pieces as strings in which the same notes in another key, or a little off in time, are the same letters.

What is compared of a note is the step from the note before it:

    symbol   the interval in pitch, -127 to 127; of drums both pitches, since a drum in another key is another drum
    step     the time from one chord to the next, in ticks; 0 inside a chord

The order of notes is by chord, and inside a chord by pitch. A chord is all notes of which each begins at most
`CHORD_TICKS` after the one before it: the order of notes that are played together is chance. (Between chords a little
rolled and the fastest notes of a hand there is least at 50 ms.) Drums are left out, but of a piece of nothing else.

A note repeated, a trill, a tremolo are in any music: where the symbol is that of two steps before, and so it was for
`TRIVIAL_STEPS` steps, the step agrees with nothing, and a run ends there.

Two steps agree when the symbols are equal and the times differ by at most `SLACK_TICKS`, or neither is more than 1.4
times the other: less than a dotted note (1.5) is from an even one. So a run holds at another tempo too, as long as that
is not 1.4 times as fast.
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

BOUNDARY = 65535  # symbol of a piece's first note, and of trivial ones: agrees with nothing
END = 65534  # behind a piece that is looked for: agrees with nothing either
_FIRST_DRUM = 256  # symbols from here on are two drums, 128 * before + after


@dataclasses.dataclass(frozen=True, eq=False)
class Strings:
    """Pieces one behind the other, each in the order of comparison; entry k of a piece is the step to its note k."""

    symbol: np.ndarray  # [total] uint16; the first of each piece is BOUNDARY, trivial ones too
    step: np.ndarray  # [total] int32, ticks; the first of each piece is its onset
    note: np.ndarray  # [total] int32: which note of the piece this is, in the order of `Notes`
    pitch: np.ndarray  # [total] uint8
    offsets: np.ndarray  # [pieces + 1] int64


def strings_of(pieces: Sequence[Notes], time_base: str) -> Strings:
    """The pieces, in order; one without notes has a string without symbols.

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
    order = np.argsort(chord * 128 + pitch, kind="stable")  # onsets and pieces are those of the chord, so they stay
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
    """`[total]` bool: the symbols have repeated one or two for some time, all in one piece."""
    place = np.arange(len(symbol))
    in_piece = place - np.maximum.accumulate(np.where(is_first, place, 0))
    goes_on = in_piece >= 3  # steps begin at the second note
    goes_on[2:] &= symbol[2:] == symbol[:-2]
    return place - np.maximum.accumulate(np.where(goes_on, -1, place)) >= TRIVIAL_STEPS


def steps_agree(first: np.ndarray, second: np.ndarray, time_base: str) -> np.ndarray:
    """Whether times between chords count as equal; int64 or int32 ticks, any shapes that go together."""
    larger = np.maximum(first, second).astype(np.int64)
    smaller = np.minimum(first, second).astype(np.int64)
    return (larger - smaller <= SLACK_TICKS[time_base]) | (larger * _RATIO[1] <= smaller * _RATIO[0])
