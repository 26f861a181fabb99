"""What pieces share with one another, against the longest run with an index of all the others."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from generation_jobs.memorisation import duplicates
from generation_jobs.memorisation.corpus_index import Copied
from generation_jobs.memorisation.duplicates import exact_groups, shared_runs
from tests.generation_jobs.memorisation.test_corpus_index import index_of, melody, notes_of


@pytest.mark.parametrize("num_pitches", [1, 3, 12])
@pytest.mark.parametrize("chunk", [5, None])
def test_equals_the_longest_run_with_an_index_of_the_others(num_pitches, chunk, monkeypatch):
    if chunk:
        monkeypatch.setattr(duplicates, "_CHUNK", chunk)
    sizes = [40, 0, 60, 1, 50, 40]
    pieces = [melody(size, 10 + k, num_pitches=num_pitches) for k, size in enumerate(sizes)]
    pieces.append(pieces[2].take(slice(5, 50)).from_first_onset())
    found = list(shared_runs(index_of(*pieces)))
    for row, piece in enumerate(pieces):
        others = [notes_of([], []) if k == row else other for k, other in enumerate(pieces)]
        wanted = index_of(*others).longest_run(piece)
        assert found[row] == wanted, row
    assert found[1] == found[3] == Copied(0)
    if num_pitches > 1:  # of one pitch, all is trivial
        assert found[6].num_notes >= 44 and found[6].piece_id == "id2"


def test_a_single_piece_shares_nothing():
    assert list(shared_runs(index_of(melody(30, 0)))) == [Copied(0)]
    assert list(shared_runs(index_of())) == []


def test_exact_duplicates_are_equal_in_every_column():
    piece = melody(20, 3)
    louder = dataclasses.replace(piece, velocity=piece.velocity + np.uint8(1))
    nothing = notes_of([], [])
    pieces = [louder, piece, nothing, piece, nothing, louder, melody(20, 4)]
    assert exact_groups(notes.piece_id if len(notes) else "" for notes in pieces) == [[0, 5], [1, 3]]
    assert exact_groups([]) == exact_groups([""]) == []
