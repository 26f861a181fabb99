"""Sound: as long as the notes and a tail, as loud as the others, and of the pitch that was written."""

from __future__ import annotations

import numpy as np
import pytest

from midi_codec import audio, audio_fluidsynth, audio_plain
from midi_codec.audio import SAMPLE_RATE, TAIL_SECONDS, Strokes
from midi_codec.notes import BEATS, DRUM_PROGRAM, Notes
from tests.generation_jobs import needs

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


@pytest.fixture(params=["plain", "fluidsynth"])
def synthesizer(request) -> audio.Synthesizer:
    return audio_plain.PlainSynthesis() if request.param == "plain" else needs.fluidsynth()


def strongest_hertz(samples: np.ndarray) -> float:
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
    return float(np.fft.rfftfreq(len(samples), 1 / SAMPLE_RATE)[spectrum.argmax()])


def between(samples: np.ndarray, begin: float, end: float) -> np.ndarray:
    """The samples from one second to another."""
    return samples[round(begin * SAMPLE_RATE) : round(end * SAMPLE_RATE)]


# ----------------------------------------------------------------------------------------------- strokes


def test_a_key_struck_again_ends_the_stroke_before():
    strokes = Strokes.from_notes(make_notes([(0, 1000, 60, 0), (500, 1000, 60, 0), (600, 100, 60, 40)]))
    assert (strokes.start_frame / SAMPLE_RATE).tolist() == [0.0, 0.5, 0.6]
    assert (strokes.end_frame / SAMPLE_RATE).tolist() == [0.5, 1.5, 0.7]
    assert strokes.num_frames == round((1.5 + TAIL_SECONDS) * SAMPLE_RATE)


def test_of_two_strokes_at_one_moment_the_longer_sounds():
    strokes = Strokes.from_notes(make_notes([(100, 50, 60, 0), (100, 80, 60, 0)]))
    assert (strokes.end_frame / SAMPLE_RATE).tolist() == [0.1, 0.18]


def test_a_note_of_no_length_is_heard():
    strokes = Strokes.from_notes(make_notes([(100, 0, 60, 0)]))
    assert (strokes.end_frame - strokes.start_frame).tolist() == [audio.MIN_STROKE_SECONDS * SAMPLE_RATE]


def test_beats_are_timed_by_the_tempo():
    strokes = Strokes.from_notes(make_notes([(0, 24, 60, 0), (24, 24, 62, 0)], BEATS, tempo=60.0))
    assert (strokes.start_frame / SAMPLE_RATE).tolist() == [0.0, 1.0]


# ------------------------------------------------------------------------------------------------- sound


def test_duration_loudness_and_type(synthesizer):
    samples = audio.render(make_notes([(0, 1000, 60, 0), (500, 1500, 64, 0)]), synthesizer)
    assert samples.dtype == np.float32
    assert len(samples) == round((2.0 + TAIL_SECONDS) * SAMPLE_RATE)
    assert np.abs(samples).max() == pytest.approx(audio.PEAK)
    assert np.sqrt(np.mean(between(samples, 0, 2) ** 2)) > 0.03


@pytest.mark.parametrize("pitch, hertz", [A4, A5])
def test_the_pitch_is_heard(synthesizer, pitch, hertz):
    samples = audio.render(make_notes([(0, 2000, pitch, 0)]), synthesizer)
    assert strongest_hertz(between(samples, 0.2, 1.8)) == pytest.approx(hertz, rel=0.01)


def test_notes_sound_when_they_are_written(synthesizer):
    samples = audio.render(make_notes([(1000, 500, 69, 0), (1500, 500, 81, 0)]), synthesizer)
    assert np.abs(between(samples, 0, 0.99)).max() < 1e-3
    assert strongest_hertz(between(samples, 1.05, 1.45)) == pytest.approx(440, rel=0.01)
    assert strongest_hertz(between(samples, 1.65, 1.95)) == pytest.approx(880, rel=0.01)


def test_no_note_hangs(synthesizer):
    rows = [(0, 1000, 60, 16), (500, 1000, 60, 16), (500, 200, 60, 16), (700, 0, 67, 16)]
    samples = audio.render(make_notes(rows), synthesizer)
    assert np.abs(between(samples, 1.5 + TAIL_SECONDS - 0.2, 1.5 + TAIL_SECONDS)).max() < 0.02


def test_drums_are_noise(synthesizer):
    samples = audio.render(make_notes([(0, 100, 38, DRUM_PROGRAM)]), synthesizer)
    assert np.abs(between(samples, 0, 0.3)).max() == pytest.approx(audio.PEAK)
    spectrum = np.abs(np.fft.rfft(between(samples, 0, 0.25))) ** 2
    assert spectrum.max() / spectrum.sum() < 0.3  # a tone has nearly all in one place


def test_the_same_piece_gives_the_same_samples(synthesizer):
    notes = make_notes([(0, 300, 60, 0), (100, 300, 45, DRUM_PROGRAM), (200, 300, 70, 73)])
    np.testing.assert_array_equal(audio.render(notes, synthesizer), audio.render(notes, synthesizer))


def test_a_long_piece_is_faded_out(synthesizer, monkeypatch):
    monkeypatch.setattr(audio, "MAX_SECONDS", 5.0)
    notes = make_notes([(second * 1000, 900, 69, 0) for second in range(20)])
    samples = audio.render(notes, synthesizer)
    assert len(samples) == 5 * SAMPLE_RATE
    assert abs(samples[-1]) < 1e-3
    assert np.abs(between(samples, 2, 3)).max() > 0.3


def test_instruments_differ():
    fluidsynth = needs.fluidsynth()
    piano, organ = (audio.render(make_notes([(0, 1900, 69, program)]), fluidsynth) for program in (0, 19))
    fading = [np.abs(between(x, 1.6, 1.8)).max() / np.abs(between(x, 0.1, 0.3)).max() for x in (piano, organ)]
    assert fading[0] < 0.6 < 0.8 < fading[1]


def test_every_program_has_a_channel_of_its_own():
    """Eighteen programs at once, more than MIDI's sixteen channels: what each plays alone, added up."""
    fluidsynth = needs.fluidsynth()
    rows = [(0, 500, 60, program) for program in range(0, 126, 7)]
    together = fluidsynth.play(Strokes.from_notes(make_notes(rows)))
    alone = sum(fluidsynth.play(Strokes.from_notes(make_notes([row]))) for row in rows)
    assert np.corrcoef(together, alone)[0, 1] > 0.99


def test_a_soundfont_that_is_not_there_is_an_error():
    library = audio_fluidsynth.find_library()
    if library is None:
        needs.fluidsynth()
    else:
        with pytest.raises(RuntimeError, match="nowhere.sf2"):
            audio.render(make_notes([(0, 100, 60, 0)]), audio_fluidsynth.FluidSynth(library, "nowhere.sf2"))


def test_without_the_library_the_plain_synthesis_plays(monkeypatch):
    monkeypatch.setattr(audio_fluidsynth, "find_library", lambda: None)
    chosen = audio.best_synthesizer()
    assert chosen.name == "plain synthesis"
    assert "libfluidsynth3" in chosen.hint


def test_with_the_library_fluidsynth_plays():
    needs.fluidsynth()
    assert audio.best_synthesizer().name == "FluidSynth"
