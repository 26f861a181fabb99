"""FluidSynth's library, called directly: a SoundFont's instruments play strokes.

Only the dozen functions needed are declared (fluidsynth.h of version 2). No audio device is opened: the
synthesizer writes samples into arrays. Each piece has its own synthesizer, so that none hears the echo of
another; the library keeps the SoundFont's samples between them. Calls release the GIL, so threads help.
"""

from __future__ import annotations

import contextlib
import ctypes
import ctypes.util
import importlib.util
import pathlib
from collections.abc import Iterator
from typing import Any

import numpy as np

from midi_codec.audio import SAMPLE_RATE, Strokes
from midi_codec.notes import DRUM_PROGRAM

SONAME = "libfluidsynth.so.3"
SOUNDFONT_NAME = "TimGM6mb.sf2"  # General MIDI by Tim Brechbill, in the pretty_midi package

_NUM_CHANNELS = 144  # a channel a program, 128 for drums; the library wants a multiple of 16
_CHANNEL_MELODIC, _CHANNEL_DRUM = 0, 1
_QUIET_LEVELS = (2, 3, 4)  # warnings, information, debugging
_FAILED = -1

_SIGNATURES: dict[str, tuple[Any, list[Any]]] = {
    "new_fluid_settings": (ctypes.c_void_p, []),
    "delete_fluid_settings": (None, [ctypes.c_void_p]),
    "fluid_settings_setnum": (ctypes.c_int, [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_double]),
    "fluid_settings_setint": (ctypes.c_int, [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int]),
    "new_fluid_synth": (ctypes.c_void_p, [ctypes.c_void_p]),
    "delete_fluid_synth": (None, [ctypes.c_void_p]),
    "fluid_synth_sfload": (ctypes.c_int, [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int]),
    "fluid_synth_set_channel_type": (ctypes.c_int, [ctypes.c_void_p, ctypes.c_int, ctypes.c_int]),
    "fluid_synth_program_change": (ctypes.c_int, [ctypes.c_void_p, ctypes.c_int, ctypes.c_int]),
    "fluid_synth_noteon": (ctypes.c_int, [ctypes.c_void_p, ctypes.c_int, ctypes.c_int, ctypes.c_int]),
    "fluid_synth_noteoff": (ctypes.c_int, [ctypes.c_void_p, ctypes.c_int, ctypes.c_int]),
    "fluid_synth_write_float": (
        ctypes.c_int,
        [ctypes.c_void_p, ctypes.c_int] + [ctypes.c_void_p, ctypes.c_int, ctypes.c_int] * 2,
    ),
    "fluid_set_log_function": (ctypes.c_void_p, [ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p]),
}


def find_library() -> ctypes.CDLL | None:
    """The library with its functions declared; None where it is not installed."""
    for name in (SONAME, ctypes.util.find_library("fluidsynth")):
        if name:
            with contextlib.suppress(OSError, AttributeError):  # not there, or another version's
                library = ctypes.CDLL(name)
                for function, (result, arguments) in _SIGNATURES.items():
                    getattr(library, function).restype = result
                    getattr(library, function).argtypes = arguments
                for level in _QUIET_LEVELS:
                    library.fluid_set_log_function(level, None, None)
                return library
    return None


def find_soundfont() -> str | None:
    """Path of the SoundFont, found without importing pretty_midi; None where it is not there."""
    spec = importlib.util.find_spec("pretty_midi")
    for folder in (spec.submodule_search_locations or []) if spec else []:
        path = pathlib.Path(folder) / SOUNDFONT_NAME
        if path.is_file():
            return str(path)
    return None


class FluidSynth:
    name = "FluidSynth"
    hint = ""

    def __init__(self, library: ctypes.CDLL, soundfont: str) -> None:
        self._library = library
        self._soundfont = soundfont

    def play(self, strokes: Strokes) -> np.ndarray:
        """`[num_frames]` float32, both channels in one.

        Raises:
          RuntimeError: the library refused the settings or the SoundFont.
        """
        stereo = np.zeros((2, strokes.num_frames), np.float32)
        with self._synthesizer() as synthesizer:
            for program in np.unique(strokes.program).tolist():
                kind = _CHANNEL_DRUM if program == DRUM_PROGRAM else _CHANNEL_MELODIC
                self._library.fluid_synth_set_channel_type(synthesizer, program, kind)
                number = 0 if program == DRUM_PROGRAM else program
                self._library.fluid_synth_program_change(synthesizer, program, number)
            self._write(synthesizer, strokes, stereo)
        return stereo.mean(axis=0)

    @contextlib.contextmanager
    def _synthesizer(self) -> Iterator[int]:
        library = self._library
        settings = library.new_fluid_settings()
        library.fluid_settings_setnum(settings, b"synth.sample-rate", float(SAMPLE_RATE))
        library.fluid_settings_setint(settings, b"synth.midi-channels", _NUM_CHANNELS)
        library.fluid_settings_setint(settings, b"synth.chorus.active", 0)  # it blurs what is to be judged
        synthesizer = library.new_fluid_synth(settings)
        try:
            if not synthesizer or library.fluid_synth_sfload(synthesizer, self._soundfont.encode(), 1) == _FAILED:
                raise RuntimeError(f"FluidSynth cannot play with {self._soundfont}")
            yield synthesizer
        finally:
            library.delete_fluid_synth(synthesizer)
            library.delete_fluid_settings(settings)

    def _write(self, synthesizer: int, strokes: Strokes, stereo: np.ndarray) -> None:
        """Lets time pass up to each change, then makes it."""
        library, position = self._library, 0
        left, right = (channel.ctypes.data for channel in stereo)
        for frame, is_on, channel, pitch, velocity in _changes(strokes):
            if frame > position:
                count = frame - position
                library.fluid_synth_write_float(synthesizer, count, left, position, 1, right, position, 1)
                position = frame
            if is_on:
                library.fluid_synth_noteon(synthesizer, channel, pitch, velocity)
            else:
                library.fluid_synth_noteoff(synthesizer, channel, pitch)
        count = strokes.num_frames - position
        library.fluid_synth_write_float(synthesizer, count, left, position, 1, right, position, 1)


def _changes(strokes: Strokes) -> Iterator[tuple[int, int, int, int, int]]:
    """(frame, is_on, channel, pitch, velocity) in the order of frames; at one frame ends come first.

    Changes after the last frame are left out.
    """
    frame = np.concatenate([strokes.end_frame, strokes.start_frame])
    is_on = np.repeat([0, 1], len(strokes.start_frame))
    columns = (frame, is_on, *(np.tile(column, 2) for column in (strokes.program, strokes.pitch, strokes.velocity)))
    order = np.lexsort((is_on, frame))
    order = order[frame[order] < strokes.num_frames]
    return zip(*(column[order].tolist() for column in columns), strict=True)
