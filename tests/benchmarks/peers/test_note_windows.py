from __future__ import annotations

import numpy as np
import pytest

from benchmarks.peers.note_windows import Split, Windows, cut_for_scoring, gather

START = np.array([9, 128])


def make_split(lengths, *, drums=()):
    """Pieces of so many notes; a note is (its number in the piece modulo 9, 60 + piece)."""
    blocks = [
        np.append(np.stack([np.arange(n) % 9, np.full(n, 60 + piece)], axis=1), [[0, 0]], axis=0)
        for piece, n in enumerate(lengths)
    ]
    first = np.concatenate([[0], np.cumsum([n + 1 for n in lengths])])
    is_drum = np.concatenate([np.append(np.full(n, piece in drums), False) for piece, n in enumerate(lengths)])
    return Split(np.concatenate(blocks), first, is_drum)


def test_a_window_has_the_event_before_and_the_end():
    found = gather(make_split([3, 1]), np.array([[0, 0, 2], [0, 2, 4], [1, 0, 2]]), START)
    np.testing.assert_array_equal(
        found["previous"], [[START, [0, 60]], [[1, 60], [2, 60]], [START, [0, 61]]], "inputs: the events before"
    )
    np.testing.assert_array_equal(found["current"], [[[0, 60], [1, 60]], [[2, 60], [0, 0]], [[0, 61], [0, 0]]])
    np.testing.assert_array_equal(found["is_note"], [[True, True], [True, False], [True, False]])
    np.testing.assert_array_equal(found["is_end"], [[False, False], [False, True], [False, True]])


@pytest.mark.parametrize("window", [4, 6, 50])
def test_scoring_counts_each_event_once_with_half_a_window_before_it(window):
    split = make_split([1, 3, 4, 7, 23])
    windows, num_known = cut_for_scoring(split.first_event, window)
    seen = np.zeros(len(split.bins), int)
    for (piece, begin, end), known in zip(windows.tolist(), num_known.tolist(), strict=True):
        assert end - begin <= window and (begin == 0 or known == window // 2)
        seen[split.first_event[piece] + begin + known : split.first_event[piece] + end] += 1
    assert (seen == 1).all()


def test_an_epoch_sees_every_note_once_and_moves_whole_windows():
    split = make_split([3, 10, 25], drums=[1])
    setup = {"transpose": 5, "window": 8, "batch_size": 4, "num_bins": START.tolist()}
    windows = Windows(split, setup, np.random.default_rng(0))
    total, shifts = 0, set()
    while total < len(split.bins):
        batch = next(windows)
        assert batch["is_note"].shape[1] <= 8
        total += int((batch["is_note"] | batch["is_end"]).sum())
        for row, is_note in zip(batch["current"], batch["is_note"], strict=True):
            pitches = set(row[is_note, 1].tolist())
            assert len(pitches) <= 1
            shifts |= pitches
    assert total == len(split.bins)
    assert shifts - {61} <= set(range(55, 68)) and len(shifts) > 3


def test_a_window_of_drums_is_not_moved_and_no_pitch_leaves_the_range():
    bins = np.array([[0, 1], [0, 126], [0, 0]])
    setup = {"transpose": 5, "window": 8, "batch_size": 1, "num_bins": START.tolist()}
    for is_drum in (True, False):
        split = Split(bins, np.array([0, 3]), np.array([is_drum, is_drum, False]))
        windows = Windows(split, setup, np.random.default_rng(0))
        seen = {tuple(next(windows)["current"][0, :2, 1].tolist()) for _ in range(50)}
        assert seen == ({(1, 126)} if is_drum else {(0, 125), (1, 126), (2, 127)})
