"""The command in this process: a run, a stop, and what it refuses. Kills and workers are in test_task_slow."""

import dataclasses
import json
import signal

import numpy as np
import pytest

from job_runtime import command
from job_runtime.storage import array_file
from midi_codec.music.notes import BEATS
from tests.trainer.tiny import PIECES_BY_SPLIT, write_dataset
from trainer import box_model, bundle, plan, task
from trainer.run_output import checkpoint
from trainer.training import train_step

pytestmark = pytest.mark.usefixtures("compiled_once")
SETTINGS = {
    "units": "16",
    "layers": "1",
    "head_units": "16",
    "dropout": "0.3",
    "batch_size": "4",
    "window": "16",
    "epochs": "4",
    "evaluate_every": "1",
    "learning_rate": "0.01",
    "warmup_steps": "3",
    "transpose": "2",
    "samples": "0",
    "context_units": "0",
    "weight_average": "0",
    "patience": "8",
    "final_rate": "0.02",
}
TIMED = ("seconds", "notes_per_second", "input_wait_share")  # of a line of the metrics


def flags(**changes: str) -> list[str]:
    given = {**SETTINGS, **changes}
    return [part for name, value in given.items() for part in (f"--{name.replace('_', '-')}", value)]


def run(data, output, *more: str, **changes: str) -> int:
    argv = ["--data", str(data), "--output", str(output), *flags(**changes), *more]
    return command.run("python -m trainer.task", task.main, argv)


@pytest.fixture(scope="module")
def finished(data, tmp_path_factory):
    """A run folder after one undisturbed run."""
    folder = tmp_path_factory.mktemp("run")
    assert run(data, folder) == command.OK
    return folder


def last_checkpoint(folder) -> dict[str, np.ndarray]:
    return array_file.read(checkpoint.paths(str(folder / "checkpoints"))[-1])


