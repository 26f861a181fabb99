import numpy as np
import pytest

from generation_jobs.measures.music_measures import Part
from generation_jobs.output.generated_music import GeneratedPiece
from generation_jobs.report import piece_figures
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
