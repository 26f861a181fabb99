"""Simple measurements of a generated piece that reveal common faults.

They count the generated notes only, not the primer's:

    num_notes_generated      number of generated notes
    longest_repeat           the longest run of consecutive notes of one pitch
    longest_silence_seconds  the longest time without a sounding note, before the last note ends
    silence_share            the share of time without a sounding note, 0 to 1
    max_polyphony            the most notes that sound at once

Time counts from the last onset of the primer, or from the first onset without one; primer notes that still sound then
count as sound.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from midi_codec.music.notes import Notes

DECIMALS = 6  # in the manifest


def check(notes: Notes, num_primer_notes: int) -> dict[str, Any]:
    """The measurements above; all 0 when nothing was generated."""
    generated = notes.take(slice(num_primer_notes, None))
    seconds = _silences(notes, num_primer_notes) * notes.seconds_per_tick
    length = float(generated.end.max() - _origin(notes, num_primer_notes)) if len(generated) else 0.0
    length *= notes.seconds_per_tick
    return {
        "num_notes_generated": len(generated),
        "longest_repeat": longest_run(generated.pitch),
        "longest_silence_seconds": round(float(seconds.max(initial=0.0)), DECIMALS),
        "silence_share": round(float(seconds.sum() / length), DECIMALS) if length > 0 else 0.0,
        "max_polyphony": max_polyphony(generated),
    }


def longest_run(values: np.ndarray) -> int:
    """The length of the longest run of equal values."""
    if not len(values):
        return 0
    bounds = np.flatnonzero(np.diff(values.astype(np.int64), prepend=-1, append=-1))
    return int(np.diff(bounds).max())


def max_polyphony(notes: Notes) -> int:
    """The most notes that sound at one time; a note that ends as another begins does not overlap it."""
    sounding = notes.duration > 0
    ticks = np.concatenate([notes.start[sounding].astype(np.int64), notes.end[sounding]])
    change = np.repeat([1, -1], len(ticks) // 2)
    return int(np.cumsum(change[np.lexsort([change, ticks])]).max(initial=0))


def _origin(notes: Notes, num_primer_notes: int) -> int:
    return int(notes.start[max(num_primer_notes - 1, 0)])


def _silences(notes: Notes, num_primer_notes: int) -> np.ndarray:
    """`[n]` ticks of silence before each generated note."""
    if num_primer_notes >= len(notes):
        return np.zeros(0)
    start = notes.start.astype(np.int64)
    sounding_until = np.maximum.accumulate(np.concatenate([start[:1], notes.end[:-1]]))
    sounding_until = np.maximum(sounding_until, _origin(notes, num_primer_notes))
    return np.maximum(start - sounding_until, 0)[num_primer_notes:]
