import pytest

from job_runtime.problem_report import UserError
from midi_codec.dataset.split_reader import load_trainable, read_split
from tests.generation_jobs.report_fakes import make_dataset, make_notes


@pytest.mark.parametrize("label", [None, "reading"])
def test_the_pieces_of_a_split_in_order(tmp_path, label):
    notes = [make_notes(9, rng_seed=number) for number in range(3)]
    info = make_dataset(tmp_path, {"train": notes, "test": notes[:1]})
    pieces = list(read_split(str(tmp_path), info, "train", label=label))
    assert [piece.piece_id for piece in pieces] == [one.piece_id for one in notes]
    assert list(read_split(str(tmp_path), info, "validation", label=label)) == []


def test_a_damaged_shard_is_named(tmp_path):
    info = make_dataset(tmp_path, {"train": [make_notes(9)]})
    (shard,) = tmp_path.glob("train-*")
    shard.write_bytes(shard.read_bytes()[:-3])
    with pytest.raises(UserError, match=f"cannot be read: .*{shard.name}"):
        list(read_split(str(tmp_path), info, "train"))


def test_a_dataset_without_training_pieces_is_refused(tmp_path):
    make_dataset(tmp_path, {"test": [make_notes(9)]})
    with pytest.raises(UserError, match="has no piece in its train split, want at least one"):
        load_trainable(str(tmp_path))
    with pytest.raises(UserError, match="is not a complete dataset"):
        load_trainable(str(tmp_path / "nowhere"))
