import dataclasses

import numpy as np

from beam_pipelines.encoding import attributes
from beam_pipelines.settings.labels import ATTRIBUTES
from midi_codec.music.note_batch import NoteBatch
from midi_codec.music.notes import MILLISECONDS, Notes

C_MAJOR = [60, 62, 64, 65, 67, 69, 71, 72]


def piece(starts, *, pitches=C_MAJOR, duration=100, programs=(0,), tempo=120.0) -> Notes:
    size = len(starts)
    return Notes.from_columns(
        pitch=np.resize(pitches, size),
        velocity=np.full(size, 64),
        start=starts,
        duration=np.full(size, duration),
        program=np.resize(programs, size),
        tempo=tempo,
    )


def of(*pieces: Notes) -> list[dict[str, str]]:
    return attributes.of_batch(NoteBatch.from_notes(pieces, MILLISECONDS), ATTRIBUTES)


def test_attributes_of_pieces():
    rng = np.random.default_rng(0)
    scale = piece(500 * np.arange(16))
    chords = piece(np.repeat(500 * np.arange(16), 4), duration=900, programs=(0, 32, 128, 33))
    played = piece(np.sort(rng.integers(0, 9000, 200)), pitches=[60], duration=1, programs=(40,))
    assert of(scale, chords, played) == [
        {"key": "C major", "density": "2-4", "polyphony": "1", "instruments": "piano", "timing": "quantised"},
        {
            "key": "C major",
            "density": "4-8",
            "polyphony": "5-8",
            "instruments": "piano+bass+drums",
            "timing": "quantised",
        },
        {"key": "C major", "density": "16+", "polyphony": "2", "instruments": "strings", "timing": "expressive"},
    ]


def test_a_piece_of_one_drum_has_no_key():
    (found,) = of(piece([0], programs=(128,)))
    assert found == {"density": "8-16", "polyphony": "1", "instruments": "drums", "timing": "quantised"}


def test_the_tempo_decides_what_is_a_beat():
    slow = piece(np.arange(64) * 750 // 4, tempo=80.0)
    assert of(slow)[0]["timing"] == "quantised"
    assert of(dataclasses.replace(slow, tempo=97.0))[0]["timing"] == "expressive"


def test_only_those_that_are_asked_for_in_any_batch():
    pieces = [piece(100 * np.arange(8)), piece(1000 * np.arange(8))]
    batch = NoteBatch.from_notes(pieces, MILLISECONDS)
    assert attributes.of_batch(batch, ("density",)) == [{"density": "8-16"}, {"density": "1-2"}]
    assert attributes.of_batch(batch.take([1]), ("density",)) == [{"density": "1-2"}]
    assert attributes.of_batch(batch, ()) == [{}, {}]
