import json

import pytest

from beam_pipelines.output import output_folder
from beam_pipelines.settings.encode_settings import Settings, default_num_shards
from beam_pipelines.settings.splits import SplitRule
from job_runtime.problem_report import UserError
from midi_codec.dataset import dataset_info
from midi_codec.dataset.dataset_info import (
    COLUMNS,
    SPLITS,
    DatasetInfo,
    Histogram,
    SplitInfo,
)
from midi_codec.midi.midi_header import Limits
from tests.beam_pipelines.corpora import make_settings


def save_dataset(folder, settings: Settings) -> DatasetInfo:
    info = DatasetInfo.of_examples(
        time_base=settings.time_base,
        programs=(),
        splits={split: SplitInfo() for split in SPLITS},
        histograms={split: {column: Histogram() for column in COLUMNS} for split in SPLITS},
        settings=settings.as_dict(),
    )
    dataset_info.save(str(folder), info)
    return info


def test_a_new_folder_or_an_empty_one_is_free(tmp_path):
    assert output_folder.find_dataset(str(tmp_path / "new"), make_settings()) is None
    assert output_folder.find_dataset(str(tmp_path), make_settings()) is None
    (tmp_path / ".DS_Store").touch()
    assert output_folder.find_dataset(str(tmp_path), make_settings()) is None


def test_the_same_dataset_is_already_complete(tmp_path):
    info = save_dataset(tmp_path, make_settings())
    assert output_folder.find_dataset(str(tmp_path), make_settings()) == info


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"inputs_hash": "1" * 32}, f"inputs_hash is '{'0' * 32}' there and '{'1' * 32}' here"),
        ({"time_base": "beats"}, "time_base is 'milliseconds' there and 'beats' here"),
        ({"num_shards": 3}, "num_shards is 1 there and 3 here"),
        ({"limits": Limits(max_notes=5)}, "'max_notes': 5"),
        ({"split_rule": SplitRule(regex="(train)")}, "split_regex is None there and '(train)' here"),
    ],
)
def test_another_dataset_is_never_touched(tmp_path, changes, message):
    save_dataset(tmp_path, make_settings())
    with pytest.raises(UserError) as error:
        output_folder.find_dataset(str(tmp_path), make_settings(**changes))
    (problem,) = error.value.problems
    assert problem.startswith(f"--output {tmp_path} holds another dataset, want another folder: ")
    assert message in problem


@pytest.mark.parametrize("name", ["holiday.jpg", "train-00000-of-00001.tfrecord", "sub/a.mid"])
def test_a_folder_of_other_things_is_refused(tmp_path, name):
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).touch()
    with pytest.raises(UserError, match=f"is neither empty nor a dataset: it holds {tmp_path / name}"):
        output_folder.find_dataset(str(tmp_path), make_settings())


def test_a_task_may_mark_the_folder_while_another_one_looks(tmp_path, monkeypatch):
    def mark_then_list(output):
        output_folder.write_run_info(output, {"started": "now"})
        return paths_in(output)

    paths_in = output_folder._paths_in
    monkeypatch.setattr(output_folder, "_paths_in", mark_then_list)
    assert output_folder.find_dataset(str(tmp_path), make_settings()) is None


def test_somebody_elses_run_info_is_no_mark_of_ours(tmp_path):
    for text in ('{"writer": "another"}', "[]", "{"):
        (tmp_path / "run_info.json").write_text(text)
        with pytest.raises(UserError, match="neither empty nor a dataset"):
            output_folder.find_dataset(str(tmp_path), make_settings())


def test_a_file_is_no_folder(tmp_path):
    (tmp_path / "out").touch()
    with pytest.raises(UserError, match="out is a file, want a folder"):
        output_folder.find_dataset(str(tmp_path / "out"), make_settings())


def test_prepare_deletes_what_a_killed_run_left_and_nothing_else(tmp_path):
    output_folder.write_run_info(str(tmp_path), {"started": "before"})
    left = ["train-00001-of-00007.tfrecord", "rejects-00000-of-00001.jsonl", ".0123.partial"]
    to_be_written = "train-00001-of-00008.tfrecord"
    strangers = [
        to_be_written,
        "notes.txt",
        "train-1-of-7.tfrecord",
        "deep/train-00001-of-00007.tfrecord",
        "dataset.json",
    ]
    for name in left + strangers:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert output_folder.find_dataset(str(tmp_path), make_settings()) is None
    output_folder.prepare(str(tmp_path), {"started": "now"}, will_write={to_be_written})
    there = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file())
    assert there == sorted([*strangers, "run_info.json"])
    assert json.loads((tmp_path / "run_info.json").read_text()) == {
        "writer": "beam_pipelines.encode_corpus",
        "started": "now",
    }


def test_default_num_shards():
    assert [default_num_shards(n) for n in (0, 1, 1000, 1001, 178_561)] == [1, 1, 1, 2, 179]
