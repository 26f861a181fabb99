"""END's shift: exact on log odds that are known, the bundle that it makes, and what is refused."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from job_runtime.problem_report import UserError
from tests.trainer.tiny import make_many, make_table, write_dataset
from trainer import bundle as bundle_lib
from trainer import calibrate_end
from trainer.calibrate_end import EndLogits, find_shift
from trainer.model.model_config import ModelConfig
from trainer.model.note_model import NoteModel


def test_the_shift_makes_as_many_ends_as_there_are_and_is_the_likeliest():
    rng = np.random.default_rng(0)
    found = EndLogits(rng.normal(-2, 2, 1000), np.arange(1000) % 100 == 99)
    shift = find_shift(found)
    assert found.expected(shift) == pytest.approx(10, abs=1e-9)
    assert found.nll(shift) < min(found.nll(shift - 0.01), found.nll(shift + 0.01))


def test_one_probability_for_all():
    found = EndLogits(np.zeros(8), np.arange(8) == 7)
    assert find_shift(found) == pytest.approx(np.log(1 / 7))
    assert found.nll() == pytest.approx(8 * np.log(2))


def test_where_every_event_is_an_end_the_shift_is_the_limit():
    assert find_shift(EndLogits(np.zeros(3), np.ones(3, bool))) == pytest.approx(calibrate_end.LIMIT)


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
    assert changed.metrics["validation_nll"] < 10
    gain = 10 - changed.metrics["validation_nll"]
    assert changed.metrics["validation_nll_by_field"]["pitch"] == pytest.approx(2 - gain)
    assert changed.metrics["nll_per_second"] == pytest.approx(5 * (1 - gain / 10))
    assert "after   3.0 ends expected of 3 pieces" in capsys.readouterr().out

    bundle_lib.save(str(root / "bundle"), changed)  # again there is nothing left to do
    assert run(root, "again") == 0
    again = bundle_lib.load(str(root / "again"))
    np.testing.assert_allclose(again.weights["head_bias"], changed.weights["head_bias"], atol=1e-5)
    assert again.metrics["end_shift"] == pytest.approx(changed.metrics["end_shift"], abs=1e-5)


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
