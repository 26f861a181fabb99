"""The benchmark of seed lists finds every wrong line of its own, and says when it does not."""

from __future__ import annotations

import json

import pytest

from benchmarks.speed import seed_lists
from job_runtime import command


@pytest.mark.slow
def test_a_line_of_json_with_figures_of_each_form(capsys):
    assert seed_lists.main(["--num-seeds", "1200"]) == command.OK
    report = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert report["lists"].keys() == {"jsonl_settings", "csv_settings", "jsonl_notes", "csv_notes"}
    assert {figures["wrong_lines"] for figures in report["lists"].values()} == {12}


def test_a_wrong_line_that_is_not_found_is_said(monkeypatch):
    records = seed_lists.make_records(200, has_notes=False)
    del records[99]["temperature"]
    table = seed_lists.bundles.load([seed_lists.box_model.folder()])[0].fields
    with pytest.raises(RuntimeError, match="the reported lines are not those that were made wrong"):
        seed_lists.measure(seed_lists.serialize(records, "jsonl"), "jsonl", table)
