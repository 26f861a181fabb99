"""Recurring patterns, phrases, key, longest note and loops: measures that need a piece as a whole.

    recurrence    of each note, 1 if it belongs to a pattern that occurred before in the piece, otherwise 0. A pattern
                  is six consecutive notes of one program (drums are one more program). It occurs again, in any key, if
                  its five intervals are equal, for drums its six pitches, and so are its five times from one chord to
                  the next: in ticks on the grid of beats. On that of milliseconds times are never quite equal, so only
                  which notes begin together counts. Both do not overlap. `memorisation.note_strings` defines what a
                  chord is, and which repeated notes and trills belong to no pattern
    phrase        of each note, how many chords its phrase has; without drums. A phrase ends where the time to the next
                  chord of the program is twice the program's median or more: a rest or a long note
    key_share     the share of the notes that lie in the scale that holds most of them, of the 24 major and natural
                  minor ones (each minor scale has the notes of its relative major: twelve sets); without drums
    longest_note  the longest duration as a share of the time from the first onset to the last end
    loop          the share of the notes in the second half that repeat what came one lag before: the same pitch and
                  program began then. Lags are half a beat to eight beats, by half beats; the one that gives the largest
                  share counts. Only on the grid of beats: on that of milliseconds times are never quite equal

The notes of a primer are where a pattern may have occurred before, and where a phrase may begin; their time is part of
the length.
"""

from __future__ import annotations

import itertools

import numpy as np

from midi_codec.measures.note_strings import BOUNDARY, Strings, strings_of
from midi_codec.music.notes import BEATS, DRUM_PROGRAM, TICKS_PER_BEAT, Notes

PATTERN_NOTES = 6
LONG_GAP = 2  # times the median
LOOP_LAGS = np.arange(1, 17) * (TICKS_PER_BEAT // 2)  # ticks

_MAJOR = np.isin(np.arange(12), (0, 2, 4, 5, 7, 9, 11))
_SCALES = np.array([np.roll(_MAJOR, tonic) for tonic in range(12)])  # [scales, pitch classes]


def recurrence(notes: Notes) -> np.ndarray:
    """`[n]` bool."""
    strings, index = _programs_of(notes)
    found = np.zeros(len(notes), bool)
    num_steps, total = PATTERN_NOTES - 1, len(strings.symbol)
    if total < num_steps:
        return found
    symbol = strings.symbol.astype(np.int64)
    time = strings.step.astype(np.int64) if notes.time_base == BEATS else strings.step > 0
    program = np.repeat(np.arange(len(strings.offsets) - 1), np.diff(strings.offsets))
    steps = _ranks(_ranks(symbol, time), program)  # a pattern of one program is not one of another
    pairs = _ranks(steps[:-1], steps[1:])
    fours = _ranks(pairs[:-2], pairs[2:])
    _, first, pattern = np.unique(_ranks(fours[:-1], steps[4:]), return_index=True, return_inverse=True)
    place = np.arange(len(pattern))
    gaps = np.append(0, np.cumsum(symbol == BOUNDARY))
    is_pattern = gaps[place + num_steps] == gaps[place]
    again = np.flatnonzero(is_pattern & (place - first[pattern] >= PATTERN_NOTES))
    changes = np.bincount(again - 1, minlength=total + 1) - np.bincount(again + num_steps, minlength=total + 1)
    found[index] = np.cumsum(changes)[:total] > 0
    return found


def phrase_lengths(notes: Notes) -> np.ndarray:
    """`[n]` int64; 0 for a drum."""
    lengths = np.zeros(len(notes), np.int64)
    programs = np.unique(notes.program[notes.program != DRUM_PROGRAM])
    if not len(programs):
        return lengths
    strings, index = _programs_of(notes, *programs)
    for begin, stop in itertools.pairwise(strings.offsets.tolist()):
        step = strings.step[begin + 1 : stop]
        begins = np.append(True, step > 0)
        gaps = step[begins[1:]]
        is_first = np.append(True, gaps >= LONG_GAP * np.median(gaps)) if len(gaps) else np.array([True])
        phrase = np.cumsum(is_first) - 1  # [chords]
        lengths[index[begin:stop]] = np.bincount(phrase)[phrase][np.cumsum(begins) - 1]
    return lengths


def key_share(notes: Notes) -> np.ndarray:
    """`[1]` float64, or `[0]` without a pitched note."""
    counts = np.bincount(notes.pitch[notes.program != DRUM_PROGRAM] % 12, minlength=12)
    return (_SCALES @ counts).max(keepdims=True) / counts.sum() if counts.any() else np.zeros(0)


def longest_note(notes: Notes, num_given: int) -> np.ndarray:
    """`[1]` float64, or `[0]` if no time passes, or all notes are given."""
    length = int(notes.end.max() - notes.start[0]) if len(notes) > num_given else 0
    return np.array([notes.duration[num_given:].max() / length]) if length else np.zeros(0)


def loop(notes: Notes, num_given: int) -> np.ndarray:
    """`[1]` float64, or `[0]` if all notes are given."""
    if len(notes) <= num_given:
        return np.zeros(0)
    per_tick = 128 * (DRUM_PROGRAM + 1)  # pitches and programs
    keys = notes.start.astype(np.int64) * per_tick + notes.pitch.astype(np.int64) * (DRUM_PROGRAM + 1) + notes.program
    second_half = keys[(num_given + len(notes)) // 2 :]
    is_repeated = np.isin(second_half - LOOP_LAGS[:, None] * per_tick, keys)  # [lags, notes]
    return is_repeated.mean(axis=1).max(keepdims=True)


def _programs_of(notes: Notes, *programs: int) -> tuple[Strings, np.ndarray]:
    """The notes of each program as a string, and where each of its entries is in `notes`."""
    places = [np.flatnonzero(notes.program == program) for program in programs or np.unique(notes.program)]
    strings = strings_of([notes.take(place) for place in places], notes.time_base)
    begin = np.repeat(strings.offsets[:-1], np.diff(strings.offsets))
    return strings, np.concatenate([np.zeros(0, np.int64), *places])[begin + strings.note]


def _ranks(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """`[n]` int64, equal where both are equal: below n, so that the ranks of ranks never overflow."""
    return np.unique(first * (int(second.max(initial=0)) + 1) + second, return_inverse=True)[1]
