"""Each check on music that is wrong in its own way, with values worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from midi_codec.measures.screen_checks import LOOPS, NAMES, check_piece, window_bounds
from midi_codec.music.notes import BEATS
from tests.midi_codec.measures.test_music_measures import make_notes


def check(start, duration, num_given=0, ended=False, **columns) -> dict[str, float]:
    return check_piece(make_notes(start, duration, **columns), num_given, ended=ended)


def scale(size: int) -> list[int]:
    """Pitches that do not repeat within 128 notes."""
    return [index % 128 for index in range(size)]


def test_every_value_of_a_plain_piece():
    got = check(list(range(0, 64_000, 1000)), [500] * 64, pitch=scale(64), ended=True)
    assert got == {
        "longest_repeat": 1, "pitch_share": 1 / 64, **dict.fromkeys(LOOPS, 0), "longest_silence": 0.5,
        "longest_note": 0.5, "note_share": 0.007874, "overlap_share": 0, "max_polyphony": 1, "max_begun": 1,
        "low_density": 1, "high_density": 1, "length": 63.5, "ended_notes": 64,
    }  # fmt: skip
    assert set(got) == set(NAMES)


def test_times_on_the_grid_of_beats_are_in_beats():
    got = check([0, 24, 96], [12, 24, 48], time_base=BEATS)
    assert (got["longest_silence"], got["longest_note"], got["length"]) == (2, 2, 6)


def test_a_short_piece_has_no_shares_and_no_density():
    got = check([0, 10], [5, 5])
    assert {"pitch_share", "note_share", "overlap_share", "low_density", "high_density", "ended_notes"}.isdisjoint(got)


def test_a_very_long_note():
    got = check(list(range(0, 400, 10)), [5] * 40, pitch=[*range(20), *[99] * 20])
    assert got["longest_repeat"] == 20
    assert got["pitch_share"] == 0.5


def test_a_note_that_lasts_for_most_of_its_window():
    got = check(list(range(0, 400, 10)), [5] * 10 + [300] + [5] * 29)
    assert got["note_share"] == round(300 / 400, 6)
    assert check(list(range(0, 400, 10)), [5] * 39 + [400])["note_share"] == round(400 / 790, 6)


def test_repeats_are_within_one_program():
    assert check([0, 1, 2, 3], [1] * 4, program=[0, 0, 40, 40])["longest_repeat"] == 2


@pytest.mark.parametrize(
    "pitch, want",
    [
        ([1, 2, 3, 4, 5, 6], 0),
        ([1, 2, 3, 9, 1, 2, 3, 8], 0),  # comes again, but is no loop
        ([7, 1, 2, 3, 1, 2, 3, 8], 6),  # heard twice
        ([1, 2, 3] * 5, 15),
        ([1, 2] * 10, 20),
    ],
)
def test_loops(pitch, want):
    got = check(list(range(len(pitch))), [1] * len(pitch), pitch=pitch)
    assert max(got[name] for name in LOOPS) == want


@pytest.mark.parametrize("period, classes", [(2, 6), (3, 5), (4, 5), (5, 4), (8, 4), (9, 3), (32, 2), (33, 1), (64, 1)])
def test_a_loop_counts_for_its_period_and_for_multiples_that_play_twice(period, classes):
    got = check(list(range(256)), [1] * 256, pitch=[index % period for index in range(256)])
    assert [got[name] for name in LOOPS] == [0] * (6 - classes) + [256] * classes


def test_a_loop_of_65_notes_does_not_count():
    got = check(list(range(256)), [1] * 256, pitch=[index % 65 for index in range(256)])
    assert [got[name] for name in LOOPS] == [0] * 6


def test_silence_begins_when_the_last_sounding_note_ends_even_a_primers():
    assert check([0, 100, 5000], [3000, 10, 10])["longest_silence"] == 2
    assert check([0, 100, 5000], [3000, 10, 10], num_given=2)["longest_silence"] == 2


def test_overlaps_are_within_one_pitch_and_program():
    start = list(range(0, 400, 10))
    assert check(start, [10] * 40)["overlap_share"] == 0  # ends as the next begins
    assert check(start, [11] * 40)["overlap_share"] == 39 / 40
    assert check(start, [500] * 40, pitch=scale(40))["overlap_share"] == 0
    assert check(start, [11] * 40, program=[0, 40] * 20)["overlap_share"] == 0


def test_polyphony_and_onsets_at_once():
    got = check([0] * 5 + [999, 1000], [1000] * 7, pitch=scale(7))
    assert (got["max_polyphony"], got["max_begun"]) == (6, 6)


def test_the_worst_window_counts():
    slow, fast = np.arange(256) * 1000, 256_000 + np.arange(256) * 100
    got = check(np.concatenate([slow, fast]), [50] * 512, pitch=scale(512))
    assert (got["low_density"], got["high_density"]) == (1, 10)


def test_a_window_at_one_moment_is_dense_but_finite():
    assert check([0] * 40, [10] * 40, pitch=scale(40))["high_density"] == 39_000


@pytest.mark.parametrize(
    "num_notes, num_given, want",
    [(0, 0, []), (5, 5, []), (10, 4, [(4, 10)]), (256, 0, [(0, 256)]), (300, 10, [(10, 266), (44, 300)])],
)
def test_windows(num_notes, num_given, want):
    assert window_bounds(num_notes, num_given) == want


def test_nothing_generated_has_no_values():
    assert check([0, 10], [5, 5], num_given=2) == {}
    assert check([0, 10], [5, 5], num_given=2, ended=True) == {"ended_notes": 2}
