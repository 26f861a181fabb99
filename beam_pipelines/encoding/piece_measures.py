"""What sounds and begins when: measures of all pieces of a batch at once."""

from __future__ import annotations

import numpy as np

from midi_codec.music.note_batch import NoteBatch
from midi_codec.music.notes import MILLISECONDS, TICKS_PER_BEAT, TICKS_PER_SECOND
from midi_codec.music.sounding import silences, sounding_at_onsets

MOST_POSITIONS = 8.0  # of 24 of a beat, in written music; docs/encode.md lists what real corpora give
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


def count_positions(batch: NoteBatch) -> np.ndarray:
    """At how many positions of the beat each piece's notes begin, on average: `[pieces]` float64, 1 to 24.

    In milliseconds the beats are those of the tempo at the start.

    Args:
      batch: pieces with at least one note each.
    """
    lengths = np.diff(batch.offsets)
    piece = np.repeat(np.arange(len(lengths)), lengths)
    start = batch.start
    if batch.time_base == MILLISECONDS:
        start = np.rint(start * (batch.tempo * (TICKS_PER_BEAT / TICKS_PER_SECOND / 60))[piece]).astype(np.int64)
    cells = piece * TICKS_PER_BEAT + start % TICKS_PER_BEAT
    counts = np.bincount(cells, minlength=len(lengths) * TICKS_PER_BEAT).reshape(-1, TICKS_PER_BEAT)
    share = counts / lengths[:, None]
    return np.exp(-(share * np.log(share, where=share > 0, out=np.zeros_like(share))).sum(axis=1))
