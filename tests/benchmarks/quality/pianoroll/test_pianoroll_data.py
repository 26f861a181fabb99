"""Rolls are read right, become notes without loss, and become a dataset that the trainer reads."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from benchmarks.quality.pianoroll import pianoroll_data
from benchmarks.quality.pianoroll.pianoroll_data import RollPiece, count_rests, to_piece, write_dataset
from job_runtime.problem_report import UserError
from midi_codec.dataset import dataset_info
from tests.benchmarks import rolls
from tests.benchmarks.rolls import make_roll, make_song
from trainer.config import TrainConfig
from trainer.data.split_cache import load_split
from trainer.training.run_checks import make_field_table

SONGS = {"train": [make_song(n, length=9 + n) for n in range(4)], "valid": [make_song(n, length=12) for n in (4, 5)]}


def back(piece: RollPiece) -> np.ndarray:
    """The roll that a piece was made of."""
    roll = np.zeros((piece.num_frames, pianoroll_data.KEYS), bool)
    roll[piece.leading + piece.notes.start, piece.notes.pitch - pianoroll_data.LOWEST_KEY] = True
    return roll


def test_a_file_is_read_sequence_by_sequence(tmp_path):
    parts = {**SONGS, "test": [make_roll([21], [108], [])]}
    found = pianoroll_data.load(rolls.write(tmp_path / "songs.npz", parts))
    assert found.keys() == parts.keys()
    for part, sequences in parts.items():
        assert [roll.tolist() for roll in found[part]] == [roll.tolist() for roll in sequences]


def test_a_file_without_a_test_part_is_whole(tmp_path):
    found = pianoroll_data.load(rolls.write(tmp_path / "songs.npz", SONGS))
    with pytest.raises(UserError, match="songs.npz has no part test, only train, valid"):
        pianoroll_data.part_of(found, "test", "songs.npz")


@pytest.mark.parametrize("content", [None, b"", b"not an archive"])
def test_a_file_that_is_none_says_where_to_get_one(tmp_path, content):
    path = tmp_path / "songs.npz"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError, match=r"--data: .*songs.npz.*Boulanger-Lewandowski.*docs/quality.md"):
        pianoroll_data.load(str(path))


def test_every_mistake_of_a_file_is_named(tmp_path):
    arrays = rolls.pack({part: SONGS["train"] for part in pianoroll_data.PARTS})
    arrays["train"] = arrays["train"].astype(np.int32)
    arrays["valid_lengths"][0] += 1
    del arrays["test_lengths"]
    np.savez(tmp_path / "songs.npz", **arrays)
    with pytest.raises(UserError) as error:
        pianoroll_data.load(str(tmp_path / "songs.npz"))
    wrong = ["train is int32", "valid_lengths add up to 43, but valid has 42 frames", "test_lengths is missing"]
    assert len(error.value.problems) == 3
    assert all(sentence in problem for sentence, problem in zip(wrong, error.value.problems, strict=True))


def test_lengths_of_nothing_are_refused(tmp_path):
    np.savez(tmp_path / "songs.npz", train=np.zeros((2, 11), np.uint8), train_lengths=np.array([2, 0]))
    with pytest.raises(UserError, match="train_lengths is int64 of shape .2,., want whole numbers above 0"):
        pianoroll_data.load(str(tmp_path / "songs.npz"))


def test_a_file_of_something_else_is_refused(tmp_path):
    np.savez(tmp_path / "songs.npz", weights=np.zeros(3))
    with pytest.raises(UserError, match="holds weights, want train, valid, test"):
        pianoroll_data.load(str(tmp_path / "songs.npz"))


def test_a_frame_is_its_notes_in_ascending_order():
    piece = to_piece(make_roll([64, 60, 67], [], [60], [60, 48]))
    assert piece.notes.pitch.tolist() == [60, 64, 67, 60, 48, 60]
    assert piece.notes.step.tolist() == [0, 0, 0, 2, 1, 0]
    assert piece.notes.duration.tolist() == [1] * 6
    assert set(piece.notes.velocity.tolist()) == {64} and set(piece.notes.program.tolist()) == {0}
    assert (piece.leading, piece.trailing, piece.num_frames) == (0, 0, 4)


@pytest.mark.parametrize(
    ("frames", "leading", "trailing"),
    [(([], [], [60]), 2, 0), (([60], []), 0, 1), (([], [60, 62], [], [61], [], []), 1, 2), (([], [], []), 3, 0)],
)
def test_empty_frames_around_the_notes_are_counted(frames, leading, trailing):
    roll = make_roll(*frames)
    piece = to_piece(roll)
    assert (piece.leading, piece.trailing) == (leading, trailing)
    assert not len(piece.notes) or piece.notes.start[0] == 0
    assert np.array_equal(back(piece), roll)


def test_rests_are_counted():
    pieces = [to_piece(make_roll(*frames)) for frames in ([[], [], [60]], [[60]], [[], [60], []])]
    assert count_rests(pieces) == {"leading": [3, 2, 3], "trailing": [3, 1, 1]}


def test_the_dataset_is_what_the_trainer_reads(tmp_path):
    root = str(tmp_path / "dataset")
    silent = make_roll([], [])  # has nothing to train on
    info = write_dataset(root, {**SONGS, "train": [*SONGS["train"], silent], "test": [make_song(9, length=30)]})
    assert dataset_info.load(root) == info
    assert {name: split.num_pieces for name, split in info.splits.items()} == {"train": 4, "validation": 2, "test": 0}
    assert info.settings["rests"] == {"leading": [5, 1, 2], "trailing": [5, 0, 0]}
    table = make_field_table(info, TrainConfig(), root)
    for split, part in (("train", "train"), ("validation", "valid")):
        pieces = load_split(root, info, split, table)
        wanted = [to_piece(roll).notes for roll in SONGS[part]]
        for index, notes in enumerate(wanted):
            assert np.array_equal(pieces.block(index, index + 1).raw[:-1], table.raw(notes))
    steps = info.histograms["train"]["step"]
    assert steps.values == (0, 1, 2)  # an empty frame makes a step of 2
    assert sum(steps.counts) == info.splits["train"].num_notes


def test_equal_rolls_give_equal_bytes_and_are_found_again(tmp_path):
    folders = [tmp_path / name for name in ("one", "two")]
    for folder in folders:
        write_dataset(str(folder), SONGS)
    digests = [
        {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()} for folder in folders
    ]
    assert digests[0] == digests[1]
    before = {path: path.stat().st_mtime_ns for path in folders[0].iterdir()}
    assert write_dataset(str(folders[0]), SONGS).hash == dataset_info.load(str(folders[0])).hash
    assert {path: path.stat().st_mtime_ns for path in folders[0].iterdir()} == before


def test_the_dataset_of_other_rolls_is_not_taken(tmp_path):
    write_dataset(str(tmp_path / "dataset"), SONGS)
    with pytest.raises(UserError, match="holds the dataset of other rolls"):
        write_dataset(str(tmp_path / "dataset"), {**SONGS, "valid": SONGS["valid"][:1]})


def test_a_file_without_both_parts_makes_no_dataset(tmp_path):
    with pytest.raises(UserError, match="has no part valid"):
        write_dataset(str(tmp_path / "dataset"), {"train": SONGS["train"]})
    assert not (tmp_path / "dataset").exists()


def test_a_tune_that_occurs_twice_stays_and_is_counted(tmp_path):
    twice = {"train": [SONGS["train"][0]] * 2, "valid": [SONGS["train"][0]]}
    info = write_dataset(str(tmp_path / "dataset"), twice)
    assert info.examples == 3
    assert info.groups == {"groups": 1, "pieces": 3, "largest": 3, "in_several_splits": 1}
