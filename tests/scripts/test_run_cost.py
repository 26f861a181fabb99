"""The table of docs/platform.md, and what must be given for it."""

from __future__ import annotations

import pytest

from benchmarks.harness.machine import ROOT
from job_runtime import command
from job_runtime.problem_report import UserError
from scripts import run_cost
from tests.k8s.rendered import ENVIRONMENTS, fill

WORK = ["--notes=33739000", "--encode-seconds=59.4", "--pieces=50000", "--pieces-per-second=32.5"]


def test_the_table_of_the_page(tmp_path, capsys):
    name, values = ENVIRONMENTS["gke"]
    fill(name, tmp_path, **values)
    capsys.readouterr()
    assert run_cost.main([str(tmp_path / "my.env"), *WORK]) == command.OK
    table = capsys.readouterr().out
    assert table.splitlines() == [
        "job               pods   pod hours  core hours   GPU hours      cost",
        "encode               8        0.22        0.22        0.00      0.01",
        "encode-finish        1        0.03        0.03        0.00      0.00",
        "train                1        1.29        5.16        1.29      1.16",
        "generate             8        0.63        1.25        0.00      0.06",
        "generate-merge       1        0.09        0.09        0.00      0.00",
        "writes                                             100,000      0.50",
        "all                                                             1.74",
    ]
    page = (ROOT / "docs" / "platform.md").read_text()
    assert "".join(f"    {line}\n" for line in table.splitlines()) in page


def test_pods_cores_gpus_and_prices_change_it(tmp_path, capsys):
    values = {"GENERATE_PODS": "2", "GENERATE_CPU": "500m", "TRAIN_CPU": "3"}
    fill("local", tmp_path, **values)
    capsys.readouterr()
    argv = [str(tmp_path / "my.env"), *WORK, "--core-hour=1", "--start-seconds=0", "--pieces-per-shard=1000"]
    assert run_cost.main(argv) == command.OK
    rows = {line.split()[0]: line.split()[1:] for line in capsys.readouterr().out.splitlines()}
    assert rows["generate"] == ["2", "0.43", "0.21", "0.00", "0.21"]  # 50,000 / 32.5 s, half a core
    assert rows["train"] == ["1", "1.27", "3.80", "0.00", "3.80"]  # no GPU there
    assert rows["writes"] == ["100", "0.00"]


def test_what_is_missing_is_named_at_once(tmp_path):
    with pytest.raises(UserError, match="--encode-seconds, --pieces, --pieces-per-second missing"):
        run_cost.main([str(tmp_path / "my.env"), "--notes=5"])
