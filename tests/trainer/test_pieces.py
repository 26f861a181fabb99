import dataclasses
import threading

import numpy as np
import pytest

from midi_codec import dataset_info, records, storage
from midi_codec.dataset_info import DatasetInfo
from midi_codec.fields import build_field_table
from midi_codec.notes import Notes
from tests.trainer.tiny import make_many, make_notes, make_table, write_dataset
from trainer import pieces
from trainer.pieces import load_split, stack_pieces

TABLE = make_table()
LENGTHS = [5, 9, 3, 12, 7, 1, 4]
SHARDS = [2, 1, 3, 1]


def write_shards(root: str) -> DatasetInfo:
    """A dataset whose training split lies in four shards; the first and the last piece are one group."""
    notes = make_many(LENGTHS)
    info = write_dataset(root, {"train": notes, "validation": make_many([6])})
    train = dataclasses.replace(info.splits["train"], shard_lengths=tuple(SHARDS))
    info = dataclasses.replace(info, splits={**info.splits, "train": train})
    groups = [notes[0].piece_id, *(piece.piece_id for piece in notes[1:-1]), notes[0].piece_id]
    examples = [
        records.serialize_example(records.Piece(piece.piece_id, group, "x.mid", piece))
        for piece, group in zip(notes, groups, strict=True)
    ]
    for path, begin, length in zip(
        dataset_info.shard_paths(root, info, "train"), np.cumsum([0, *SHARDS]), SHARDS, strict=False
    ):
        storage.write_bytes(path, records.write_records(examples[begin : begin + length]))
    return info


def test_pieces_one_after_the_other_written_out():
    notes = make_many([2, 1])
    stacked = stack_pieces(notes, TABLE)
    want = [*TABLE.raw(notes[0]).tolist(), [0] * 4, *TABLE.raw(notes[1]).tolist(), [0] * 4]
    assert stacked.raw.tolist() == want and stacked.raw.dtype == np.int32
    assert stacked.first_event.tolist() == [0, 3, 5]
    assert (stacked.num_pieces, stacked.num_notes, stacked.num_events.tolist()) == (2, 3, [3, 2])
    assert stacked.piece_id.tolist() == [piece.piece_id.encode() for piece in notes]
    assert stacked.group.tolist() == [0, 1]
    assert stacked.milliseconds_per_tick.tolist() == [1, 1]


def test_onsets_count_from_the_start_of_each_piece():
    notes = make_many([4, 1, 3])
    want = [tick for piece in notes for tick in [*piece.start.tolist(), piece.start[-1]]]
    onset = stack_pieces(notes, TABLE).onset
    assert onset.tolist() == want and onset.dtype == np.int32
    assert stack_pieces([], TABLE).onset.tolist() == []


def test_notes_that_repeat_onset_pitch_and_program_are_counted():
    def piece(*rows):
        start, pitch, program = np.array(rows).T
        same = np.full(len(rows), 40)
        return Notes.from_columns(pitch=pitch, velocity=same, start=start, duration=same, program=program)

    first = piece((0, 0, 0), (0, 0, 0), (0, 0, 7), (5, 0, 7), (5, 2, 7), (5, 2, 7), (5, 2, 7))
    table = build_field_table({"step": ([0, 5], [1, 1]), "duration": ([40], [1])}, programs=(0, 7), time_base="beats")
    # the second begins with what an END looks like, and with what the first one ends with
    assert stack_pieces([first, piece((0, 0, 0), (3, 0, 0)), piece((0, 2, 7))], table).count_duplicates(table) == 3
    alone = build_field_table({"step": ([0, 5], [1, 1]), "duration": ([40], [1])}, programs=(0,), time_base="beats")
    assert stack_pieces([first], alone).count_duplicates(alone) == 4
    assert stack_pieces([], table).count_duplicates(table) == 0


def test_no_pieces():
    empty = stack_pieces([], TABLE)
    assert (empty.num_pieces, empty.num_notes, empty.raw.shape, empty.piece_id.dtype.str) == (0, 0, (0, 4), "|S32")


def test_names_that_are_given():
    stacked = stack_pieces(make_many([2, 1, 4]), TABLE, piece_ids=["a" * 32, "b", "c"], group_ids=["y", "x", "y"])
    assert stacked.piece_id.tolist() == [b"a" * 32, b"b", b"c"]
    assert stacked.group.tolist() == [1, 0, 1]


@pytest.mark.parametrize("readers", [1, 4])
def test_a_split_is_its_shards_in_order(tmp_path, readers, monkeypatch):
    monkeypatch.setattr(pieces, "READERS", readers)
    info = write_shards(str(tmp_path))
    loaded, want = load_split(str(tmp_path), info, "train", TABLE), stack_pieces(make_many(LENGTHS), TABLE)
    for field in dataclasses.fields(want):
        if field.name != "group":
            got, array = getattr(loaded, field.name), getattr(want, field.name)
            assert got.dtype == array.dtype and (got == array).all(), field.name
    assert loaded.group[0] == loaded.group[-1] and len(set(loaded.group.tolist())) == len(LENGTHS) - 1


def test_an_empty_split(tmp_path):
    info = write_shards(str(tmp_path))
    loaded = load_split(str(tmp_path), info, "test", TABLE)
    assert (loaded.num_pieces, loaded.num_notes, loaded.first_event.tolist()) == (0, 0, [0])


def test_a_damaged_shard_is_named(tmp_path):
    info = write_shards(str(tmp_path))
    path = dataset_info.shard_paths(str(tmp_path), info, "train")[2]
    data = bytearray(storage.read_bytes(path))
    data[40] ^= 1
    storage.write_bytes(path, bytes(data))
    before = threading.active_count()
    with pytest.raises(ValueError, match=f"{path}: record 0: "):
        load_split(str(tmp_path), info, "train", TABLE)
    assert threading.active_count() == before


def test_a_shard_with_a_piece_less_is_named(tmp_path):
    info = write_shards(str(tmp_path))
    path = dataset_info.shard_paths(str(tmp_path), info, "train")[2]
    storage.write_bytes(path, records.write_records(list(records.read_records(storage.read_bytes(path)))[:2]))
    with pytest.raises(ValueError, match=f"{path}: holds 2 pieces and 19 notes, want 3 pieces"):
        load_split(str(tmp_path), info, "train", TABLE)


def test_a_shard_of_another_dataset(tmp_path):
    info = write_shards(str(tmp_path))
    path = dataset_info.shard_paths(str(tmp_path), info, "train")[1]
    for length, want in ((2, "hold 47 notes and ENDs, want 48"), (50, "holds 1 pieces and 50 notes, want 1 pieces")):
        piece = make_notes(3, num_notes=length)
        example = records.serialize_example(records.Piece(piece.piece_id, piece.piece_id, "x.mid", piece))
        storage.write_bytes(path, records.write_records([example]))
        with pytest.raises(ValueError, match=want):
            load_split(str(tmp_path), info, "train", TABLE)


def test_a_split_that_is_not_there(tmp_path):
    info = write_shards(str(tmp_path))
    with pytest.raises(FileNotFoundError):
        load_split(str(tmp_path / "other"), info, "train", TABLE)