def files(folder) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_run_leaves_what_it_promises(finished):
    described = json.loads((finished / "run.json").read_text())
    assert described["units"] == 16 and described["dropout"] == 0.3 and len(described["dataset"]) == 32
    lines = [json.loads(line) for line in (finished / "metrics.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in lines] == [1.0, 2.0, 3.0, 4.0]
    assert {"step", "seconds", "train_loss", "validation_nll", "learning_rate", "validation_nll_step"} <= lines[
        0
    ].keys()
    assert lines[-1]["train_loss"] < lines[0]["train_loss"]
    assert list((finished / "tensorboard").iterdir())
    loaded = bundle.load(str(finished / "bundle"))
    best = min(lines, key=lambda line: line["validation_nll"])
    assert loaded.metrics["step"] == best["step"] and loaded.metrics["validation_nll"] == best["validation_nll"]
    assert loaded.metrics["num_notes"] == 32
    assert set(loaded.metrics["baselines"]) == {"unigram", "bigram", "5-gram"}
    assert set(loaded.metrics["accuracy"]) == {"step", "pitch", "duration", "velocity"}
    assert set(loaded.metrics["error_milliseconds"]) == {"step", "duration"}


def test_the_summary_shows_model_and_baselines(data, finished, capsys):
    assert run(data, finished) == command.OK
    printed = capsys.readouterr().out
    assert f"{finished} is finished already" in printed
    metrics = bundle.load(str(finished / "bundle")).metrics
    rows = {line.split()[0]: line.split()[1:] for line in printed.splitlines() if line[:1].isalnum()}
    assert float(rows["model"][0]) == pytest.approx(metrics["validation_nll"], abs=6e-4)
    for name in ("unigram", "bigram", "5-gram"):
        assert float(rows[name][0]) == pytest.approx(metrics["baselines"][name]["nll"], abs=6e-4)


def test_a_second_run_changes_nothing(data, finished):
    before = files(finished)
    assert run(data, finished) == command.OK
    after = files(finished)
    assert {name: data for name, data in after.items() if "tensorboard" not in name} == {
        name: data for name, data in before.items() if "tensorboard" not in name
    }


def test_other_settings_in_the_same_folder(data, finished, capsys):
    before = files(finished)
    assert run(data, finished, units="32", dropout="0.1") == command.USER_ERROR
    printed = capsys.readouterr().err.splitlines()
    place = f"python -m trainer.task: {finished}/run.json"
    assert printed == [
        f"{place}: dropout is 0.3 there and 0.1 here; want the same, or another --output",
        f"{place}: units is 16 there and 32 here; want the same, or another --output",
    ]
    assert files(finished) == before


class StopAt:
    """Raises SIGTERM in the middle of the numbered calls of a method, counted over all runs."""

    def __init__(self, monkeypatch, owner: type, name: str, *, at: int):
        self.calls, self._at, self._method = 0, at, getattr(owner, name)
        monkeypatch.setattr(owner, name, lambda *a, **k: self(*a, **k))

    def __call__(self, *args, **kwargs):
        self.calls += 1
        if self.calls == self._at:
            signal.raise_signal(signal.SIGTERM)
        return self._method(*args, **kwargs)


def assert_same_run(folder, finished):
    want, got = last_checkpoint(finished), last_checkpoint(folder)
    assert got.keys() == want.keys()
    for name in want.keys() - {"state"}:
        assert (got[name] == want[name]).all(), name
    states = [json.loads(arrays["state"].tobytes()) for arrays in (got, want)]
    for state in states:
        del state["seconds"]
        for line in state["metrics"]:
            for name in TIMED:
                del line[name]
    assert states[0] == states[1]
    assert bundle.load(str(folder / "bundle")).hash == bundle.load(str(finished / "bundle")).hash


def test_a_stopped_run_goes_on_to_the_same_weights(data, finished, tmp_path, monkeypatch, capsys):
    StopAt(monkeypatch, train_step.TrainStep, "__call__", at=5)
    assert run(data, tmp_path) == command.INTERRUPTED
    assert "interrupted; step 5 is saved" in capsys.readouterr().err
    assert run(data, tmp_path) == command.OK
    assert_same_run(tmp_path, finished)


def test_a_stop_within_a_validation_is_heard(data, finished, tmp_path, monkeypatch):
    from trainer.evaluation import validation
    from trainer.run_output.run_files import RunFiles

    saved = []
    StopAt(monkeypatch, validation, "share_out", at=1)
    real = RunFiles.save_bundle
    monkeypatch.setattr(RunFiles, "save_bundle", lambda *a, **k: (saved.append(1), real(*a, **k)))
    assert run(data, tmp_path) == command.INTERRUPTED
    assert not saved and not (tmp_path / "metrics.jsonl").exists()
    state = json.loads(last_checkpoint(tmp_path)["state"].tobytes())
    assert state["validation_due"] and state["position"]["epochs_done"] == 1.0
    assert run(data, tmp_path) == command.OK
    assert_same_run(tmp_path, finished)


def test_a_stop_after_a_validation_leaves_its_samples_to_the_next_start(data, tmp_path, monkeypatch, capsys):
    from trainer.run_output import monitor, samples

    drawn = []
    monkeypatch.setattr(samples.SampleWriter, "write", lambda _self, step, *_: drawn.append(step))
    StopAt(monkeypatch, monitor.Monitor, "validation", at=2)
    assert run(data, tmp_path, samples="1") == command.INTERRUPTED
    steps = [json.loads(line)["step"] for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert f"interrupted; step {steps[1]} is saved" in capsys.readouterr().err
    assert drawn == steps[:1]
    assert run(data, tmp_path, samples="1") == command.OK
    assert drawn == [json.loads(line)["step"] for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert len(drawn) == 4


def test_patience_ends_a_run(data, tmp_path):
    # A rate this small makes nothing better that float32 could show.
    assert run(data, tmp_path, learning_rate="1e-30", patience="1", epochs="50") == command.OK
    lines = (tmp_path / "metrics.jsonl").read_text().splitlines()
    assert len(lines) == 2 and bundle.load(str(tmp_path / "bundle")).metrics["step"] == json.loads(lines[0])["step"]


def test_an_empty_split(tmp_path, capsys):
    write_dataset(str(tmp_path / "data"), {"train": PIECES_BY_SPLIT["train"]})
    assert run(tmp_path / "data", tmp_path / "run") == command.USER_ERROR
    want = f"python -m trainer.task: {tmp_path}/data: the validation split holds no piece, want at least one\n"
    assert capsys.readouterr().err == want
    assert not (tmp_path / "run").exists()


def test_tempo_augmentation_would_leave_a_beat_grid(tmp_path, capsys):
    piece = dataclasses.replace(PIECES_BY_SPLIT["train"][0], time_base=BEATS)
    write_dataset(str(tmp_path / "data"), {"train": [piece], "validation": [piece]}, time_base=BEATS)
    assert run(tmp_path / "data", tmp_path / "run", tempo="0.1") == command.USER_ERROR
    assert "tempo is 0.1 but " in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_a_mistake_that_the_devices_show_does_not_claim_the_folder(data, tmp_path, monkeypatch, capsys):
    from tests.trainer.strategies import mirrored
    from trainer.distribution import strategy

    monkeypatch.setattr(strategy, "make_strategy", lambda alone: mirrored(2))
    assert run(data, tmp_path / "run", batch_size="5") == command.USER_ERROR
    assert "--batch-size is 5, want a multiple of the 2 replicas" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_data_that_is_no_dataset(tmp_path, capsys):
    assert run(tmp_path, tmp_path / "run") == command.USER_ERROR
    assert f"{tmp_path} is not a complete dataset" in capsys.readouterr().err


def test_the_model_in_the_box_for_a_grid_that_it_does_not_know(data, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(box_model, "grids", lambda: (BEATS,))
    assert run(data, tmp_path / "run", "--init-from", "box", epochs="-1") == command.USER_ERROR
    errors = capsys.readouterr().err
    assert "the model in the box knows a grid of beats, but the dataset has one of milliseconds" in errors
    assert "--epochs is '-1'" in errors


def test_what_is_not_given_is_planned_once_and_kept(data, tmp_path, capsys, monkeypatch):
    few = {name: SETTINGS[name] for name in ("units", "layers", "head_units", "dropout", "window", "context_units")}
    argv = ["--data", data, "--output", str(tmp_path / "run"), "--weight-average", "0", "--patience", "1"]
    argv += ["--learning-rate", "1e-30"]  # makes nothing better that float32 could show
    argv += [part for name, value in few.items() for part in (f"--{name.replace('_', '-')}", value)]
    with monkeypatch.context() as patch:
        StopAt(patch, train_step.TrainStep, "__call__", at=5)
        assert command.run("python -m trainer.task", task.main, argv) == command.INTERRUPTED
    first = (tmp_path / "run/run.json").read_bytes()
    described = json.loads(first)
    assert (described["batch_size"], described["epochs"], described["final_rate"], described["samples"]) == (
        8,
        40.0,
        0.01,
        0,
    )
    before = capsys.readouterr().out.splitlines()[:2]
    assert [line.split()[0] for line in before] == ["plan:", "because"]
    assert before[0].startswith("plan: 8 x 16 notes per step, 1 layer of 16 units, no context, copying from 512, ")
    monkeypatch.setattr(plan, "MOST_PASSES", 7.0)  # a later version with another rule
    assert command.run("python -m trainer.task", task.main, argv) == command.OK
    out = capsys.readouterr().out
    assert out.splitlines()[:2] == before and (tmp_path / "run/run.json").read_bytes() == first
    lines = [json.loads(line) for line in (tmp_path / "run/metrics.jsonl").read_text().splitlines()]
    assert len(lines) == 2 and lines[-1]["epoch"] < 40.0
    assert f"stopped early, after step {lines[-1]['step']} and " in out
