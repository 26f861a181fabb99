import dataclasses

import numpy as np
import pytest

from midi_codec.fields import build_field_table
from midi_codec.music.notes import Notes
from tests.trainer.tiny import make_many, make_table
from trainer.data import pieces
from trainer.data.pieces import stack_pieces

TABLE = make_table()


def test_pieces_one_after_the_other_written_out():
    notes = make_many([2, 1])
    stacked = stack_pieces(notes, TABLE)
    block = stacked.block()
    want = [*TABLE.raw(notes[0]).tolist(), [0] * 4, *TABLE.raw(notes[1]).tolist(), [0] * 4]
    assert block.raw.tolist() == want and block.raw.dtype == np.int32
    assert block.first_event.tolist() == [0, 3, 5] and block.is_end.tolist() == [False, False, True, False, True]
    assert stacked.first_event.tolist() == [0, 3]
    assert (stacked.num_pieces, stacked.num_notes, stacked.num_events.tolist()) == (2, 3, [3, 2])
    assert stacked.piece_id.tolist() == [piece.piece_id.encode() for piece in notes]
    assert len(set(stacked.group.tolist())) == 2
    assert stacked.index["milliseconds_per_tick"].tolist() == [1, 1]


def test_onsets_count_from_the_start_of_each_piece():
    notes = make_many([4, 1, 3])
    want = [tick for piece in notes for tick in [*piece.start.tolist(), piece.start[-1]]]
    assert stack_pieces(notes, TABLE).events["onset"].tolist() == want


def test_notes_that_repeat_onset_pitch_and_program_are_counted():
    def piece(*rows):
        start, pitch, program = np.array(rows).T
        same = np.full(len(rows), 40)
        return Notes.from_columns(pitch=pitch, velocity=same, start=start, duration=same, program=program)

    first = piece((0, 0, 0), (0, 0, 0), (0, 0, 7), (5, 0, 7), (5, 2, 7), (5, 2, 7), (5, 2, 7))
    table = build_field_table({"step": ([0, 5], [1, 1]), "duration": ([40], [1])}, programs=(0, 7), time_base="beats")
    # the second begins with what an END looks like, and with what the first one ends with
    assert stack_pieces([first, piece((0, 0, 0), (3, 0, 0)), piece((0, 2, 7))], table).count_duplicates() == 3
    alone = build_field_table({"step": ([0, 5], [1, 1]), "duration": ([40], [1])}, programs=(0,), time_base="beats")
    assert stack_pieces([first], alone).count_duplicates() == 4
    assert stack_pieces([], table).count_duplicates() == 0


def test_the_share_of_notes_that_begin_while_their_key_sounds():
    """Durations are 40: of the six notes after another of their key, one begins later, one together, one at its end."""
    table = build_field_table({"step": ([0, 50], [1, 1]), "duration": ([40], [1])}, programs=(0, 7), time_base="beats")

    def piece(*notes: tuple[int, int, int]) -> Notes:
        start, pitch, program = np.array(notes).T
        return Notes.from_columns(
            start=start, pitch=pitch, program=program, velocity=np.full(len(notes), 9), duration=np.full(len(notes), 40)
        )

    first = piece((0, 60, 0), (0, 60, 7), (0, 61, 0), (39, 60, 0), (40, 60, 7), (40, 60, 7), (79, 61, 0))
    assert stack_pieces([first, piece((0, 60, 0))], table).restrike_share() == 1 / 8
    assert stack_pieces([piece((0, 60, 0), (0, 60, 0)), first], table).restrike_share(enough=1) == 1 / 9
    assert stack_pieces([], table).restrike_share() == 0


def test_no_pieces():
    empty = stack_pieces([], TABLE)
    assert (empty.num_pieces, empty.num_notes, empty.block().raw.shape) == (0, 0, (0, 4))
    assert list(empty.blocks()) == [] and empty.count_duplicates() == 0


def test_names_that_are_given():
    stacked = stack_pieces(make_many([2, 1, 4]), TABLE, piece_ids=["a" * 32, "b", "c"])
    assert stacked.piece_id.tolist() == [b"a" * 32, b"b", b"c"]
    assert stacked.group.tolist() == [0, 1, 2]


@pytest.mark.parametrize("size", [1, 9, 12, 30])
def test_blocks_are_the_pieces_in_order(size, monkeypatch):
    monkeypatch.setattr(pieces, "BLOCK_EVENTS", size)
    monkeypatch.setattr(pieces, "BLOCK_PIECES", 3)
    stacked = stack_pieces(make_many([4, 1, 3, 12, 2, 0, 5]), TABLE)
    blocks = list(stacked.blocks())
    assert np.concatenate([block.raw for block in blocks]).tolist() == stacked.block().raw.tolist()
    assert np.concatenate([block.is_end for block in blocks]).tolist() == stacked.block().is_end.tolist()
    assert all(len(block.raw) <= size or len(block.first_event) == 2 for block in blocks)


def test_scratch_is_a_file_that_leaves_nothing(tmp_path):
    stacked = stack_pieces([], TABLE)
    mapped = dataclasses.replace(stacked, folder=str(tmp_path))
    for array in (stacked.scratch(5, np.int32), mapped.scratch(5, np.int32)):
        assert array.tolist() == [0] * 5 and array.dtype == np.int32
        array[2] = 7
        assert array.tolist() == [0, 0, 7, 0, 0]
    assert list(tmp_path.iterdir()) == []
