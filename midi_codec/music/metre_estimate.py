"""An estimate of the time signature of a piece on the grid of beats, and of where its bars begin.

Each of 2/4, 3/4, 4/4 and 6/8 is tried with its bar line at each eighth note from the first onset on. The score is a
weighted sum of six features: long notes begin at bar lines, and at beats; few notes are held across bar lines; pitch
classes change there; bars resemble the next ones; and the first onset is at a bar line.

The weights are those of a logistic regression on the scores of OpenScore, ASAP and Freedoom.
"""

from __future__ import annotations

import numpy as np

from midi_codec.music.notes import BEATS, DRUM_PROGRAM, TICKS_PER_BEAT, Notes
from midi_codec.music.signatures import TimeSignature

SLOT = TICKS_PER_BEAT // 2  # ticks
MAX_SLOTS = 4096  # of a piece; the rest is ignored
MIN_ONSETS = 16  # different times; fewer say nothing about bars
LONG = 4 * TICKS_PER_BEAT  # a longer note counts as this long
WINDOW = 4  # slots before and after a place, whose pitch classes are compared

METRES = ((2, 4, 4, 2), (3, 4, 6, 2), (4, 4, 8, 2), (6, 8, 6, 3))  # numerator, denominator, slots per bar and per beat
WEIGHTS = np.array([1.4, 5.4, -4.6, 11.5, 4.2, 3.8])
PRIOR = np.array([-0.5, -0.8, 0.0, -2.2])  # of the metres


def estimate(notes: Notes) -> TimeSignature | None:
    """The time signature from its last bar line up to the first onset; None if the notes do not show any."""
    if notes.time_base != BEATS or len(np.unique(notes.start)) < MIN_ONSETS:
        return None
    places = [(metre, phase) for metre, (*_, bar, _) in enumerate(METRES) for phase in range(bar)]
    scores = features(notes) @ WEIGHTS + PRIOR[[metre for metre, _ in places]]
    metre, phase = places[int(np.argmax(scores))]
    numerator, denominator, bar, _ = METRES[metre]
    first = int(notes.start[0])
    return TimeSignature(first - (bar - phase) % bar * SLOT, numerator, denominator)


def features(notes: Notes) -> np.ndarray:
    """`[candidates, 6]` float64: for each metre, for each slot of its bar at which a bar line may be."""
    start = notes.start.astype(np.int64) - notes.start[0]
    kept = start < MAX_SLOTS * SLOT
    start, length = start[kept], np.minimum(notes.duration[kept], LONG).astype(np.float64)
    slot, num_slots = start // SLOT, int(start[-1]) // SLOT + 1
    long = np.bincount(slot, np.where(start % SLOT == 0, length, 0.0), num_slots)
    held = _held(slot, (start + notes.duration[kept] - 1) // SLOT, num_slots)
    is_pitched = notes.program[kept] != DRUM_PROGRAM
    harmony = np.zeros((num_slots, 12))
    np.add.at(harmony, (slot[is_pitched], notes.pitch[kept][is_pitched] % 12), length[is_pitched])
    novelty = _novelty(harmony)
    rows = []
    for _, _, bar, beat in METRES:
        repeats = _autocorrelation(long, bar)
        for phase in range(bar):
            bars = slice(phase, None, bar)
            at_bar = _mean(held[bars]) - held.mean(), _mean(novelty[bars])
            accents = _lift(long, phase, bar), _lift(long, phase % beat, beat)
            rows.append([*accents, *at_bar, repeats, float(phase == 0)])
    return np.array(rows)


def _held(first: np.ndarray, last: np.ndarray, num_slots: int) -> np.ndarray:
    """`[slots]` 1 where a note that began in an earlier slot still sounds, else 0."""
    change = np.zeros(num_slots + 1, np.int64)
    np.add.at(change, np.minimum(first + 1, num_slots), 1)
    np.add.at(change, np.minimum(np.maximum(last, first) + 1, num_slots), -1)
    return (np.cumsum(change)[:-1] > 0).astype(np.float64)


def _novelty(harmony: np.ndarray) -> np.ndarray:
    """`[slots]`: how unlike the pitch classes before and after each slot's start are, less the mean; else 0."""
    total = np.concatenate([np.zeros((1, 12)), np.cumsum(harmony, axis=0)])
    at, last = np.arange(len(harmony)), len(harmony)
    before, after = total[at] - total[np.maximum(at - WINDOW, 0)], total[np.minimum(at + WINDOW, last)] - total[at]
    size = np.sqrt((before**2).sum(axis=1) * (after**2).sum(axis=1))
    known = size > 0
    novelty = np.zeros(len(harmony))
    novelty[known] = 1 - (before * after).sum(axis=1)[known] / size[known]
    novelty[known] -= _mean(novelty[known])
    return novelty


def _lift(values: np.ndarray, phase: int, period: int) -> float:
    """How much more than their share the slots of a phase have, as a logarithm near 0 for an equal share."""
    share = values[phase::period].sum() / max(values.sum(), 1e-9)
    return float(np.log((share * period + 0.15) / 1.15))


def _autocorrelation(values: np.ndarray, lag: int) -> float:
    if len(values) <= lag + WINDOW:
        return 0.0
    centred = values - values.mean()
    return float((centred[lag:] * centred[:-lag]).sum() / max((centred**2).sum(), 1e-9))


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if len(values) else 0.0
