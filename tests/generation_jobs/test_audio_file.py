"""Audio files: read back by libsndfile, which checks every page of an Ogg file."""

from __future__ import annotations

import io

import numpy as np
import pytest
import soundfile

from generation_jobs import audio_file
from generation_jobs.audio_file import SUBTYPES

RATE = 24_000


def tone(num_frames: int) -> np.ndarray:
    return (0.5 * np.sin(np.arange(num_frames) * 440 * 2 * np.pi / RATE)).astype(np.float32)


def encode(samples: np.ndarray, format: str = "ogg", comment: str = "") -> bytes:
    return audio_file.encode(samples, RATE, format=format, comment=comment)


def decode(data: bytes) -> np.ndarray:
    decoded, rate = soundfile.read(io.BytesIO(data), dtype="float32")
    assert rate == RATE
    return decoded


@pytest.mark.parametrize("format", ["wav", "ogg"])
def test_what_was_encoded_comes_back(format):
    samples = np.stack([tone(3 * RATE), 0.5 * tone(3 * RATE)], axis=1)
    decoded = decode(encode(samples, format))
    assert decoded.shape == samples.shape
    assert np.abs(decoded - samples).max() < {"wav": 2**-15, "ogg": 0.02}[format]
    assert decode(encode(samples[:, 0], format)).shape == (3 * RATE,)


def test_an_mp3_has_a_delay():
    decoded = decode(encode(tone(3 * RATE), "mp3"))
    spectrum = np.abs(np.fft.rfft(decoded[RATE : 2 * RATE]))
    assert spectrum.argmax() == 440
    assert 3 * RATE <= len(decoded) < 3.1 * RATE


@pytest.mark.parametrize("format", SUBTYPES)
def test_equal_samples_give_equal_bytes(format):
    assert encode(tone(RATE), format, "piece 1") == encode(tone(RATE), format, "piece 1")


@pytest.mark.parametrize("format", SUBTYPES)
def test_the_comment_is_near_the_start(format):
    comment = "piece 0123456789abcdef0123456789abcdef"
    data = encode(tone(RATE), format, comment)
    assert comment.encode() in data[:1024]
    assert soundfile.SoundFile(io.BytesIO(data)).comment == comment


def test_the_kinds_of_file():
    starts = {format: encode(tone(100), format)[:4] for format in SUBTYPES}
    assert starts == {"wav": b"RIFF", "ogg": b"OggS", "mp3": starts["mp3"]}
    assert starts["mp3"][0] == 0xFF and starts["mp3"][1] & 0xE0 == 0xE0  # a frame's sync word


def test_ogg_is_small():
    noise = np.random.default_rng(0).standard_normal(4 * RATE).astype(np.float32) * 0.1
    assert len(encode(noise)) < 4 * 80_000 / 8 + 5000  # 80 kbit/s and the headers


@pytest.mark.parametrize("num_frames", [0, 1, 100, 5000])
def test_short_and_silent_sounds(num_frames):
    decoded = decode(encode(np.zeros(num_frames, np.float32)))
    assert decoded.shape == (num_frames,)
    assert np.abs(decoded).max(initial=0) < 1e-3


def test_every_ogg_page_has_serial_number_0_and_the_checksum_that_libsndfile_gives_it():
    buffer = io.BytesIO()
    soundfile.write(buffer, tone(RATE), RATE, format="OGG", subtype="VORBIS")
    data = buffer.getvalue()
    assert data[14:18] != bytes(4)
    page = bytearray(data[:58])  # the first one: 28 bytes of header, then the identification header
    page[22:26] = bytes(4)
    assert audio_file._checksum(page).to_bytes(4, "little") == data[22:26]
    ours = encode(tone(10 * RATE))
    starts = [index for index in range(len(ours)) if ours.startswith(b"OggS\0", index)]
    assert len(starts) > 3
    assert {ours[start + 14 : start + 18] for start in starts} == {bytes(4)}


@pytest.mark.slow
def test_a_long_sound():
    """libvorbis would copy it onto the stack at once, and end the process."""
    samples = tone(900 * RATE)
    assert decode(encode(samples)).shape == samples.shape
