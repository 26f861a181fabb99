"""Notes to sound: midirenderer plays them with the General MIDI SoundFont that comes with pretty_midi.

Samples are float32, stereo at `RENDER_RATE`, or for small files mono at `SAMPLE_RATE`. The same notes give the same
samples.
"""

from __future__ import annotations

import functools
import importlib.util
import io
import pathlib
import wave

import midirenderer
import numpy as np

from midi_codec.midi import midi_writer
from midi_codec.music.notes import DRUM_PROGRAM, MILLISECONDS, Notes

SOUNDFONT_NAME = "TimGM6mb.sf2"  # by Tim Brechbill, in the pretty_midi package
RENDER_RATE = 48_000  # per second; midirenderer has no other
RENDER_FACTOR = 2
SAMPLE_RATE = RENDER_RATE // RENDER_FACTOR  # enough for the SoundFont's instruments
TAIL_MILLISECONDS = 1500  # after the last note, for its release and the reverb
MAX_SECONDS = 300.0  # per piece; a longer one is faded out at this point
FADE_SECONDS = 2.0
MIN_STROKE_MILLISECONDS = 30  # so that a note without length can be heard
PEAK = 0.9  # the loudest sample of every piece, so that all pieces are about equally loud
MELODIC_CHANNELS = 15  # of a MIDI file, besides the one for drums


def render(notes: Notes) -> np.ndarray:
    """`[num_frames]` float32 from -1 to 1, mono at `SAMPLE_RATE`: the piece from tick 0, and a tail.

    A piece longer than `MAX_SECONDS` is faded out at that point.
    """
    mono = play(strokes_of(notes, MAX_SECONDS)).mean(axis=1)
    samples = np.convolve(mono, _low_pass(), "same")[::RENDER_FACTOR]
    return _finish(samples, SAMPLE_RATE, None if notes.seconds <= MAX_SECONDS else MAX_SECONDS)


def render_stereo(notes: Notes, *, max_seconds: float) -> np.ndarray:
    """`[num_frames, 2]` float32 at `RENDER_RATE`; otherwise as `render`."""
    strokes = strokes_of(notes, max_seconds)
    return _finish(play(strokes), RENDER_RATE, None if notes.seconds <= max_seconds else max_seconds)


def _finish(samples: np.ndarray, sample_rate: int, fade_at: float | None) -> np.ndarray:
    """The samples with their loudest at `PEAK`, faded out up to a second if one is given."""
    if fade_at is not None:
        samples = samples[: round(fade_at * sample_rate)]
        num_fade = min(round(FADE_SECONDS * sample_rate), len(samples))
        fade = np.linspace(1.0, 0.0, num_fade, dtype=np.float32)
        samples[len(samples) - num_fade :] *= fade.reshape(-1, *[1] * (samples.ndim - 1))
    peak = np.abs(samples).max(initial=0.0)
    return samples * np.float32(PEAK / peak) if peak > 0 else samples


def strokes_of(notes: Notes, max_seconds: float) -> Notes:
    """The audible notes, in milliseconds: striking a key again ends its previous stroke, so that none cuts another off.

    Notes that start after `max_seconds` are left out.
    """
    per_tick, last = 1000 * notes.seconds_per_tick, round(1000 * max_seconds)
    start = np.rint(notes.start * per_tick).astype(np.int64)
    end = np.maximum(np.rint(notes.end * per_tick).astype(np.int64), start + MIN_STROKE_MILLISECONDS)
    order = np.lexsort((start, notes.pitch, notes.program))
    is_same_key = (np.diff(notes.pitch[order]) == 0) & (np.diff(notes.program[order]) == 0)
    earlier, later = order[:-1][is_same_key], order[1:][is_same_key]
    end[earlier] = np.minimum(end[earlier], start[later])
    kept = np.flatnonzero((end > start) & (start < last))
    return Notes.from_columns(
        pitch=notes.pitch[kept],
        velocity=notes.velocity[kept],
        start=start[kept],
        duration=np.minimum(end, last)[kept] - start[kept],
        program=notes.program[kept],
        time_base=MILLISECONDS,
    )


def play(strokes: Notes) -> np.ndarray:
    """`[num_frames, 2]` float32 at `RENDER_RATE`, with the loudness of the SoundFont."""
    end = int(strokes.end.max(initial=0)) + TAIL_MILLISECONDS
    samples = np.zeros((end * RENDER_RATE // 1000, 2), np.float32)
    for group in _channel_groups(strokes):
        samples += _play_group(group, end)[: len(samples)]
    return samples


def _channel_groups(strokes: Notes) -> list[Notes]:
    """The strokes in groups of programs, each with at most as many programs as a MIDI file has channels."""
    melodic = np.unique(strokes.program[strokes.program != DRUM_PROGRAM])
    group = np.searchsorted(melodic, strokes.program) // MELODIC_CHANNELS
    group[strokes.program == DRUM_PROGRAM] = 0
    return [strokes.take(np.flatnonzero(group == number)) for number in np.unique(group)]


def _play_group(strokes: Notes, end: int) -> np.ndarray:
    """Float32 samples up to at least `end` milliseconds, which is after all strokes; needs at least one stroke.

    midirenderer stops at the last event, so an added note at `end`, too late to be heard, extends the samples.
    """
    strokes = Notes.from_columns(
        pitch=np.append(strokes.pitch, strokes.pitch[0]),
        velocity=np.append(strokes.velocity, 1),
        start=np.append(strokes.start, end),
        duration=np.append(strokes.duration, 1),
        program=np.append(strokes.program, strokes.program[0]),
        time_base=MILLISECONDS,
    )
    midi = midi_writer.serialize(strokes)
    with wave.open(io.BytesIO(midirenderer.render_wave_from(_soundfont(), midi))) as file:
        stereo = np.frombuffer(file.readframes(file.getnframes()), "<i2").reshape(-1, file.getnchannels())
    return stereo.astype(np.float32) / np.float32(1 << 15)


@functools.cache
def _low_pass() -> np.ndarray:
    """`[63]` float32: a windowed sinc that passes the frequencies that `SAMPLE_RATE` can represent."""
    position = np.arange(-31, 32)
    kernel = np.sinc(position / RENDER_FACTOR) * np.hamming(len(position))
    return (kernel / kernel.sum()).astype(np.float32)


@functools.cache
def _soundfont() -> bytes:
    """The SoundFont, found without importing pretty_midi, which is slow."""
    spec = importlib.util.find_spec("pretty_midi")
    assert spec is not None and spec.origin is not None
    return (pathlib.Path(spec.origin).parent / SOUNDFONT_NAME).read_bytes()
