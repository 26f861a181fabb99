import dataclasses

import numpy as np
import pytest

from demo import box_model, run
from job_runtime import command
from job_runtime.command import StopSignal
from job_runtime.problem_report import UserError
from job_runtime.storage import array_file
from tests.generation_jobs.fakes import make_bundle
from trainer import box_model as package
from trainer import bundle, config, yaml_file


def test_packing_keeps_the_model_and_halves_its_weights(tmp_path):
    weights = {"a/b": np.array([[1.0, -0.5], [2.0**-14, 3.0]], np.float32)}  # what float16 holds exactly
    source = dataclasses.replace(make_bundle(), weights=weights)
    bundle.save(str(tmp_path / "bundle"), source)
    box_model.pack(str(tmp_path / "bundle"), str(tmp_path / "packed"))
    packed = bundle.load(str(tmp_path / "packed"))
    assert (packed.config, packed.dataset, packed.metrics) == (source.config, source.dataset, source.metrics)
    assert packed.hash == source.hash
    assert np.array_equal(packed.weights["a/b"], weights["a/b"])
    (stored,) = array_file.read(str(tmp_path / "packed" / f"weights-{packed.hash}.npz")).values()
    assert stored.dtype == np.float16


@pytest.mark.parametrize(
    "values, max_bytes, want",
    [
        ([1.0, 2.0], 3, ["the weights take 4 bytes as float16, want at most 3"]),
        ([1e6], 9, ["a has values that float16 does not hold"]),
    ],
)
def test_what_does_not_fit(values, max_bytes, want):
    given = dataclasses.replace(make_bundle(), weights={"a": np.array(values, np.float32)})
    with np.errstate(over="ignore"), pytest.raises(UserError) as error:
        bundle.as_float16(given, max_bytes=max_bytes)
    assert error.value.problems == want


def test_the_settings_are_those_of_a_training():
    for name, value in yaml_file.load(box_model.SETTINGS).items():
        config.read_value(name, value)  # raises ValueError if it is wrong


def test_a_folder_that_has_its_pieces_gets_no_others(tmp_path, monkeypatch, capsys):
    """The first steps of `make run` do not depend on the steps after, nor those on the model in the box."""
    lines = []
    monkeypatch.setattr("demo.steps.run_command", lambda line, stop: lines.append(line[2:]) or command.OK)
    plan = run.make_plan(run._parse_args(["--output", str(tmp_path)]))
    run._first_pieces(plan, StopSignal())
    music, page = f"{tmp_path}/first/music", f"{tmp_path}/first/report.html"
    assert lines == [
        ["generation_jobs.generate", "--output", music, "--samples-per-seed", "10"],
        ["generation_jobs.report", "--music", music, "--output", page],
    ]
    (tmp_path / "first" / "music").mkdir()
    (tmp_path / "first" / "report.html").write_text("")
    run._first_pieces(plan, StopSignal())
    assert len(lines) == 2
    monkeypatch.setattr(package, "folder", lambda: str(tmp_path / "other"))
    bundle.save(str(tmp_path / "other"), make_bundle())
    run._first_pieces(plan, StopSignal())
    assert len(lines) == 4
    assert not (tmp_path / "steps.json").exists()
    assert f"10 pieces to hear, by the model that comes with this repository: {page}" in capsys.readouterr().out
