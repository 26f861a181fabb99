import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from midi_codec.music.sounding import silences, sounding_at_onsets

NOTES = st.lists(st.tuples(st.integers(0, 20), st.integers(0, 9)), max_size=30)


@given(NOTES)
def test_as_a_count_note_by_note_gives(notes):
    notes = sorted((start, start + length) for start, length in notes)
    start, end = np.array(notes, np.int64).reshape(-1, 2).T
    assert sounding_at_onsets(start, end).tolist() == [sum(s <= t < e for s, e in notes) for t in start]
    until = [max(end[:index], default=start[index]) for index in range(len(notes))]
    assert silences(start, end).tolist() == [max(t - last, 0) for t, last in zip(start, until, strict=True)]
