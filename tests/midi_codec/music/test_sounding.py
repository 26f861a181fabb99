import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from midi_codec.music.notes import Notes
from midi_codec.music.sounding import end_at_restrikes, silences, sounding_at_onsets

NOTES = st.lists(st.tuples(st.integers(0, 20), st.integers(0, 9)), max_size=30)


@given(NOTES)
def test_as_a_count_note_by_note_gives(notes):
    notes = sorted((start, start + length) for start, length in notes)
    start, end = np.array(notes, np.int64).reshape(-1, 2).T
    assert sounding_at_onsets(start, end).tolist() == [sum(s <= t < e for s, e in notes) for t in start]
    until = [max(end[:index], default=start[index]) for index in range(len(notes))]
    assert silences(start, end).tolist() == [max(t - last, 0) for t, last in zip(start, until, strict=True)]


def test_a_key_that_is_struck_again_ends_its_note():
    notes = Notes.from_columns(
        start=np.array([0, 0, 10, 10, 10, 20, 30]),
        pitch=np.array([60, 62, 60, 62, 62, 60, 60]),
        program=np.array([0, 0, 0, 0, 0, 5, 0]),
        duration=np.array([50, 50, 15, 15, 90, 90, 90]),
        velocity=np.full(7, 9),
    )
    assert end_at_restrikes(notes, num_given=0).duration.tolist() == [10, 10, 15, 15, 90, 90, 90]
    assert end_at_restrikes(notes, num_given=1).duration.tolist() == [50, 10, 15, 15, 90, 90, 90]
    assert end_at_restrikes(notes.take(slice(0)), num_given=0).duration.tolist() == []
