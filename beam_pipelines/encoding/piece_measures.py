"""What sounds when: measures of all pieces of a batch at once, by sorting the times of their notes."""

from __future__ import annotations

import numpy as np

from midi_codec.music.note_batch import NoteBatch
from midi_codec.music.notes import MILLISECONDS, TICKS_PER_BEAT, TICKS_PER_SECOND
from midi_codec.music.sounding import silences, sounding_at_onsets

_PIECE_SHIFT = 33  # an end is below 2 ** 32 ticks: keys of one piece never reach those of the next


def _keys(batch: NoteBatch) -> tuple[np.ndarray, np.ndarray]:
    """`[total]` int64 each, starts and durations; starts are shifted so that no piece meets another."""
    shift = np.repeat(np.arange(len(batch), dtype=np.int64) << _PIECE_SHIFT, batch.lengths)
    return shift + batch.start, batch.duration.astype(np.int64)


def longest_silence(batch: NoteBatch) -> np.ndarray:
    """`[pieces]` float64, seconds: the longest time without a sounding note inside each piece; none may be empty."""
    start, duration = _keys(batch)
    gaps = silences(start, start + duration)
    gaps[batch.offsets[:-1]] = 0
    ticks = np.maximum.reduceat(gaps, batch.offsets[:-1])
    return (
        ticks / TICKS_PER_SECOND if batch.time_base == MILLISECONDS else ticks * (60.0 / batch.tempo / TICKS_PER_BEAT)
    )


def polyphony(batch: NoteBatch) -> np.ndarray:
    """`[pieces]` int64, the most notes that sound at one time; a note of no length counts at its onset."""
    start, duration = _keys(batch)
    return np.maximum.reduceat(sounding_at_onsets(start, start + np.maximum(duration, 1)), batch.offsets[:-1])
