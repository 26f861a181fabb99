"""The discriminator: its windows, folds and interval, and what it tells apart."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from generation_jobs.measures import discriminator
from generation_jobs.measures.discriminator import NOTES, Windows
from midi_codec.dataset.records import Piece
from midi_codec.fields import MAX_TICK
from midi_codec.measures.music_measures import Part
from tests.generation_jobs.report_fakes import make_notes


def test_windows_follow_the_primer_without_overlap():
    windows, notes = Windows(), make_notes(8 + 2 * NOTES + 5, rng_seed=1)
    windows.add("short", Part(notes.take(slice(8 + NOTES - 1)), 8))
    windows.add("piece", Part(notes, 8))
    assert (windows.names, windows.index, windows.num_added) == (["piece"], [1], 2)
    (bins,) = windows.bins
    assert bins.shape == (2, NOTES, 5)
    np.testing.assert_array_equal(bins[:, :, 2].ravel(), notes.pitch[8 : 8 + 2 * NOTES])
    np.testing.assert_array_equal(bins[1, :, 0], discriminator.time_bins(notes.step)[8 + NOTES : 8 + 2 * NOTES])


def test_bins_of_times():
    assert discriminator.time_bins(np.array([0, 1, 47, 48, 50, 51, 96, 192])).tolist() == [0, 1, 47, 48, 48, 49, 60, 72]
    assert discriminator.time_bins(np.array([MAX_TICK])).max() < discriminator.NUM_VALUES[0]


def test_a_long_piece_gives_windows_from_all_of_it():
    windows, notes = Windows(), make_notes(16 * NOTES)
    windows.add("piece", Part(notes))
    np.testing.assert_array_equal(windows.bins[0][:, 0, 2], notes.pitch[:: 2 * NOTES])


def test_many_pieces_give_equally_many_windows(monkeypatch):
    monkeypatch.setattr(discriminator, "MOST_WINDOWS", 5)
    windows = Windows()
    for length in (4, 1):
        windows.add(str(length), Part(make_notes(length * NOTES)))
    bins, piece = windows.chosen()
    assert (len(bins), piece.tolist()) == (3, [0, 0, 1])


def test_folds_are_of_one_size_and_keep_groups_together():
    names = [f"group {number // 2}" for number in range(40)]
    folds = discriminator.folds_of(names)
    assert np.bincount(folds).tolist() == [8] * 5
    np.testing.assert_array_equal(folds[::2], folds[1::2])
    np.testing.assert_array_equal(discriminator.folds_of(names[::-1]), folds[::-1])


def test_the_interval_is_of_pieces_not_of_windows():
    all_right, all_wrong = np.array([[4, 4]] * 20), np.array([[0, 4]] * 20)
    assert discriminator.interval([all_right, all_wrong]) == (0.5, 0.5)
    half = np.array([[4, 4], [0, 4]] * 10)  # each piece is told right as a whole or not at all
    low, high = discriminator.interval([half, half])
    assert 0.3 < low < 0.4 and 0.6 < high < 0.7  # of 40 pieces 0.5 +- 2 * 0.08; of 160 windows it would be +- 0.08


def test_too_few_pieces():
    pieces = [Piece(str(number), str(number), "", make_notes(70, rng_seed=number)) for number in range(10)]
    generated = Windows()
    for number in range(9):
        generated.add(str(number), Part(make_notes(70)))
    assert (
        discriminator.compare(generated, [(0, 70)], pieces, [])
        == "9 generated pieces have 64 notes after the primer, want at least 10"
    )
    assert (
        discriminator.compare(generated, [(8, 70)], pieces, [])
        == "0 real pieces have 64 notes after the primer, want at least 10"
    )


@pytest.mark.slow
def test_other_music_is_told_apart(monkeypatch):
    monkeypatch.setattr(discriminator, "MOST_EPOCHS", 3)

    def pieces(first: int, velocity: int) -> list[Piece]:
        notes = [make_notes(3 * NOTES, rng_seed=number) for number in range(first, first + 12)]
        quiet = [dataclasses.replace(each, velocity=each.velocity % 40 + velocity) for each in notes]
        return [Piece(each.piece_id, each.piece_id, "", each) for each in quiet]

    windows = Windows()
    windows.add("short", Part(make_notes(3)))
    for piece in pieces(100, 80):
        windows.add(piece.piece_id, Part(piece.notes))
    told = discriminator.compare(windows, [(0, 3 * NOTES)], pieces(0, 10), pieces(20, 10))
    assert isinstance(told, discriminator.Told)
    assert told.accuracy > 0.95 and told.held_out is not None and told.held_out > 0.9
    assert (told.num_pieces, told.num_windows) == ((12, 12), (36, 36))
    assert np.isnan(told.scores[0]) and (told.scores[1:] < 0).mean() > 0.9
    assert set(told.to_json()) == {
        "accuracy", "interval", "real", "generated", "held_out", "num_pieces", "num_windows",
    }  # fmt: skip
