"""A picture of a piece: time runs to the right, pitch upwards, one rectangle per note. Needs only NumPy.

On the left are the keys of a piano; there is a line below every C, and the rows of black keys are shaded. Vertical
lines mark seconds (every fifth one is stronger), or beats (every fourth) on a grid of beats. Each program has a colour;
drums are grey. A pale note is a soft one. The dark left edge of a note is its onset, so that repeated notes can be told
apart. All pictures have the same scale, so that those of two validations can be compared.
"""

from __future__ import annotations

import colorsys

import numpy as np

from midi_codec.music.notes import BEATS, DRUM_PROGRAM, Notes

KEY_PIXELS = 5  # height of a pitch
SECOND_PIXELS = 32  # width of a second
KEYBOARD_PIXELS = 28
MIN_SECONDS = 8.0
MAX_SECONDS = 120.0  # later notes are not drawn
LOWEST_KEY, HIGHEST_KEY = 21, 108  # a piano's; further keys are shown where there are notes
BLACK_KEYS = (1, 3, 6, 8, 10)  # of an octave, from C
PAPER, BLACK_ROW, FAINT, STRONG, INK = 255, 244, 226, 190, 40
SOFTEST_SHARE = 0.3  # share of its colour in a note of velocity 0; the rest is paper
GOLDEN_TURN = 0.61803398875  # of the colour circle between consecutive programs, so that they look different


def draw(notes: Notes) -> np.ndarray:
    """`[height, width, 3]` uint8, the piece from tick 0 to its end, at most `MAX_SECONDS` of it."""
    low = min(LOWEST_KEY, int(notes.pitch.min(initial=127)))
    high = max(HIGHEST_KEY, int(notes.pitch.max(initial=0)))
    seconds = min(max(notes.seconds, MIN_SECONDS), MAX_SECONDS)
    width = KEYBOARD_PIXELS + int(np.ceil(seconds * SECOND_PIXELS))
    picture = np.full(((high - low + 1) * KEY_PIXELS, width, 3), PAPER, np.uint8)
    pitches = np.repeat(np.arange(high, low - 1, -1), KEY_PIXELS)  # of each row of pixels
    picture[np.isin(pitches % 12, BLACK_KEYS)] = BLACK_ROW
    _draw_time_lines(picture, notes)
    picture[_bottoms_of_c(pitches)] = STRONG
    _draw_notes(picture, notes, high)
    _draw_keyboard(picture[:, :KEYBOARD_PIXELS], pitches)
    return picture


def program_colour(program: int) -> np.ndarray:
    """`[3]` float64 from 0 to 255."""
    if program == DRUM_PROGRAM:
        return np.full(3, 90.0)
    hue = (0.6 + program * GOLDEN_TURN) % 1.0  # a piano is blue
    return 255 * np.array(colorsys.hls_to_rgb(hue, 0.4, 0.75))


def _draw_time_lines(picture: np.ndarray, notes: Notes) -> None:
    seconds, strong = (60.0 / notes.tempo, 4) if notes.time_base == BEATS else (1.0, 5)
    count = int((picture.shape[1] - KEYBOARD_PIXELS) / (seconds * SECOND_PIXELS))
    for number in range(count + 1):
        column = KEYBOARD_PIXELS + round(number * seconds * SECOND_PIXELS)
        picture[:, column : column + 1] = FAINT if number % strong else STRONG


def _draw_notes(picture: np.ndarray, notes: Notes, high: int) -> None:
    per_tick = notes.seconds_per_tick * SECOND_PIXELS
    lefts = KEYBOARD_PIXELS + np.floor(notes.start * per_tick).astype(np.int64)
    rights = np.maximum(KEYBOARD_PIXELS + np.rint(notes.end * per_tick).astype(np.int64), lefts + 2)
    tops = (high - notes.pitch.astype(np.int64)) * KEY_PIXELS
    colours = {program: program_colour(program) for program in np.unique(notes.program).tolist()}
    shares = SOFTEST_SHARE + (1 - SOFTEST_SHARE) * notes.velocity / 127
    columns = (lefts.tolist(), rights.tolist(), tops.tolist(), notes.program.tolist(), shares.tolist())
    for left, right, top, program, share in zip(*columns, strict=True):
        body = picture[top : top + KEY_PIXELS - 1, left:right]
        body[:] = PAPER + share * (colours[program] - PAPER)
        body[:, :1] = 0.5 * colours[program]


def _draw_keyboard(columns: np.ndarray, pitches: np.ndarray) -> None:
    """Fills the columns left of the music; black keys are shorter than white ones."""
    columns[:] = PAPER
    white_edges = np.isin(pitches % 12, (0, 5)) & _is_bottom(pitches)  # B-C and E-F have no black key between
    columns[white_edges] = STRONG
    black = np.isin(pitches % 12, BLACK_KEYS)
    columns[black, : KEYBOARD_PIXELS * 3 // 5] = INK
    columns[black & (np.arange(len(pitches)) % KEY_PIXELS == KEY_PIXELS // 2), KEYBOARD_PIXELS * 3 // 5 :] = STRONG
    columns[:, -1] = INK


def _is_bottom(pitches: np.ndarray) -> np.ndarray:
    """Which rows are the lowest of their pitch."""
    return np.diff(pitches, append=-1) != 0


def _bottoms_of_c(pitches: np.ndarray) -> np.ndarray:
    return (pitches % 12 == 0) & _is_bottom(pitches)
