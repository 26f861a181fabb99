import numpy as np
import pytest

from generation_jobs.output.generated_music import GeneratedPiece
from generation_jobs.report import piece_figures
from midi_codec.measures.music_measures import Part
from midi_codec.music.notes import MILLISECONDS, Notes


def melody(pitches: list[int], *, program: int = 0) -> Notes:
    count = len(pitches)
    return Notes.from_columns(
        pitch=np.array(pitches),
        velocity=np.full(count, 80),
        start=250 * np.arange(count),
        duration=np.full(count, 200),
        program=np.full(count, program),
    )


def piece(notes: Notes, num_given: int = 0) -> GeneratedPiece:
    return GeneratedPiece({"num_primer_notes": num_given}, notes)


def test_figures_ignore_primers():
    found = piece_figures.figures_of([piece(melody([60, 62, 64, 71]), 2), piece(melody([50, 52]))], MILLISECONDS)
    named = [dict(zip((m["name"] for m in found.measures), row, strict=True)) for row in found.pieces]
    assert (named[0]["pitch"], named[0]["interval"], named[0]["step"]) == (67.5, 4.5, 0.25)
    assert (named[1]["pitch"], named[1]["interval"], named[1]["duration"]) == (51.0, 2.0, 0.2)
    assert [measure["corpus"] for measure in found.measures] == [None] * len(found.measures)


def test_measures_that_no_piece_has_are_left_out():
    found = piece_figures.figures_of([piece(melody([60, 62])), piece(melody([36, 38], program=128))], MILLISECONDS)
    names = [measure["name"] for measure in found.measures]
    assert "key_clarity" not in names  # of windows of 64 notes
    assert [row[names.index("drum")] for row in found.pieces] == [None, 37.0]
    assert [row[names.index("pitch")] for row in found.pieces] == [61.0, None]


def test_quantiles_of_the_corpus():
    corpus = (Part(melody([40 + number] * 3)) for number in range(41))
    found = piece_figures.figures_of([piece(melody([60, 62]))], MILLISECONDS, corpus)
    assert found.measures[0]["name"] == "pitch" and found.measures[0]["corpus"] == pytest.approx([42, 60, 78])


def test_only_the_first_pieces_of_the_corpus_are_read(monkeypatch):
    monkeypatch.setattr(piece_figures, "MAX_CORPUS_PARTS", 1)
    corpus = iter([Part(melody([40, 40])), Part(melody([90, 90]))])
    found = piece_figures.figures_of([piece(melody([60, 62]))], MILLISECONDS, corpus)
    assert found.measures[0]["corpus"] == [40, 40, 40]
    assert next(corpus).notes.pitch[0] == 90  # not read


def distances(mine: list[float], theirs: list[float]) -> list[float]:
    """Of one figure for each piece."""
    return piece_figures._distances(np.array(mine)[:, None], np.array(theirs)[:, None]).tolist()


def test_the_distance_is_the_log_of_how_many_pieces_of_the_corpus_are_as_unusual():
    corpus = [10.0, 20.0, 30.0, 40.0, 50.0]
    found = distances([30.0, 20.0, 41.0, 99.0, np.nan], corpus)
    assert found == pytest.approx([0, -np.log(5 / 6), -np.log(3 / 6), -np.log(1 / 6), -np.log(1 / 6)])
    assert distances([np.nan, 3.0], [np.nan, np.nan, 3.0]) == pytest.approx([-np.log(3 / 4), -np.log(2 / 4)])


def test_a_constant_corpus_and_measures_that_nothing_has():
    assert distances([80.0, 81.0], [80.0, 80.0, 80.0]) == pytest.approx([0, -np.log(1 / 4)])
    assert distances([np.nan], [np.nan, np.nan]) == [0]


def test_the_piece_most_like_the_corpus_is_not_one_note_repeated():
    corpus = [Part(melody([60 + number, 62, 64, 65, 67, 65, 64, 62] * 4)) for number in range(3)]
    repeated, alike = piece(melody([63] * 32)), piece(melody([61, 62, 64, 65, 67, 65, 64, 62] * 4))
    nothing = piece(melody([60]), 1)
    found = piece_figures.figures_of([repeated, alike, nothing], MILLISECONDS, corpus)
    assert found.has_corpus and found.distances[1] < found.distances[0] and found.distances[2] is None
    assert not piece_figures.figures_of([repeated, alike], MILLISECONDS).has_corpus


def test_without_a_corpus_pieces_are_compared_with_one_another():
    usual = [piece(melody([60, 62, 64, 65, 67, 65, 64, 62] * 4)) for _ in range(4)]
    found = piece_figures.figures_of([piece(melody([100] * 32)), *usual], MILLISECONDS)
    assert found.distances[1:] == [0, 0, 0, 0] and found.distances[0] > 0.2
