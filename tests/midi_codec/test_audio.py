"""Sound: as long as the notes and a tail, as loud as the others, and of the pitch that was written."""

from __future__ import annotations

import numpy as np
import pytest

from midi_codec import audio
from midi_codec.audio import SAMPLE_RATE
from midi_codec.music.notes import BEATS, DRUM_PROGRAM, Notes

A4 = (69, 440.0)
A5 = (81, 880.0)


def make_notes(rows, time_base: str = "milliseconds", tempo: float = 120.0) -> Notes:
    """From (start, duration, pitch, program)."""
    start, duration, pitch, program = np.array(rows, np.int64).reshape(-1, 4).T
    velocity = np.full(len(start), 90)
    return Notes.from_columns(
        pitch=pitch,
        velocity=velocity,
        start=start,
        duration=duration,
        program=program,
        time_base=time_base,
        tempo=tempo,
    )


def strongest_hertz(samples: np.ndarray) -> float:
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
    return float(np.fft.rfftfreq(len(samples), 1 / SAMPLE_RATE)[spectrum.argmax()])


def between(samples: np.ndarray, begin: float, end: float) -> np.ndarray:
    """The samples from one second to another."""
    return samples[round(begin * SAMPLE_RATE) : round(end * SAMPLE_RATE)]


# ----------------------------------------------------------------------------------------------- strokes


def test_a_key_struck_again_ends_the_stroke_before():
    strokes = audio.strokes_of(make_notes([(0, 1000, 60, 0), (500, 1000, 60, 0), (600, 100, 60, 40)]), 300)
    assert strokes == make_notes([(0, 500, 60, 0), (500, 1000, 60, 0), (600, 100, 60, 40)])


def test_of_two_strokes_at_one_moment_the_longer_sounds():
    assert audio.strokes_of(make_notes([(100, 50, 60, 0), (100, 80, 60, 0)]), 300) == make_notes([(100, 80, 60, 0)])


def test_a_note_of_no_length_is_heard():
    assert audio.strokes_of(make_notes([(100, 0, 60, 0)]), 300) == make_notes([(100, 30, 60, 0)])


def test_beats_are_timed_by_the_tempo():
    strokes = audio.strokes_of(make_notes([(0, 24, 60, 0), (24, 24, 62, 0)], BEATS, tempo=60.0), 300)
    assert strokes == make_notes([(0, 1000, 60, 0), (1000, 1000, 62, 0)])


def test_what_starts_after_the_longest_sound_is_left_out_and_what_goes_on_is_cut():
    rows = [(0, 9000, 60, 0), (1990, 500, 62, 0), (2000, 500, 64, 0)]
    assert audio.strokes_of(make_notes(rows), 2.0) == make_notes([(0, 2000, 60, 0), (1990, 10, 62, 0)])


# ------------------------------------------------------------------------------------------------- sound


def test_duration_loudness_and_type():
    samples = audio.render(make_notes([(0, 1000, 60, 0), (500, 1500, 64, 0)]))
    assert samples.dtype == np.float32
    assert len(samples) == 3.5 * SAMPLE_RATE
    assert np.abs(samples).max() == pytest.approx(audio.PEAK)
    assert np.sqrt(np.mean(between(samples, 0, 2) ** 2)) > 0.03


@pytest.mark.parametrize("pitch, hertz", [A4, A5])
def test_the_pitch_is_heard(pitch, hertz):
    samples = audio.render(make_notes([(0, 2000, pitch, 0)]))
    assert strongest_hertz(between(samples, 0.2, 1.8)) == pytest.approx(hertz, rel=0.01)


def test_notes_sound_when_they_are_written():
    samples = audio.render(make_notes([(1000, 500, 69, 0), (1500, 500, 81, 0)]))
    assert np.abs(between(samples, 0, 0.99)).max() < 1e-3
    assert strongest_hertz(between(samples, 1.05, 1.45)) == pytest.approx(440, rel=0.01)
    assert strongest_hertz(between(samples, 1.65, 1.95)) == pytest.approx(880, rel=0.01)


def test_no_note_hangs():
    rows = [(0, 1000, 60, 16), (500, 1000, 60, 16), (500, 200, 60, 16), (700, 0, 67, 16)]
    assert np.abs(between(audio.render(make_notes(rows)), 2.8, 3.0)).max() < 0.02


def test_no_notes_are_silence():
    np.testing.assert_array_equal(audio.render(make_notes([])), np.zeros(36_000))


def test_stereo_has_the_same_sound_at_twice_the_rate():
    notes = make_notes([(0, 2000, 69, 0)])
    stereo = audio.render_stereo(notes, max_seconds=60)
    assert stereo.dtype == np.float32
    assert stereo.shape == (3.5 * audio.RENDER_RATE, 2)
    assert np.abs(stereo).max() == pytest.approx(audio.PEAK)
    mono = between(stereo.mean(axis=1)[:: audio.RENDER_FACTOR], 0, 2)
    assert strongest_hertz(mono) == pytest.approx(440, rel=0.01)
    assert np.corrcoef(mono, between(audio.render(notes), 0, 2))[0, 1] > 0.99


def test_long_stereo_is_faded_out_as_well():
    notes = make_notes([(second * 1000, 900, 69, 0) for second in range(20)])
    stereo = audio.render_stereo(notes, max_seconds=5)
    assert stereo.shape == (5 * audio.RENDER_RATE, 2)
    assert np.abs(stereo[-1]).max() < 1e-3
    assert audio.render_stereo(notes, max_seconds=1).shape == (audio.RENDER_RATE, 2)  # shorter than the fade


def test_drums_are_noise():
    samples = audio.render(make_notes([(0, 100, 38, DRUM_PROGRAM)]))
    assert np.abs(between(samples, 0, 0.3)).max() == pytest.approx(audio.PEAK)
    spectrum = np.abs(np.fft.rfft(between(samples, 0, 0.25))) ** 2
    assert spectrum.max() / spectrum.sum() < 0.3  # a tone has nearly all in one place


def test_the_same_piece_gives_the_same_samples():
    notes = make_notes([(0, 300, 60, 0), (100, 300, 45, DRUM_PROGRAM), (200, 300, 70, 73)])
    np.testing.assert_array_equal(audio.render(notes), audio.render(notes))


def test_a_long_piece_is_faded_out(monkeypatch):
    monkeypatch.setattr(audio, "MAX_SECONDS", 5.0)
    notes = make_notes([(second * 1000, 900, 69, 0) for second in range(20)])
    samples = audio.render(notes)
    assert len(samples) == 5 * SAMPLE_RATE
    assert abs(samples[-1]) < 1e-3
    assert np.abs(between(samples, 2, 3)).max() > 0.3


def test_instruments_differ():
    piano, organ = (audio.render(make_notes([(0, 1900, 69, program)])) for program in (0, 19))
    fading = [np.abs(between(x, 1.6, 1.8)).max() / np.abs(between(x, 0.1, 0.3)).max() for x in (piano, organ)]
    assert fading[0] < 0.6 < 0.8 < fading[1]


def test_every_program_has_a_channel_of_its_own():
    """Eighteen programs and drums at once, more than MIDI's sixteen channels: what each plays alone, added up."""
    rows = [(0, 500, 60, program) for program in [*range(0, 126, 7), DRUM_PROGRAM]]
    together = audio.play(make_notes(rows))
    np.testing.assert_allclose(together, sum(audio.play(make_notes([row])) for row in rows), atol=0.01)
    assert np.abs(together).max() > 0.1
