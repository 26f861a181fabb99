"""Ogg Vorbis files: read back by libsndfile, which checks every page."""

from __future__ import annotations

import io

import numpy as np
import pytest

from generation_jobs.report import vorbis

RATE = 24_000


def tone(num_frames: int) -> np.ndarray:
    return (0.5 * np.sin(np.arange(num_frames) * 440 * 2 * np.pi / RATE)).astype(np.float32)


def decode(data: bytes) -> tuple[np.ndarray, int]:
    import soundfile

    return soundfile.read(io.BytesIO(data), dtype="float32")


def test_what_was_encoded_comes_back_at_its_rate():
    samples = tone(3 * RATE)
    decoded, rate = decode(vorbis.encode(samples, RATE))
    assert rate == RATE
    assert decoded.shape == samples.shape
    assert np.corrcoef(decoded, samples)[0, 1] > 0.999


def test_it_is_small():
    noise = np.random.default_rng(0).standard_normal(4 * RATE).astype(np.float32) * 0.1
    assert len(vorbis.encode(noise, RATE)) < 4 * 80_000 / 8 + 5000  # 80 kbit/s and the headers


@pytest.mark.parametrize("num_frames", [1, 100, 5000])
def test_short_and_silent_sounds(num_frames):
    decoded, _ = decode(vorbis.encode(np.zeros(num_frames, np.float32), RATE))
    assert decoded.shape == (num_frames,)
    assert np.abs(decoded).max() < 1e-3


@pytest.mark.slow
def test_a_long_sound_fits_its_stack():
    """Longer than the 87 s at which the encoder, called from a usual thread, ends the process."""
    samples = tone(150 * RATE)
    assert decode(vorbis.encode(samples, RATE))[0].shape == samples.shape


def test_the_stack_size_of_other_threads_stays():
    import threading

    before = threading.stack_size()
    vorbis.encode(tone(100), RATE)
    assert threading.stack_size() == before


def test_wrong_input_is_refused():
    with pytest.raises(ValueError, match="no samples"):
        vorbis.encode(np.zeros(0, np.float32), RATE)
    with pytest.raises(ValueError, match="sample_rate is 44100"):
        vorbis.encode(tone(100), 44_100)


def test_only_an_ogg_vorbis_file_gets_another_rate():
    with pytest.raises(ValueError, match="not an Ogg Vorbis file"):
        vorbis.with_sample_rate(b"RIFF" + bytes(100), RATE)


def test_the_checksum_is_oggs():
    """The first page of a file that libvorbis wrote: its own checksum comes out."""
    import soundfile

    buffer = io.BytesIO()
    soundfile.write(buffer, tone(1000), RATE, format="OGG", subtype="VORBIS")
    data = buffer.getvalue()
    assert vorbis.with_sample_rate(data, RATE) == data
