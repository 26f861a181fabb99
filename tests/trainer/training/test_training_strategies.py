"""A whole run under every strategy: what one device gives, stopped during a validation and resumed."""

import dataclasses
import json
import signal

import pytest

from job_runtime import command, storage
from midi_codec.fields import MSE
from tests.trainer.strategies import STRATEGIES
from tests.trainer.tiny import make_many, write_dataset
from tests.trainer.training import test_whole_run
from tests.trainer.training.test_whole_run import lines, train
from trainer import bundle, evaluate
from trainer.distribution import strategy
from trainer.evaluation import validation

# Every validation takes two passes of three chunks, and has fewer pieces than some strategies have replicas.
SPLITS = {"train": make_many([20, 9, 30, 14, 25]), "validation": make_many([600, 12, 20])}
CONFIG = dataclasses.replace(
    test_whole_run.AVERAGED, timing_loss=MSE, samples=1, patience=3, epochs=3.0, evaluate_every=0.5
)


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> str:
    root = str(tmp_path_factory.mktemp("data"))
    write_dataset(root, SPLITS)
    return root


@pytest.fixture(scope="module")
def on_one_device(data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("one")
    train(data, folder, CONFIG)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("form", ["two devices", "a worker of one device"])  # others: tests/trainer/test_task_slow.py
def test_under_any_strategy_a_run_goes_on_amid_a_validation(data, on_one_device, tmp_path, monkeypatch, form):
    made, chunks = STRATEGIES[form](), []
    real = validation.share_out

    def share_out(*arguments):
        chunks.append(arguments)
        if len(chunks) == 6 + 5:
            signal.raise_signal(signal.SIGTERM)  # in the second pass of the second validation
        return real(*arguments)

    monkeypatch.setattr(strategy, "make_strategy", lambda alone: made)
    monkeypatch.setattr(validation, "share_out", share_out)
    with pytest.raises(command.Interrupted):
        train(data, tmp_path, CONFIG)
    assert len(lines(tmp_path)) == 1 and len(chunks) == 11
    train(data, tmp_path, CONFIG)
    got, want = lines(tmp_path), lines(on_one_device)
    assert len(got) == len(want) == 6
    for number, (got_line, want_line) in enumerate(zip(got, want, strict=True)):
        for name in (
            "step",
            "epoch",
            "train_loss",
            "validation_nll",
            "validation_nll_per_second",
            "validation_nll_step",
        ):
            # Adam magnifies the last bits of sums in another order, the more the longer it goes on.
            assert got_line[name] == pytest.approx(want_line[name], rel=1e-5 if number == 0 else 1e-3), (number, name)
    folders = [sorted(path.relative_to(at) for path in at.glob("samples/*/*")) for at in (tmp_path, on_one_device)]
    assert folders[0] == folders[1] and len(folders[0]) == 12
    kept = bundle.load(f"{tmp_path}/bundle")
    report = f"{tmp_path}/report.json"
    argv = ["--bundle", f"{tmp_path}/bundle", "--data", data, "--output", report, "--num-resamples", "100"]
    assert evaluate.main([*argv, "--no-baselines"]) == command.OK
    (model,) = json.loads(storage.read_bytes(report))["models"]
    assert model["nll"]["value"] == pytest.approx(kept.metrics["validation_nll"], rel=1e-5)
