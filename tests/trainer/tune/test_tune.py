"""The command: mistakes, creating alone, the report of a study."""

import json

import pytest
import yaml

from job_runtime.command import OK
from job_runtime.problem_report import UserError
from midi_codec.music.notes import BEATS
from tests.trainer.tiny import PIECES_BY_SPLIT, write_dataset
from tests.trainer.tune.test_worker import FakeTraining, fail_at
from trainer.run_output.run_state import Diverged
from trainer.training import whole_run
from trainer.tune import __main__ as tune
from trainer.tune import study_report

pytestmark = pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
SPACE = "dropout: {low: 0.0, high: 0.5}\nlayers: [1, 2, 4]\ntiming_loss: [categorical, mixture]\nepochs: 4\n"


@pytest.fixture
def with_plots() -> bool:
    """Whether reports have their plots, which take a second to draw."""
    return False


@pytest.fixture
def run(data, tmp_path, monkeypatch, with_plots):
    """Runs the command with a stand-in for training."""
    if not with_plots:
        monkeypatch.setattr(study_report, "_plots", lambda *_: [])
        monkeypatch.setattr(study_report, "_importances", lambda _: {})
    monkeypatch.delenv("TUNE_STORAGE", raising=False)
    fake = FakeTraining()
    monkeypatch.setattr(whole_run, "train", fake)

    def run_with(*more: str, space: str = SPACE, output: str = "") -> int:
        (tmp_path / "space.yaml").write_text(space)
        argv = ["--data", data, "--space", str(tmp_path / "space.yaml"), "--output", output or str(tmp_path / "out")]
        return tune.main([*argv, "--heartbeat-seconds", "1", *more])

    run_with.training = fake
    return run_with


@pytest.mark.parametrize("with_plots", [True])
def test_a_study_leaves_report_data_and_the_best_settings(run, tmp_path, capsys):
    assert run("--num-trials", "4", "--best-config", str(tmp_path / "mine.yaml")) == OK
    out = tmp_path / "out"
    assert run.training.cache_dirs == {str(out / "cache")}, "trials share it"
    report = json.loads((out / "trials.json").read_text())
    assert report["counts"]["complete"] + report["counts"]["pruned"] == len(report["trials"]) == 4
    complete = [trial for trial in report["trials"] if trial["state"] == "complete"]
    best = min(complete, key=lambda trial: trial["value"])
    assert report["best"] == best["trial"]
    settings = yaml.safe_load((out / "best.yaml").read_text())
    assert settings.items() >= {**best["params"], "epochs": 4.0}.items()
    assert "samples" not in settings  # trials go without; the run that follows does not
    assert (tmp_path / "mine.yaml").read_bytes() == (out / "best.yaml").read_bytes()
    page = (out / "report.html").read_text()
    assert page.count("data:image/png;base64,") == 5
    assert "http" not in page.replace('http-equiv="Content-Security-Policy"', "")
    assert str(tmp_path) not in page
    assert f"best: trial {best['trial']}, {best['value']:.4f} nats per note" in capsys.readouterr().out


def test_the_same_command_does_nothing_more(run):
    run("--num-trials", "2")
    run("--num-trials", "2")
    assert len(run.training.runs) == 2
    run("--report-only")
    assert len(run.training.runs) == 2


def test_create_only_makes_the_study_alone(run, tmp_path, capsys):
    url = f"sqlite:///{tmp_path}/db/study.db"
    with pytest.raises(UserError, match="there is no study 'x' in this --storage; --create-only makes it"):
        run("--report-only", "--storage", url, "--study", "x")
    assert run("--create-only", "--storage", url, "--study", "x") == OK
    assert not (tmp_path / "out").exists()
    assert run("--report-only", "--storage", url, "--study", "x") == OK
    assert "no trial is complete yet" in capsys.readouterr().out


def test_another_search_in_the_same_study_is_refused(run):
    run("--num-trials", "1")
    with pytest.raises(UserError) as raised:
        run("--num-trials", "2", "--rng-seed", "1", space=SPACE.replace("0.5", "0.4"))
    assert [problem.split(" is ")[0] for problem in raised.value.problems] == [
        "study 'tune': --rng-seed",
        "study 'tune': dropout",
    ]
    assert len(run.training.runs) == 1


def test_flags_are_checked_all_at_once(run, monkeypatch):
    monkeypatch.setenv(
        "TF_CONFIG", json.dumps({"cluster": {"worker": ["a:1", "b:1"]}, "task": {"type": "worker", "index": 0}})
    )
    with pytest.raises(UserError) as raised:
        run("--num-trials", "0", "--rng-seed", "-1", "--study", "", output="gs://bucket/out")
    assert [problem.split(" ")[0] for problem in raised.value.problems] == [
        "--num-trials",
        "--rng-seed",
        "--study",
        "--storage",
        "TF_CONFIG",
    ]


def test_mistakes_in_flags_and_files_are_told_together(run, tmp_path):
    (tmp_path / "base.yaml").write_text("layers: 0")
    with pytest.raises(UserError) as raised:
        flags = ["--num-trials", "0", "--config", f"{tmp_path}/base.yaml", "--data", f"{tmp_path}/none"]
        run(*flags, space="unit: [1, 2]")
    assert len(raised.value.problems) == 4, raised.value.problems
    wanted = (
        "--num-trials is '0'",
        f"{tmp_path}/base.yaml: layers is 0",
        f"{tmp_path}/space.yaml: unit: no such setting",
        f"{tmp_path}/none",
    )
    for problem, start in zip(raised.value.problems, wanted, strict=True):
        assert problem.startswith(start)


def test_a_storage_may_stand_in_the_environment(run, monkeypatch, tmp_path):
    monkeypatch.setenv("TUNE_STORAGE", f"{tmp_path}/there.journal")
    run("--num-trials", "1")
    assert (tmp_path / "there.journal").exists()
    assert not (tmp_path / "out" / "study.db").exists()


def test_a_space_that_does_not_fit_the_dataset_is_refused(run, tmp_path):
    write_dataset(str(tmp_path / "beats"), PIECES_BY_SPLIT, time_base=BEATS)
    with pytest.raises(UserError, match="tempo is 0.2 but .*beats is on a grid of beats"):
        run("--data", str(tmp_path / "beats"), space="tempo: [0.0, 0.2]")


def test_failed_trials_and_their_reasons_are_in_the_report(run, tmp_path):
    run.training.fail = fail_at("0000", 1, Diverged("the loss is <nan>"))
    run("--num-trials", "2")
    report = json.loads((tmp_path / "out" / "trials.json").read_text())
    assert (report["trials"][0]["state"], report["trials"][0]["reason"]) == ("failed", "the loss is <nan>")
    assert "the loss is &lt;nan&gt;" in (tmp_path / "out" / "report.html").read_text()


def test_a_report_that_another_worker_overtook_is_written_again(run, data, tmp_path, monkeypatch):
    seen = []
    real = study_report.describe

    def describe(study):
        described = real(study)
        seen.append(described)
        if len(seen) == 2:  # the look after the first writing: another trial has ended meanwhile
            described = {**described, "counts": {"complete": 99}}
        return described

    run("--num-trials", "1")
    monkeypatch.setattr(study_report, "describe", describe)
    run("--report-only")
    assert len(seen) >= 4
