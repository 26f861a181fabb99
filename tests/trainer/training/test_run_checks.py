"""What is checked before a device is touched, beside what the tests of commands and runs see."""

import dataclasses
import json

import pytest

from job_runtime.problem_report import UserError
from midi_codec.dataset.labels import Vocabulary
from tests.trainer.tiny import LIVE, PIECES_BY_SPLIT, make_table, write_dataset
from trainer import bundle
from trainer.config import TrainConfig
from trainer.training import run_checks
from trainer.training.run_checks import check_bins


def test_a_run_with_other_bins_is_refused(tmp_path, monkeypatch):
    table = make_table()
    check_bins(str(tmp_path), table)  # no validation yet
    (tmp_path / "bundle").mkdir()
    (tmp_path / "bundle" / bundle.FILE_NAME).write_text("{}")
    described = {"fields": json.loads(json.dumps(table.to_json()))}
    monkeypatch.setattr(bundle, "load_description", lambda _: described)
    check_bins(str(tmp_path), table)
    step = dataclasses.replace(table["step"], edges=(0, 1, 5, 20, 30, 31, 2**31))
    other = dataclasses.replace(table, fields=(step, *table.fields[1:]))
    with pytest.raises(UserError, match="other bins for the times of this dataset; want another --output"):
        check_bins(str(tmp_path), other)


def test_labels_of_a_run(tmp_path):
    data = str(tmp_path / "data")
    info = write_dataset(data, PIECES_BY_SPLIT, has_labels=True)
    config = TrainConfig(condition_on=("live", "composer"))
    table = run_checks.make_field_table(info, config, data)
    assert table.labels == (LIVE, Vocabulary(name="composer", values=("Bach", "Haydn", "Mozart")))
    many = dataclasses.replace(info, labels={"title": {}, "year": {"validation": {"1722": 1}}})
    with pytest.raises(UserError) as error:
        run_checks.check_dataset(many, TrainConfig(condition_on=("title", "year", "mood")), "data")
    assert error.value.problems == [
        "condition_on names 'title', which has more values than a model can know in data",
        "condition_on names 'year', which has no value in the train split in data",
        "condition_on names 'mood', which is no label of data; it has title, year",
    ]
    with pytest.raises(UserError, match="^label_dropout is 0.3 but condition_on names no label; want one, or neither$"):
        run_checks.make_field_table(info, TrainConfig(label_dropout=0.3), data)
    assert not run_checks.make_field_table(info, TrainConfig(label_dropout=0.1), data).labels  # as best.yaml has it
    with pytest.raises(UserError, match="it has none: see --label-regex and --labels of encode_corpus"):
        run_checks.check_dataset(dataclasses.replace(info, labels={}), TrainConfig(condition_on=("mood",)), "data")
