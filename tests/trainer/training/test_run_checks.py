"""What is checked before a device is touched, beside what the tests of commands and runs see."""

import dataclasses
import json

import pytest

from job_runtime.problem_report import UserError
from tests.trainer.tiny import make_table
from trainer import bundle
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
