"""What some tests need from Debian. In CI a missing one fails; elsewhere the test skips and says what to install."""

from __future__ import annotations

import os
import shutil
from typing import NoReturn

import pytest

from midi_codec import audio_fluidsynth
from midi_codec.audio import Synthesizer


def chromium() -> str:
    """Path of the browser."""
    return shutil.which("chromium") or _missing("chromium")


def fluidsynth() -> Synthesizer:
    library, soundfont = audio_fluidsynth.find_library(), audio_fluidsynth.find_soundfont()
    if library is None:
        _missing("libfluidsynth3")
    assert soundfont is not None, "pretty_midi comes with one"
    return audio_fluidsynth.FluidSynth(library, soundfont)


def _missing(package: str) -> NoReturn:
    sentence = f"this test needs {package}; on Debian: apt-get install {package}"
    if os.environ.get("CI"):
        pytest.fail(sentence)
    pytest.skip(sentence)
