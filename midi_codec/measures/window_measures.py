"""Key clarity, groove and self-similarity: measures of windows of notes, each from 0 to 1.

    key_clarity      windows of 64 notes without drums. The durations of each pitch class, correlated (Pearson) with the
                     key profiles of Krumhansl and Kessler (1982) in all 24 keys; the highest. 1: the profile itself
    groove           windows of 64 notes. Whether a note begins, in slots of a quarter of a beat, or of 50 ms; the
                     highest correlation of that with itself at a lag of 4 to 64 slots (1 to 16 beats, 0.2 to 3.2 s),
                     the lag at most half the window. 1: a rhythm that repeats exactly; below 0 counts as 0
    self_similarity  segments of 16 notes, from the second on. How often each pitch occurs, and the highest cosine
                     similarity between a segment and any of the 16 before it. 1: the same pitches again

Windows do not overlap; a last window that is not full is left out, and so are shorter pieces.
"""

from __future__ import annotations

import numpy as np

from midi_codec.music.notes import DRUM_PROGRAM, MILLISECONDS, TICKS_PER_BEAT, Notes

WINDOW_NOTES = 64
SEGMENT_NOTES = 16
SEGMENTS_BACK = 16
SLOT_TICKS = {True: 50, False: TICKS_PER_BEAT // 4}  # by whether the grid is of milliseconds
MIN_LAG, MAX_LAG = 4, 64  # slots
MAX_SLOTS = 2048  # per window: 100 s, or 512 beats; the rest is ignored

# C. Krumhansl and E. Kessler, "Tracing the dynamic changes in perceived tonal organization", 1982: C major, C minor.
_MAJOR = (6.35, 2.23, 3.48, 2.33, 4.38, 4.09, 2.52, 5.19, 2.39, 3.66, 2.29, 2.88)
_MINOR = (6.33, 2.68, 3.52, 5.38, 2.60, 3.53, 2.54, 4.75, 3.98, 2.69, 3.34, 3.17)


def key_clarity(notes: Notes) -> np.ndarray:
    """`[windows]`; 0 for a window in which all pitch classes have equal weight."""
    notes = notes.take(notes.program != DRUM_PROGRAM)
    num_windows = len(notes) // WINDOW_NOTES
    size = num_windows * WINDOW_NOTES
    cell = np.arange(size) // WINDOW_NOTES * 12 + notes.pitch[:size] % 12
    weights = np.bincount(cell, notes.duration[:size], num_windows * 12).reshape(-1, 12)
    return np.clip(_standardized(weights) @ _KEYS.T, 0, 1).max(axis=1, initial=0)


def groove(notes: Notes) -> np.ndarray:
    """`[windows]`."""
    slot = notes.start // SLOT_TICKS[notes.time_base == MILLISECONDS]
    windows = [slot[i : i + WINDOW_NOTES] for i in range(0, len(slot) - WINDOW_NOTES + 1, WINDOW_NOTES)]
    return np.array([_highest_autocorrelation(window - window[0]) for window in windows], np.float64)


def self_similarity(notes: Notes) -> np.ndarray:
    """`[segments - 1]`."""
    num_segments = len(notes) // SEGMENT_NOTES
    size = num_segments * SEGMENT_NOTES
    cell = np.arange(size) // SEGMENT_NOTES * 128 + notes.pitch[:size]
    counts = np.bincount(cell, minlength=num_segments * 128).reshape(-1, 128).astype(np.float64)
    counts /= np.sqrt((counts**2).sum(axis=1, keepdims=True))
    best = np.zeros(num_segments)
    for back in range(1, min(SEGMENTS_BACK, num_segments - 1) + 1):
        best[back:] = np.maximum(best[back:], (counts[back:] * counts[:-back]).sum(axis=1))
    return np.minimum(best[1:], 1)  # rounding may exceed 1 slightly


def _standardized(rows: np.ndarray) -> np.ndarray:
    """Each row with mean 0 and length 1, so that the product of two is their correlation; 0 if all values are equal."""
    centred = rows - rows.mean(axis=1, keepdims=True)
    length = np.sqrt((centred**2).sum(axis=1, keepdims=True))
    return np.divide(centred, length, out=np.zeros_like(centred), where=length > 1e-9)


_KEYS = _standardized(np.array([np.roll(profile, tonic) for profile in (_MAJOR, _MINOR) for tonic in range(12)]))


def _highest_autocorrelation(slot: np.ndarray) -> float:
    """For onsets in slots, `[notes]` ascending from 0; the module's docstring defines it."""
    begins = np.zeros(min(int(slot[-1]) + 1, MAX_SLOTS))
    begins[slot[slot < MAX_SLOTS]] = 1
    begins -= begins.mean()
    size = len(begins)
    last_lag = min(MAX_LAG, size // 2)
    if last_lag < MIN_LAG:
        return 0.0
    lags = np.arange(MIN_LAG, last_lag + 1)
    spectrum = np.fft.rfft(begins, 2 * size)
    products = np.fft.irfft(spectrum * spectrum.conj(), 2 * size)[lags]
    energy = np.concatenate([[0.0], np.cumsum(begins**2)])
    scale = np.sqrt(energy[size - lags] * (energy[size] - energy[lags]))
    correlations = np.divide(products, scale, out=np.zeros(len(lags)), where=scale > 1e-9)
    return float(np.clip(correlations.max(), 0, 1))
