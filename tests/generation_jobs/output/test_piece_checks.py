import numpy as np
import pytest

from generation_jobs.output.piece_checks import check, longest_run
from midi_codec.music.notes import Notes


def make(*rows: tuple[int, int, int]) -> Notes:
    """Rows of (start in ms, duration in ms, pitch)."""
    start, duration, pitch = np.array(rows, np.int64).reshape(-1, 3).T
    return Notes.from_columns(
        pitch=pitch, velocity=np.full(len(pitch), 80), start=start, duration=duration, program=np.zeros(len(pitch))
    )


def test_a_piece_from_silence():
    notes = make((0, 500, 60), (0, 100, 64), (1000, 500, 64), (2000, 0, 64), (2500, 500, 60))
    # silent from 500 to 1000, from 1500 to 2000 and, after a note without length, to 2500; 3 s in all
    assert check(notes, 0) == {
        "num_notes_generated": 5,
        "longest_repeat": 3,
        "longest_silence_seconds": 0.5,
        "silence_share": 0.5,
        "max_polyphony": 2,
    }


def test_time_runs_from_the_last_onset_of_the_primer_whose_sound_counts():
    notes = make((0, 100, 60), (5000, 1000, 60), (6500, 500, 60), (7000, 2000, 61))
    assert check(notes, 2) == {
        "num_notes_generated": 2,
        "longest_repeat": 1,
        "longest_silence_seconds": 0.5,  # 6000 to 6500
        "silence_share": 0.125,  # of 5000 to 9000
        "max_polyphony": 1,
    }


@pytest.mark.parametrize(("notes", "num_primer_notes"), [(make(), 0), (make((0, 100, 60)), 1)])
def test_nothing_generated_is_all_zero(notes, num_primer_notes):
    assert set(check(notes, num_primer_notes).values()) == {0}


def test_a_piece_without_length_has_no_silence():
    assert check(make((0, 0, 60)), 0)["silence_share"] == 0.0


@pytest.mark.parametrize(("values", "want"), [([], 0), ([0], 1), ([5, 5, 5], 3), ([1, 2, 2, 0, 0, 0, 127], 3)])
def test_longest_run(values, want):
    assert longest_run(np.array(values, np.uint8)) == want


def test_a_note_that_ends_as_another_begins_makes_room_for_it():
    assert check(make((0, 100, 60), (100, 100, 60), (100, 50, 61)), 0)["max_polyphony"] == 2
