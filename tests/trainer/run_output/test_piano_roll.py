import numpy as np
import pytest

from midi_codec.music.notes import BEATS, DRUM_PROGRAM, MILLISECONDS, Notes
from trainer.run_output import piano_roll
from trainer.run_output.piano_roll import KEY_PIXELS, KEYBOARD_PIXELS, SECOND_PIXELS, program_colour


def make_notes(*rows: tuple[int, int, int, int, int], time_base: str = MILLISECONDS) -> Notes:
    """Rows of start, duration, pitch, velocity, program."""
    start, duration, pitch, velocity, program = np.array(rows, np.int64).reshape(-1, 5).T
    return Notes.from_columns(
        pitch=pitch, velocity=velocity, start=start, duration=duration, program=program, time_base=time_base
    )


def test_a_note_stands_at_its_time_and_pitch_and_nowhere_else():
    picture = piano_roll.draw(make_notes((1000, 2000, 60, 127, 0)))
    empty = piano_roll.draw(make_notes())
    assert picture.dtype == np.uint8
    assert picture.shape == empty.shape == (88 * KEY_PIXELS, KEYBOARD_PIXELS + 8 * SECOND_PIXELS, 3)
    rows, columns = np.nonzero((picture != empty).any(axis=2))
    top, left = (108 - 60) * KEY_PIXELS, KEYBOARD_PIXELS + SECOND_PIXELS
    assert (rows.min(), rows.max()) == (top, top + KEY_PIXELS - 2)
    assert (columns.min(), columns.max()) == (left, left + 2 * SECOND_PIXELS - 1)
    assert len(rows) == (KEY_PIXELS - 1) * 2 * SECOND_PIXELS
    np.testing.assert_array_equal(picture[top, left + 1], program_colour(0).astype(np.uint8))
    np.testing.assert_array_equal(picture[top, left], (0.5 * program_colour(0)).astype(np.uint8))


def test_a_soft_note_is_pale_and_programs_differ():
    notes = make_notes((0, 1000, 60, 127, 0), (0, 1000, 62, 20, 0), (0, 1000, 64, 127, 1), (0, 1000, 66, 127, 128))
    picture = piano_roll.draw(notes).astype(int)
    loud, soft, other, drum = (picture[(108 - pitch) * KEY_PIXELS, KEYBOARD_PIXELS + 5] for pitch in (60, 62, 64, 66))
    assert soft.sum() > loud.sum() + 100
    assert np.abs(loud - other).sum() > 100
    assert drum.tolist() == program_colour(DRUM_PROGRAM).tolist() == [90, 90, 90]


def test_a_repeated_note_and_one_without_length_can_be_seen():
    picture = piano_roll.draw(make_notes((0, 1000, 60, 100, 0), (1000, 1000, 60, 100, 0), (500, 0, 72, 100, 0)))
    row = picture[(108 - 60) * KEY_PIXELS].astype(int).sum(axis=1)
    second = KEYBOARD_PIXELS + SECOND_PIXELS
    assert row[second] < row[second - 1] == row[second + 1]
    other = picture[(108 - 72) * KEY_PIXELS].astype(int).sum(axis=1)
    assert (other[KEYBOARD_PIXELS + SECOND_PIXELS // 2 :][:2] < 600).all()


def test_keys_beyond_a_piano_are_shown_and_long_pieces_end():
    wide = piano_roll.draw(make_notes((0, 100, 0, 100, 0), (0, 100, 127, 100, 0)))
    assert wide.shape[0] == 128 * KEY_PIXELS
    long = piano_roll.draw(make_notes((0, 100, 60, 100, 0), (10**9, 10**6, 60, 100, 0)))
    assert long.shape[1] == KEYBOARD_PIXELS + 120 * SECOND_PIXELS


@pytest.mark.parametrize("time_base, pixels", [(MILLISECONDS, 32), (BEATS, 16)])
def test_lines_mark_seconds_or_beats(time_base, pixels):
    picture = piano_roll.draw(make_notes(time_base=time_base))
    row = picture[(108 - 60) * KEY_PIXELS, KEYBOARD_PIXELS:, 0]
    assert np.flatnonzero(row != 255).tolist() == list(range(0, 8 * SECOND_PIXELS, pixels))
