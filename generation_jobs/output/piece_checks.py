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
from midi_codec.music.sounding import silences, sounding_at_onsets

DECIMALS = 6  # in the manifest


def check(notes: Notes, num_primer_notes: int) -> dict[str, Any]:
    """The measurements above; all 0 when nothing was generated."""
    generated = notes.take(slice(num_primer_notes, None))
    seconds = silences(notes.start.astype(np.int64), notes.end)[num_primer_notes:] * notes.seconds_per_tick
    length = 0.0
    if len(generated):
        length = float(generated.end.max() - notes.start[max(num_primer_notes - 1, 0)]) * notes.seconds_per_tick
    return {
        "num_notes_generated": len(generated),
        "longest_repeat": longest_run(generated.pitch),
        "longest_silence_seconds": round(float(seconds.max(initial=0.0)), DECIMALS),
        "silence_share": round(float(seconds.sum() / length), DECIMALS) if length > 0 else 0.0,
        "max_polyphony": int(sounding_at_onsets(generated.start, generated.end).max(initial=0)),
    }


def longest_run(values: np.ndarray) -> int:
    """The length of the longest run of equal values."""
    if not len(values):
        return 0
    bounds = np.flatnonzero(np.diff(values.astype(np.int64), prepend=-1, append=-1))
    return int(np.diff(bounds).max())
