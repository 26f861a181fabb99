import numpy as np
import pytest
from symusic.core import NoteTickList

from midi_codec import symusic_notes


@pytest.mark.parametrize("num_notes", [0, 1, 127, 128, 70_000])
def test_pickled_rows_are_the_arrays(num_notes):
    generator = np.random.default_rng(num_notes)
    columns = {
        "time": generator.integers(0, 2**31, num_notes).astype(np.int32),
        "duration": generator.integers(0, 2**31, num_notes).astype(np.int32),
        "pitch": generator.integers(0, 128, num_notes).astype(np.int8),
        "velocity": generator.integers(1, 128, num_notes).astype(np.int8),
    }
    notes = NoteTickList.from_numpy(*columns.values())
    for take in (symusic_notes.take_rows, symusic_notes._from_arrays):
        rows = np.frombuffer(take(notes), symusic_notes.ROW)
        assert {name: rows[name].tolist() for name in columns} == {name: c.tolist() for name, c in columns.items()}


def test_the_form_is_known():
    """Else reading is slower, and `symusic_notes` should learn the new form."""
    assert symusic_notes.IS_KNOWN_FORM
