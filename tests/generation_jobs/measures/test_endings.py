"""Shares of endings of pieces small enough to see."""

from __future__ import annotations

from generation_jobs.measures import endings
from generation_jobs.measures.endings import Endings
from midi_codec.music.notes import BEATS
from tests.midi_codec.measures.test_music_measures import make_notes

LONG = make_notes([0, 24, 48], [20, 20, 40], time_base=BEATS)
SHORT = make_notes([0, 24, 47], [20, 20, 39], time_base=BEATS)


def test_long_last_notes_on_whole_beats():
    assert Endings(3, [LONG]).shares() == {"long_last": 1.0, "whole_beats": 1.0, "short": 0.0}
    assert Endings(4, [SHORT, LONG, LONG, LONG]).shares() == {"long_last": 0.75, "whole_beats": 0.75, "short": 1.0}


def test_the_longest_note_of_the_last_chord_counts():
    chord = make_notes([0, 100, 200, 210, 250], [100, 100, 100, 200, 90])
    assert Endings(0, [chord]).shares()["long_last"] == 1.0
    earlier = make_notes([0, 100, 200, 300, 400], [100, 100, 100, 500, 90])
    assert Endings(0, [earlier]).shares()["long_last"] == 0.0


def test_milliseconds_have_no_beats_and_nothing_has_no_shares():
    assert Endings(0, [make_notes([0], [5])]).shares()["whole_beats"] is None
    assert Endings(0, [make_notes([], [])]).shares() == {"long_last": None, "whole_beats": None, "short": None}


def test_a_short_piece_has_fewer_notes_than_all_but_two_in_a_hundred():
    corpus = [make_notes(range(size), [5] * size) for size in range(1, 101)]
    assert endings.shortest(corpus) == 3
    assert Endings(3, corpus).shares()["short"] == 0.02
    with_cut = Endings(3, corpus[:4])
    for _ in range(4):
        with_cut.add_cut()
    assert with_cut.shares()["short"] == 0.25
    assert endings.shortest([]) == 0
