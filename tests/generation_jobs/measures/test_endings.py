"""Shares of endings of pieces small enough to see."""

from __future__ import annotations

from generation_jobs.measures import endings
from midi_codec.music.notes import BEATS
from tests.generation_jobs.measures.test_music_measures import make_notes

LONG = make_notes([0, 24, 48], [20, 20, 40], time_base=BEATS)
SHORT = make_notes([0, 24, 47], [20, 20, 39], time_base=BEATS)


def test_long_last_notes_on_whole_beats():
    assert endings.shares([LONG], 3) == {"long_last": 1.0, "whole_beats": 1.0, "short": 0.0}
    assert endings.shares([SHORT, LONG, LONG, LONG], 4) == {"long_last": 0.75, "whole_beats": 0.75, "short": 1.0}


def test_the_longest_note_of_the_last_chord_counts():
    chord = make_notes([0, 100, 200, 210, 250], [100, 100, 100, 200, 90])
    assert endings.shares([chord], 0)["long_last"] == 1.0
    earlier = make_notes([0, 100, 200, 300, 400], [100, 100, 100, 500, 90])
    assert endings.shares([earlier], 0)["long_last"] == 0.0


def test_milliseconds_have_no_beats_and_nothing_has_no_shares():
    assert endings.shares([make_notes([0], [5])], 0)["whole_beats"] is None
    assert endings.shares([make_notes([], [])], 0) == {"long_last": None, "whole_beats": None, "short": None}


def test_a_short_piece_has_fewer_notes_than_all_but_two_in_a_hundred():
    corpus = [make_notes(range(size), [5] * size) for size in range(1, 101)]
    assert endings.shortest(corpus) == 3
    assert endings.shares(corpus, 3)["short"] == 0.02
    assert endings.shares(corpus[:4], 3, num_cut=4)["short"] == 0.25
    assert endings.shortest([]) == 0
