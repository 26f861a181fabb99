import numpy as np

from generation_jobs.seeds.excerpts import places

# onsets:         0  1  2  3  chord  6  7  8   9 10 11
START = np.array([0, 2, 4, 6, 12, 12, 14, 16, 18, 30, 32, 34])


def test_the_opening_comes_first_then_the_places_after_the_longest_waits():
    assert places(START, 3) == [0, 9, 4]  # waits of 12 and 6
    assert places(START, 2) == [0, 9, 4, 2, 6]  # then those of 2, the earliest first
    assert places(START, 4) == [0, 4, 8]  # no four notes from note 9; of the waits of 2, note 8 is not taken


def test_an_excerpt_begins_with_the_first_note_of_a_chord():
    assert places(np.array([0, 0, 0, 5, 5, 5, 10, 10, 10]), 2) == [0, 3, 6]
    assert places(np.array([0, 0, 0, 0]), 2) == [0]


def test_excerpts_do_not_overlap():
    start = np.cumsum(np.random.default_rng(1).integers(0, 50, 400))
    firsts = places(start, 16)
    assert min(np.diff(sorted(firsts))) >= 16
    assert max(firsts) <= 400 - 16


def test_a_piece_that_is_too_short_or_just_long_enough():
    assert places(np.array([0, 1]), 3) == []
    assert places(np.array([0, 1, 2]), 3) == [0]
    assert places(np.zeros(0, np.int32), 1) == []


def test_a_wait_of_small_integers_does_not_wrap():
    assert places(np.array([0, 1, 200, 201], np.uint8), 1) == [0, 2, 1, 3]
