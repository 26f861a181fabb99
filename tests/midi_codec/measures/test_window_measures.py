"""Key clarity, groove and self-similarity of music whose values are known."""

from __future__ import annotations

import numpy as np
import pytest

from midi_codec.measures import window_measures
from midi_codec.measures.window_measures import groove, key_clarity, self_similarity
from midi_codec.music.notes import BEATS, DRUM_PROGRAM
from tests.midi_codec.measures.test_music_measures import make_notes


def test_key_clarity_of_the_profile_itself_in_any_key_is_1():
    for tonic in range(12):
        pitch = [60 + (number + tonic) % 12 for number in range(12)] + [60 + tonic] * 52
        duration = [round(100 * value) for value in window_measures._MAJOR] + [0] * 52
        notes = make_notes(list(range(64)), duration, pitch=pitch)
        assert key_clarity(notes) == pytest.approx([1])


def test_key_clarity_is_a_correlation():
    notes = make_notes(list(range(64)), [10] * 64, pitch=[60] * 64)
    major, minor = (np.corrcoef(np.eye(12)[0], p)[0, 1] for p in (window_measures._MAJOR, window_measures._MINOR))
    assert key_clarity(notes) == pytest.approx([max(major, minor)])


def test_key_clarity_of_equal_classes_is_0_and_drums_have_none():
    pitch = [60 + index % 12 for index in range(64)]
    notes = make_notes(list(range(64)), [10] * 60 + [0] * 4, pitch=pitch)
    assert key_clarity(notes).tolist() == [0]
    assert key_clarity(make_notes(list(range(64)), [10] * 64, program=[DRUM_PROGRAM] * 64)).size == 0


@pytest.mark.parametrize("num_notes, num_windows", [(63, 0), (64, 1), (127, 1), (128, 2)])
def test_windows_are_full(num_notes, num_windows):
    notes = make_notes(list(range(0, 100 * num_notes, 100)), [10] * num_notes)
    assert len(groove(notes)) == len(key_clarity(notes)) == num_windows
    assert len(self_similarity(notes)) == max(num_notes // 16 - 1, 0)


def test_groove_of_a_repeating_rhythm_is_1():
    bar = np.array([0, 12, 18, 30, 48, 60, 66, 90])  # eight onsets in four beats
    start = np.concatenate([bar + 96 * index for index in range(8)])
    assert groove(make_notes(start, [6] * 64, time_base=BEATS)) == pytest.approx([1])


def test_groove_of_random_onsets_is_low():
    start = np.cumsum(np.random.default_rng(0).integers(1, 40, 64) * 50)
    assert groove(make_notes(start, [10] * 64))[0] < 0.4


def test_groove_of_one_chord_is_0():
    assert groove(make_notes([0] * 64, [10] * 64)).tolist() == [0]


def test_self_similarity_is_the_highest_cosine_with_a_segment_before():
    pitch = [60] * 16 + [62] * 16 + [60] * 8 + [64] * 8
    notes = make_notes(list(range(48)), [10] * 48, pitch=pitch)
    assert self_similarity(notes) == pytest.approx([0, 8 / np.sqrt(128)])


def test_self_similarity_looks_sixteen_segments_back():
    pitch = np.repeat([60, *range(80, 96), 60], 16)
    notes = make_notes(list(range(len(pitch))), [1] * len(pitch), pitch=pitch)
    assert self_similarity(notes).tolist() == [0] * 17
    nearer = notes.take(np.arange(len(pitch)) >= 16 * 0).take(np.r_[0:16, 32 : len(pitch)])
    assert self_similarity(nearer)[-1] == pytest.approx(1)
