"""A plain synthesis for where FluidSynth is missing: a few harmonics that fade, and noise for drums.

Each pitch is computed once, as long as its longest stroke; a stroke is the beginning of it with a short
release, added in place. It shows the notes faithfully and does not claim to be an instrument.
"""

from __future__ import annotations

import numpy as np

from midi_codec.audio import SAMPLE_RATE, Strokes

HARMONIC_SHARES = (1.0, 0.5, 0.28, 0.16, 0.09, 0.05)  # loudness of the 1st, 2nd ... harmonic
ATTACK_SECONDS = 0.006
RELEASE_SECONDS = 0.12
DRUM_SECONDS = 0.25
_DRUM_KEYS = 128  # drums stand above the 128 pitches
_A4_PITCH, _A4_HERTZ = 69, 440.0


class PlainSynthesis:
    name = "plain synthesis"
    hint = "for real instruments install FluidSynth's library (on Debian: apt-get install libfluidsynth3)"

    def play(self, strokes: Strokes) -> np.ndarray:
        """`[num_frames]` float32."""
        release = round(RELEASE_SECONDS * SAMPLE_RATE)
        out = np.zeros(strokes.num_frames, np.float32)
        keys = strokes.pitch.astype(np.int64) + _DRUM_KEYS * strokes.is_drum
        for key in np.unique(keys).tolist():
            rows = np.flatnonzero(keys == key)
            starts, ends = strokes.start_frame[rows].tolist(), strokes.end_frame[rows].tolist()
            gains = ((strokes.velocity[rows] / 127.0) ** 1.5).tolist()
            longest = int((strokes.end_frame[rows] - strokes.start_frame[rows]).max())
            sound = _drum(key - _DRUM_KEYS) if key >= _DRUM_KEYS else _tone(key, longest + release)
            for start, end, gain in zip(starts, ends, gains, strict=True):
                stroke = gain * (sound if key >= _DRUM_KEYS else _released(sound, end - start))
                room = out[start : start + len(stroke)]
                room += stroke[: len(room)]
        return out


def _released(tone: np.ndarray, num_frames: int) -> np.ndarray:
    """The beginning of a tone, let go after `num_frames`."""
    release = round(RELEASE_SECONDS * SAMPLE_RATE)
    stroke = tone[: num_frames + release].copy()
    stroke[num_frames:] *= np.cos(np.linspace(0, np.pi / 2, release, dtype=np.float32))
    return stroke


def _tone(pitch: int, num_frames: int) -> np.ndarray:
    """`[num_frames]` float32: harmonics below half the sample rate; the higher, the sooner they fade."""
    seconds = np.arange(num_frames, dtype=np.float32) / SAMPLE_RATE
    hertz = _A4_HERTZ * 2.0 ** ((pitch - _A4_PITCH) / 12)
    out = np.zeros(num_frames, np.float32)
    for number, share in enumerate(HARMONIC_SHARES, start=1):
        if number * hertz < SAMPLE_RATE / 2:
            fading = np.exp(-seconds * (0.6 + 0.5 * number) * (hertz / _A4_HERTZ) ** 0.5)
            out += share * fading * np.sin(2 * np.pi * number * hertz * seconds)
    return out * np.minimum(1.0, seconds / ATTACK_SECONDS)


def _drum(pitch: int) -> np.ndarray:
    """A burst of noise; low keys (bass drums) duller and longer than high ones (cymbals)."""
    num_frames = round(DRUM_SECONDS * SAMPLE_RATE)
    seconds = np.arange(num_frames, dtype=np.float32) / SAMPLE_RATE
    noise = np.random.default_rng(pitch).standard_normal(num_frames).astype(np.float32)  # the same on every day
    width = max(1, 60 - pitch)
    smooth = np.convolve(noise, np.full(width, width**-0.5, np.float32), mode="same")
    return 0.5 * smooth * np.exp(-seconds * (12 + 0.25 * pitch)).astype(np.float32)
