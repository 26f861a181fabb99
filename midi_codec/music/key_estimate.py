"""An estimate of the key of a piece that does not say how it is written down.

It is that whose profile correlates best with the durations of the twelve pitch classes.
"""

from __future__ import annotations

import numpy as np

from midi_codec.music.notes import DRUM_PROGRAM, Notes
from midi_codec.music.signatures import KeySignature

MIN_NOTES = 8  # fewer say nothing about a key

# D. Temperley, "What's Key for Key?", Music Perception 17, 1999: C major, C minor.
_MAJOR = (5.0, 2.0, 3.5, 2.0, 4.5, 4.0, 2.0, 4.5, 2.0, 3.5, 1.5, 4.0)
_MINOR = (5.0, 2.0, 3.5, 4.5, 2.0, 4.0, 2.0, 4.5, 3.5, 2.0, 1.5, 4.0)
_PROFILES = np.array([np.roll(profile, tonic) for profile in (_MAJOR, _MINOR) for tonic in range(12)])
_CENTRED = _PROFILES - _PROFILES.mean(axis=1, keepdims=True)
_KEYS = _CENTRED / np.sqrt((_CENTRED**2).sum(axis=1, keepdims=True))  # [24, 12], major first


def estimate(notes: Notes) -> KeySignature | None:
    """The key of the whole piece, from tick 0; None if it has fewer than `MIN_NOTES` notes or all keys fit alike."""
    is_pitched = notes.program != DRUM_PROGRAM
    if np.count_nonzero(is_pitched) < MIN_NOTES:
        return None
    weights = np.bincount(notes.pitch[is_pitched] % 12, notes.duration[is_pitched], 12)
    if np.ptp(weights) == 0:
        return None
    is_minor, tonic = divmod(int(np.argmax((_KEYS * weights).sum(axis=1))), 12)
    fifths = (tonic + 3 * is_minor) * 7 % 12  # of the major key with the same signature, upwards from C
    return KeySignature(0, fifths - 12 if fifths > 6 else fifths, is_minor)
