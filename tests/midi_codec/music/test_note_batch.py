import numpy as np
import pytest

from midi_codec.music.note_batch import NoteBatch
from midi_codec.music.notes import BEATS, MILLISECONDS, Notes


def random_piece(key: int, num_notes: int, *, first: int = 0, time_base: str = MILLISECONDS) -> Notes:
    generator = np.random.default_rng([key, num_notes])
    return Notes.from_columns(
        pitch=generator.integers(0, 128, num_notes),
        velocity=generator.integers(1, 128, num_notes),
        start=first + generator.integers(0, 5000, num_notes),
        duration=generator.integers(0, 900, num_notes),
        program=generator.choice([0, 7, 128], num_notes),
        tempo=float(np.float32(60 + 10 * key)),
        time_base=time_base,
    )


def pieces(time_base: str = MILLISECONDS) -> list[Notes]:
    """Among them an empty one, at the start, inside and at the end; some begin with silence."""
    lengths = [0, 3, 1, 0, 200, 0]
    return [random_piece(key, length, first=100 * key, time_base=time_base) for key, length in enumerate(lengths)]


@pytest.mark.parametrize("time_base", [MILLISECONDS, BEATS])
def test_a_batch_says_of_each_piece_what_notes_say(time_base):
    singles = pieces(time_base)
    batch = NoteBatch.from_notes(singles, time_base)
    assert len(batch) == 6
    assert [batch.piece(index) for index in range(6)] == singles
    assert batch.piece_ids() == [notes.piece_id for notes in singles]
    assert batch.lengths.tolist() == [0, 3, 1, 0, 200, 0]
    assert batch.first_onsets.tolist() == [int(notes.start[0]) if len(notes) else 0 for notes in singles]
    assert batch.step.tolist() == [step for notes in singles for step in notes.step.tolist()]
    assert batch.seconds().tolist() == [notes.from_first_onset().seconds for notes in singles]


def test_take_and_join_keep_pieces_whole():
    singles = pieces()
    batch = NoteBatch.from_notes(singles, MILLISECONDS)
    taken = batch.take([4, 0, 1])
    assert [taken.piece(index) for index in range(3)] == [singles[4], singles[0], singles[1]]
    joined = NoteBatch.join([taken, batch], MILLISECONDS)
    assert joined.piece_ids() == taken.piece_ids() + batch.piece_ids()
    assert joined.tempo.tolist() == taken.tempo.tolist() + batch.tempo.tolist()


@pytest.mark.parametrize(
    "batch",
    [
        NoteBatch.from_notes([], BEATS),
        NoteBatch.join([], BEATS),
        NoteBatch.from_notes([random_piece(1, 4, time_base=BEATS)], BEATS).take([]),
    ],
)
def test_no_pieces(batch):
    assert (len(batch), batch.piece_ids(), batch.seconds().tolist(), batch.offsets.tolist()) == (0, [], [], [0])
    assert {name: getattr(batch, name).dtype for name in ("start", "pitch")} == {"start": np.int32, "pitch": np.uint8}


def test_another_time_base_is_refused():
    with pytest.raises(ValueError, match="piece 1 has time_base 'beats', want 'milliseconds'"):
        NoteBatch.from_notes([random_piece(1, 2), random_piece(2, 2, time_base=BEATS)], MILLISECONDS)
