"""Notes to sound: which notes sound from when to when, and who plays them.

FluidSynth plays with the General MIDI SoundFont that comes with pretty_midi. Where its library is missing,
a plain synthesis does; it needs NumPy only. Both are given `Strokes`, so that what a key struck twice means is
decided once, here. Samples are mono float32 at `SAMPLE_RATE`.
"""

from __future__ import annotations

import dataclasses
from typing import Protocol

import numpy as np

from midi_codec.notes import DRUM_PROGRAM, Notes

SAMPLE_RATE = 24_000  # a second; plenty for the SoundFont's instruments, and half the bytes of 48,000
TAIL_SECONDS = 1.5  # after the last note, for its release and the room
MAX_SECONDS = 300.0  # of one piece; a longer one is faded out there
FADE_SECONDS = 2.0
MIN_STROKE_SECONDS = 0.03  # a note of no length is heard all the same
PEAK = 0.9  # the loudest sample of every piece, so that none has to be turned up


@dataclasses.dataclass(frozen=True)
class Strokes:
    """What sounds, in the order of starts. Columns `[n]`; frames count samples from the start of the piece.

    Strokes of one key (program and pitch) do not overlap: striking a key again ends the stroke before.
    """

    start_frame: np.ndarray  # int64
    end_frame: np.ndarray  # int64; equal to start_frame for one of two strokes of a key at the same moment
    pitch: np.ndarray
    velocity: np.ndarray
    program: np.ndarray
    num_frames: int  # of the whole piece, tail included

    @classmethod
    def from_notes(cls, notes: Notes) -> Strokes:
        """Seconds from tick 0; notes that start after `MAX_SECONDS` are left out."""
        per_tick = notes.seconds_per_tick * SAMPLE_RATE
        kept = notes.take(np.flatnonzero(notes.start * notes.seconds_per_tick < MAX_SECONDS))
        start = np.rint(kept.start * per_tick).astype(np.int64)
        end = np.maximum(np.rint(kept.end * per_tick), start + MIN_STROKE_SECONDS * SAMPLE_RATE).astype(np.int64)
        end = np.minimum(end, _next_stroke_of_key(kept, start), dtype=np.int64)
        last = min(end.max(initial=0), round(MAX_SECONDS * SAMPLE_RATE))
        num_frames = int(last + round(TAIL_SECONDS * SAMPLE_RATE))
        return cls(start, end, kept.pitch, kept.velocity, kept.program, num_frames)

    @property
    def is_drum(self) -> np.ndarray:
        return self.program == DRUM_PROGRAM


def _next_stroke_of_key(notes: Notes, start: np.ndarray) -> np.ndarray:
    """`[n]` int64, the frame at which the same key is struck next; a huge number where it is not."""
    following = np.full(len(notes), np.iinfo(np.int64).max)
    order = np.lexsort((start, notes.pitch, notes.program))
    same_key = (np.diff(notes.pitch[order]) == 0) & (np.diff(notes.program[order]) == 0)
    following[order[:-1][same_key]] = start[order[1:][same_key]]
    return following


class Synthesizer(Protocol):
    """Plays strokes. `name` is for people, `hint` says how to get something better, or nothing."""

    name: str
    hint: str

    def play(self, strokes: Strokes) -> np.ndarray: ...  # [num_frames] float32; any loudness


def best_synthesizer() -> Synthesizer:
    """FluidSynth where its library and the SoundFont are there, else the plain synthesis."""
    from midi_codec import audio_fluidsynth, audio_plain

    library, soundfont = audio_fluidsynth.find_library(), audio_fluidsynth.find_soundfont()
    if library is None or soundfont is None:
        return audio_plain.PlainSynthesis()
    return audio_fluidsynth.FluidSynth(library, soundfont)


def render(notes: Notes, synthesizer: Synthesizer) -> np.ndarray:
    """`[num_frames]` float32 within -1 to 1: the piece from tick 0, a tail, the same loudest sample for all.

    A piece longer than `MAX_SECONDS` is faded out there.
    """
    strokes = Strokes.from_notes(notes)
    samples = synthesizer.play(strokes)
    if notes.seconds > MAX_SECONDS:
        num_fade = round(FADE_SECONDS * SAMPLE_RATE)
        end = round(MAX_SECONDS * SAMPLE_RATE)
        samples = samples[:end]
        samples[-num_fade:] *= np.linspace(1.0, 0.0, num_fade, dtype=np.float32)
    peak = np.abs(samples).max(initial=0.0)
    return samples * np.float32(PEAK / peak) if peak > 0 else samples
