"""Piano rolls made by hand, for tests of `benchmarks.pianoroll`."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

import numpy as np

from benchmarks.quality.pianoroll.pianoroll_data import KEYS, LOWEST_KEY


def make_roll(*frames: Sequence[int]) -> np.ndarray:
    """`[frames, 88]` bool, from the MIDI keys of each frame."""
    roll = np.zeros((len(frames), KEYS), bool)
    for index, keys in enumerate(frames):
        roll[index, [key - LOWEST_KEY for key in keys]] = True
    return roll


def make_song(number: int, *, length: int) -> np.ndarray:
    """A bass that walks, a chord on every other frame, a rest now and then; another song for each number."""
    bass = 40 + number % 5 + np.array([0, 2, 4, 2, 0, -1])[np.arange(length) % 6]
    frames = [
        [] if index % 7 == 6 else [int(low), int(low) + 7, int(low) + 16] if index % 2 == 0 else [int(low)]
        for index, low in enumerate(bass)
    ]
    return make_roll(*frames)


def pack(parts: Mapping[str, Sequence[np.ndarray]]) -> dict[str, np.ndarray]:
    """The arrays of a file."""
    arrays = {}
    for part, rolls in parts.items():
        arrays[part] = np.packbits(np.concatenate(rolls), axis=1)
        arrays[f"{part}_lengths"] = np.array([len(roll) for roll in rolls], np.int64)
    return arrays


def write(path: str | os.PathLike[str], parts: Mapping[str, Sequence[np.ndarray]]) -> str:
    """Writes a file; gives its path."""
    np.savez(path, **pack(parts))
    return str(path)
