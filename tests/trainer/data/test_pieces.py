import dataclasses
import errno
import threading

import numpy as np
import pytest
import tensorflow as tf

from job_runtime import storage
from job_runtime.problem_report import UserError
from midi_codec.dataset import dataset_info, records
from midi_codec.dataset.dataset_info import DatasetInfo
from midi_codec.fields import build_field_table
from midi_codec.music.notes import Notes
from tests.trainer.tiny import make_many, make_notes, make_table, write_dataset
from trainer.data import pieces
from trainer.data.pieces import load_split, load_splits, stack_pieces

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
    stacked = stack_pieces(make_many([2, 1, 4]), TABLE, piece_ids=["a" * 32, "b", "c"])
    assert stacked.piece_id.tolist() == [b"a" * 32, b"b", b"c"]
    assert stacked.group.tolist() == [0, 1, 2]


@pytest.mark.parametrize("readers", [1, 4])
def test_a_split_is_its_shards_in_order(tmp_path, readers, monkeypatch):
    monkeypatch.setattr(pieces, "READERS", readers)
    info = write_shards(str(tmp_path))
    loaded, want = load_split(str(tmp_path), info, "train", TABLE), stack_pieces(make_many(LENGTHS), TABLE)
    for field in dataclasses.fields(want):
        if field.name not in ("group", "source"):
            got, array = getattr(loaded, field.name), getattr(want, field.name)
            assert got.dtype == array.dtype and (got == array).all(), field.name
    assert loaded.source == ["x.mid"] * len(LENGTHS) and list(want.source) == [""] * len(LENGTHS)
    assert loaded.group[0] == loaded.group[-1] and len(set(loaded.group.tolist())) == len(LENGTHS) - 1


def test_an_empty_split(tmp_path):
    info = write_shards(str(tmp_path))
    loaded = load_split(str(tmp_path), info, "test", TABLE)
    assert (loaded.num_pieces, loaded.num_notes, loaded.first_event.tolist()) == (0, 0, [0])


def problems_of(root: str, info: DatasetInfo) -> list[str]:
    with pytest.raises(UserError) as error:
        load_split(root, info, "train", TABLE)
    return error.value.problems


def framed(*examples: bytes) -> bytes:
    return records.write_records(examples)


def example(*, num_notes: int = 9, **changes) -> bytes:
    notes = make_notes(1, num_notes=num_notes)
    return records.serialize_example(records.Piece("a", "a", "x.mid", dataclasses.replace(notes, **changes)))


def example_without_a_pitch() -> bytes:
    message = tf.train.Example.FromString(example())
    del message.features.feature["pitch"].int64_list.value[-1]
    return message.SerializeToString(deterministic=True)


WHOLE = framed(example())
DAMAGES = {
    "a bit": (WHOLE[:40] + bytes([WHOLE[40] ^ 1]) + WHOLE[41:], "record 0: the record at byte 0 is damaged"),
    "cut": (WHOLE[:-1], f"record 0: the record at byte 0 is cut off: the file ends at byte {len(WHOLE) - 1}"),
    "another format": (b"MThd" * 8, "record 0: the record at byte 0 is damaged: its length has a wrong checksum"),
    "empty": (b"", "holds 0 pieces, want 1;"),
    "a piece more": (2 * WHOLE, "holds 2 pieces, want 1;"),
    "no example": (framed(b"{}"), "record 0: the example is damaged at byte 0 of 2"),
    "columns of unlike length": (
        framed(example_without_a_pitch()),
        "record 0: the note features differ in length: {'step': 9, 'pitch': 8,",
    ),
    "no tempo": (framed(example(tempo=float("nan"))), "record 0: tempo is nan, want quarter notes per minute above 0"),
    "values beyond the corpus": (
        framed(example(pitch=np.full(9, 61, np.uint8))),
        "pitch 61 does not occur in the model's corpus;",
    ),
    "another program": (
        framed(example(program=np.full(9, 40, np.uint8))),
        "program 40 given, but the model knows only 0;",
    ),
}


@pytest.mark.parametrize("data, want", DAMAGES.values(), ids=DAMAGES)
def test_a_shard_that_cannot_be_is_the_users_mistake_and_named(tmp_path, data, want):
    info = write_shards(str(tmp_path))
    path = dataset_info.shard_paths(str(tmp_path), info, "train")[1]
    storage.write_bytes(path, data)
    before = threading.active_count()
    (problem,) = problems_of(str(tmp_path), info)
    assert problem.startswith(f"{path}: {want}")
    assert not want.endswith(";") or problem.endswith(f"; {tmp_path}/dataset_info.json says otherwise")
    assert threading.active_count() == before


def test_every_shard_that_cannot_be_read_is_named_at_once(tmp_path):
    info = write_shards(str(tmp_path))
    paths = dataset_info.shard_paths(str(tmp_path), info, "train")
    storage.delete(paths[0])
    storage.write_bytes(paths[1], b"")
    storage.delete(paths[3])
    (tmp_path / paths[3]).mkdir()
    assert problems_of(str(tmp_path), info) == [
        f"{paths[0]}: cannot be read: No such file or directory",
        f"{paths[1]}: holds 0 pieces, want 1; {tmp_path}/dataset_info.json says otherwise",
        f"{paths[3]}: cannot be read: it is a folder, want a regular file",
    ]


def test_both_splits_are_looked_through(tmp_path):
    info = write_shards(str(tmp_path))
    paths = [dataset_info.shard_paths(str(tmp_path), info, split)[0] for split in ("train", "validation")]
    for path in paths:
        storage.delete(path)
    with pytest.raises(UserError) as error:
        load_splits(str(tmp_path), info, ("train", "validation"), TABLE)
    assert error.value.problems == [f"{path}: cannot be read: No such file or directory" for path in paths]


@pytest.mark.parametrize("num_notes", [2, 50])
def test_a_shard_of_another_dataset(tmp_path, num_notes):
    info = write_shards(str(tmp_path))
    storage.write_bytes(dataset_info.shard_paths(str(tmp_path), info, "train")[1], framed(example(num_notes=num_notes)))
    assert problems_of(str(tmp_path), info) == [
        f"{tmp_path}: the shards of train hold {sum(LENGTHS) - 3 + num_notes} notes, want {sum(LENGTHS)}"
        " as dataset_info.json says"
    ]


def test_a_disk_that_fails_is_no_mistake(tmp_path, monkeypatch):
    """It may pass: the command ends with status 1, which a supervisor starts again."""
    info = write_shards(str(tmp_path))
    path = dataset_info.shard_paths(str(tmp_path), info, "train")[2]
    real = storage.read_bytes

    def read_bytes(name):
        if name == path:
            raise OSError(errno.EIO, "Input/output error", path)
        return real(name)

    monkeypatch.setattr(storage, "read_bytes", read_bytes)
    with pytest.raises(OSError, match="Input/output error") as error:
        load_split(str(tmp_path), info, "train", TABLE)
    assert error.value.filename == path
