import dataclasses
import json

import pytest

from job_runtime import command, storage
from tests.trainer.training.test_whole_run import CONFIG, lines, train
from trainer import bundle, evaluate
from trainer.training import transfer

pytestmark = pytest.mark.usefixtures("eagerly")


@pytest.mark.slow
def test_a_model_that_looks_at_the_notes_so_far_is_trained_judged_and_fine_tuned(data, tmp_path, capsys):
    lags = {"context_units": 16, "context_notes": 32, "context_lags": (8, 25), "context_periods": (8,)}
    config = dataclasses.replace(CONFIG, **lags, max_minutes=60.0, epochs=0.3)  # a step
    train(data, tmp_path / "run", config)
    assert "nats per note, 3,600 s left" in capsys.readouterr().err  # the first step is not counted
    start = bundle.load(f"{tmp_path}/run/bundle")
    assert start.config["context_lags"] == [8, 25]

    report = f"{tmp_path}/report.json"
    argv = ["--bundle", f"{tmp_path}/run/bundle", "--data", data, "--output", report, "--num-resamples", "100"]
    assert evaluate.main(argv) == command.OK
    row = json.loads(storage.read_bytes(report))["models"][-1]
    assert row["nll"]["value"] == pytest.approx(start.metrics["validation_nll"], rel=1e-5)

    still = dataclasses.replace(config, **transfer.settings_of(start), learning_rate=1e-30, warmup_steps=0)
    train(data, tmp_path / "tuned", still, init_from=f"{tmp_path}/run/bundle")
    before = lines(tmp_path / "tuned")[0]["validation_nll"]  # END is calibrated once more
    assert before == pytest.approx(start.metrics["validation_nll"], rel=2e-4)
