"""The bundle that the command makes of an older one, and what is refused."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from job_runtime.problem_report import UserError
from tests.trainer.tiny import make_many, make_table, write_dataset
from trainer import bundle as bundle_lib
from trainer import calibrate_end
from trainer.model.model_config import ModelConfig
from trainer.model.note_model import NoteModel


@pytest.fixture
def folders(tmp_path):
    info = write_dataset(str(tmp_path / "data"), {"train": make_many([9, 9]), "validation": make_many([30, 7, 20])})
    nll = {"step": 1.0, "pitch": 2.0, "duration": 3.0, "velocity": 4.0}
    metrics = {"validation_nll": 10.0, "validation_nll_by_field": nll, "nll_per_second": 5.0, "num_notes": 57}
    config = ModelConfig(units=16, layers=1, head_units=16)
    weights = bundle_lib.get_weights(NoteModel(config, make_table()))
    described = dataclasses.asdict(config)
    dataset = {"hash": info.hash, "time_base": info.time_base}
    model = bundle_lib.Bundle(described, make_table(), dataset, metrics, {}, weights)
    bundle_lib.save(str(tmp_path / "bundle"), model)
    return tmp_path, model


def run(root, output="calibrated") -> int:
    flags = {"bundle": root / "bundle", "data": root / "data", "output": root / output}
    return calibrate_end.main([word for name, path in flags.items() for word in (f"--{name}", str(path))])


def test_the_command(folders, capsys):
    root, model = folders
    assert run(root) == 0
    changed = bundle_lib.load(str(root / "calibrated"))
    same = {name: array for name, array in model.weights.items() if name != "head_bias"}
    for name, array in same.items():
        np.testing.assert_array_equal(changed.weights[name], array)
    moved = np.flatnonzero(changed.weights["head_bias"] != model.weights["head_bias"])
    assert moved.tolist() == [model.build_model().end_column]
    shift = changed.metrics["end_shift"]
    column = model.build_model().end_column
    assert changed.weights["head_bias"][column] - model.weights["head_bias"][column] == pytest.approx(shift, abs=1e-6)
    assert -2 < shift < -1  # an untrained model expects an end at every other event
    assert changed.dataset["notes_per_piece"]["50"] == 9
    assert changed.metrics["validation_nll"] == pytest.approx(sum(changed.metrics["validation_nll_by_field"].values()))
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["before", "after", "END's"]
    assert all("ends expected of 3 pieces" in line for line in lines[:2])

    nll = changed.metrics["validation_nll"]
    bundle_lib.save(str(root / "bundle"), changed)
    assert run(root, "again") == 0
    before, after, _ = capsys.readouterr().out.splitlines()
    assert f"{nll:.3f} nats per note" in before, "not what was said"
    assert bundle_lib.load(str(root / "again")).metrics["end_shift"] == pytest.approx(shift, abs=0.002)


def test_mistakes_come_all_at_once(folders):
    root, model = folders
    bundle_lib.save(
        str(root / "bundle"), dataclasses.replace(model, dataset={"hash": "d" * 32, "time_base": "milliseconds"})
    )
    with pytest.raises(UserError) as raised:
        run(root, "bundle")
    assert len(raised.value.problems) == 2
    assert "the bundle was trained on dddd" in raised.value.problems[0]
    assert "--output is the bundle's own folder" in raised.value.problems[1]
    with pytest.raises(UserError, match="does not exist|no bundle|there is no"):
        calibrate_end.main(["--bundle", str(root / "no"), "--data", str(root / "none"), "--output", str(root / "o")])
