import dataclasses
import json

import pytest

from job_runtime.problem_report import UserError
from midi_codec.dataset import dataset_info
from midi_codec.dataset.dataset_info import COLUMNS, SPLITS, DatasetInfo, Histogram, SplitInfo


def make_info(**changes) -> DatasetInfo:
    empty = {column: Histogram() for column in COLUMNS}
    fields = {
        "time_base": "milliseconds",
        "programs": (0, 128),
        "splits": {
            "train": SplitInfo(num_pieces=3, num_notes=7, seconds=1.25, shard_lengths=(2, 1)),
            "validation": SplitInfo(num_pieces=0, shard_lengths=(0, 0)),
            "test": SplitInfo(),
        },
        "inputs": 6,
        "other_files": 1,
        "examples": 3,
        "rejects": {"no_header": 2},
        "duplicates": {"exact": 1, "near": 0},
        "salvaged": {"clamped": 1},
        "groups": {"groups": 1, "pieces": 2, "largest": 2, "in_several_splits": 0},
        "histograms": {
            "train": {
                "step": Histogram(values=(0, 250), counts=(3, 4)),
                "pitch": Histogram(values=(60, 64), counts=(4, 3)),
                "duration": Histogram(values=(500,), counts=(7,)),
                "velocity": Histogram(values=(80,), counts=(7,)),
                "program": Histogram(values=(0, 128), counts=(6, 1)),
            },
            "validation": empty,
            "test": empty,
        },
        "settings": {"num_shards": 2, "limits": {"max_notes": 10}},
    }
    return DatasetInfo(**{**fields, **changes})


def test_json_comes_back():
    info = make_info()
    assert DatasetInfo.from_json(info.to_json()) == info


def test_json_is_for_people_too():
    lines = make_info().to_json().splitlines()
    assert lines[:4] == ["{", '  "duplicates": {', '    "exact": 1,', '    "near": 0']
    assert '        "values": [60, 64]' in lines
    assert make_info().to_json().endswith("}\n")


def test_the_hash_follows_the_content_and_not_the_order_of_keys():
    info = make_info()
    assert len(info.hash) == 32
    shuffled = make_info(
        splits=dict(reversed(info.splits.items())), settings={"limits": {"max_notes": 10}, "num_shards": 2}
    )
    assert shuffled.hash == info.hash
    assert DatasetInfo.from_json(info.to_json()).hash == info.hash
    assert make_info(other_files=2).hash != info.hash


def of_train(changes: dict) -> dict:
    histograms = json.loads(make_info().to_json())["histograms"]
    return {"histograms": {**histograms, "train": {**histograms["train"], **changes}}}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format_version": 1}, "format_version is 1, want 2"),
        ({"extra": 1}, "extra is not known, want one of format_version, "),
        ({"time_base": "frames"}, "time_base is 'frames'"),
        ({"inputs": 7}, "inputs is 7, examples . rejects . duplicates is 6"),
        ({"examples": 4}, "the splits hold 3 pieces, examples is 4"),
        ({"splits": {}}, "splits has"),
        ({"splits": {name: {} for name in SPLITS}}, "SplitInfo has unknown keys"),
        ({"duplicates": {"exact": 1}}, r"duplicates has \['exact'\], want exact, near"),
        ({"splits": 5}, "splits is 5, want an object"),
        ({"inputs": "6", "programs": [0, "x"]}, "inputs is '6', want a whole number; programs.1. is 'x', want"),
        ({"other_files": -1}, "has a count below 0"),
        ({"programs": [0, 129]}, "programs is .0, 129., want those of the notes, ascending"),
        (of_train({"pitch": {"values": [1], "counts": []}}), "1 values and 0 counts"),
        (of_train({"pitch": {"values": [60, 60], "counts": [3, 4]}}), "values that do not ascend"),
        (of_train({"pitch": {"values": [60], "counts": [6]}}), "pitch counts 6 notes, splits.train.num_notes is 7"),
        (of_train({"pitch": {"values": [128], "counts": [7]}}), "histograms.train.pitch has values beyond 0 to 127"),
        ({"histograms": dict.fromkeys(SPLITS, {})}, "histograms.train lacks step, want every column"),
    ],
)
def test_what_is_wrong_is_named(changes, message):
    fields = json.loads(make_info().to_json())
    with pytest.raises(ValueError, match=message):
        DatasetInfo.from_json(json.dumps({**fields, **changes}))


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", "null"])
def test_what_is_no_dataset_info_at_all(text):
    with pytest.raises(ValueError):
        DatasetInfo.from_json(text)


def test_a_missing_key_is_named():
    fields = json.loads(make_info().to_json())
    del fields["duplicates"]
    with pytest.raises(ValueError, match="duplicates is missing, want an object"):
        DatasetInfo.from_json(json.dumps(fields))


def test_shard_lengths_add_up():
    with pytest.raises(ValueError, match="shard lengths add up to 3, num_pieces is 4"):
        SplitInfo(num_pieces=4, shard_lengths=(1, 2))


def test_shard_names_and_paths():
    assert dataset_info.shard_name("train", 3, 16) == "train-00003-of-00016.tfrecord"
    info = make_info()
    assert dataset_info.shard_paths("gs://b/d/", info, "train") == [
        "gs://b/d/train-00000-of-00002.tfrecord",
        "gs://b/d/train-00001-of-00002.tfrecord",
    ]
    assert len(dataset_info.shard_paths("d", info, "validation")) == 2
    assert dataset_info.shard_paths("d", info, "test") == []


def test_save_and_load(tmp_path):
    info = make_info()
    dataset_info.save(str(tmp_path), info)
    assert dataset_info.load(str(tmp_path)) == info


def test_commands_that_do_not_know_the_box_say_where_its_corpus_is(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="no dataset_info.json; this command takes the corpus in the box by its path"):
        dataset_info.load("box")
    (tmp_path / "box").mkdir()
    dataset_info.save("box", make_info())
    assert dataset_info.load("box") == make_info()


def test_load_names_what_is_missing_or_damaged(tmp_path):
    with pytest.raises(UserError, match="is not a complete dataset: no dataset_info.json"):
        dataset_info.load(str(tmp_path))
    path = tmp_path / "dataset_info.json"
    path.write_text(json.dumps({**dataclasses.asdict(make_info()), "format_version": 9}))
    with pytest.raises(UserError, match="dataset_info.json: format_version is 9, want 2"):
        dataset_info.load(str(tmp_path))
    path.write_bytes(b"\xff")
    with pytest.raises(UserError, match="cannot be read"):
        dataset_info.load(str(tmp_path))
