"""A run as a function: what happens to it when a batch is bad, when it is halted, and what it starts from."""

import dataclasses
import json
import logging
import math
import signal

import numpy as np
import pytest
import tensorflow as tf

from job_runtime import command, storage
from job_runtime.storage import array_file
from midi_codec.dataset import dataset_info
from tests.trainer.tiny import PIECES_BY_SPLIT
from trainer import bundle
from trainer.config import TrainConfig
from trainer.data.batches import Batch
from trainer.data.pieces import stack_pieces
from trainer.data.split_cache import load_split
from trainer.evaluation import end_shift
from trainer.evaluation.validation import Evaluator
from trainer.run_output import checkpoint
from trainer.training import transfer, whole_run
from trainer.training.hooks import Halted
from trainer.training.train_step import TrainStep
from trainer.training.validation_step import VALIDATION_ROWS

pytestmark = pytest.mark.usefixtures("compiled_once")
CONFIG = TrainConfig(
    units=16,
    layers=1,
    head_units=16,
    dropout=0.0,
    batch_size=4,
    window=16,
    epochs=2.0,
    learning_rate=0.01,
    warmup_steps=3,
    transpose=2,
    samples=0,
    patience=None,
)


def train(data, folder, config=CONFIG, **more) -> whole_run.Outcome:
    with command.StopSignal() as stop:
        return whole_run.train(config, data=data, folder=str(folder), stop=stop, **more)


@pytest.fixture(scope="module")
def finished(data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    assert train(data, folder).state.step == 6
    return folder


@pytest.mark.slow
def test_a_run_from_the_cache_is_the_run_from_memory(data, finished, tmp_path, monkeypatch):
    def stacked(_data, _info, splits, table, **_):
        return [stack_pieces(PIECES_BY_SPLIT[split], table) for split in splits]

    assert {path.name.rsplit("-")[-1] for path in (finished / "cache").glob("*.columns")} == {
        "train.columns",
        "validation.columns",
    }
    monkeypatch.setattr(whole_run, "load_splits", stacked)
    train(data, tmp_path)
    assert bundle.load(f"{tmp_path}/bundle").hash == bundle.load(f"{finished}/bundle").hash
    timed = {"seconds", "notes_per_second", "input_wait_share"}
    got, want = ([{k: v for k, v in line.items() if k not in timed} for line in lines(f)] for f in (tmp_path, finished))
    assert got == want


def lines(folder) -> list[dict]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


class BadLoss:
    """Makes the loss of the numbered calls of the step another one, and spoils the weights as such a step would."""

    def __init__(self, monkeypatch, **losses: float):
        self.calls = 0
        self.batches: list[Batch] = []
        self._losses = {int(call.removeprefix("at")): loss for call, loss in losses.items()}
        self._step = TrainStep.__call__
        monkeypatch.setattr(TrainStep, "__call__", lambda *a: self(*a))

    def __call__(self, step, batch, rate):
        self.calls += 1
        self.batches.append(batch)
        loss, norm = self._step(step, batch, rate)
        if self.calls not in self._losses:
            return loss, norm
        for variable in step.variables[:3]:
            variable.assign(np.full(variable.shape, math.nan, np.float32))
        return self._losses[self.calls] * batch.num_events, norm


@pytest.mark.parametrize("loss", [math.nan, 1e4])
def test_a_bad_loss_stops_the_run_with_its_batch(data, tmp_path, monkeypatch, loss):
    bad = BadLoss(monkeypatch, at5=loss)
    with pytest.raises(RuntimeError) as error:
        train(data, tmp_path)
    text = str(error.value)
    assert f"the loss is {loss} per event" in text and "at step 4 (batch 1 of epoch 1)" in text
    assert f"its windows are in {tmp_path}/bad_batch.npz" in text and "--on-nan restore" in text
    windows = array_file.read(str(tmp_path / "bad_batch.npz"))
    assert windows["length"].sum() == bad.batches[-1].num_events
    ids = {piece.piece_id.encode() for piece in PIECES_BY_SPLIT["train"]}
    assert set(windows["piece_id"].tolist()) <= ids
    assert checkpoint.latest_state(f"{tmp_path}/checkpoints")["step"] == 3  # the validation before it


def test_going_back_leaves_out_the_batch_and_keeps_the_rest(data, finished, tmp_path, monkeypatch, caplog):
    config = dataclasses.replace(CONFIG, on_nan="restore")
    bad = BadLoss(monkeypatch, at2=math.nan)  # before any validation: back to the start
    with caplog.at_level(logging.WARNING, logger="trainer.training.loop"):
        state = train(data, tmp_path, config).state
    assert "continuing from step 0 without it" in caplog.text
    assert state.skipped == [[0, 1]] and state.step == 5 and state.finished and bad.calls == 7
    assert (bad.batches[0].bins == bad.batches[2].bins).all()  # the first again, then the third
    assert all(math.isfinite(line["validation_nll"]) for line in lines(tmp_path))
    assert all(np.isfinite(array).all() for array in bundle.load(f"{tmp_path}/bundle").weights.values())


def test_going_back_ends_when_every_batch_is_bad(data, tmp_path, monkeypatch):
    from trainer.training import loop

    monkeypatch.setattr(loop, "MOST_SKIPPED", 2)
    BadLoss(monkeypatch, at1=math.nan, at2=math.nan, at3=math.nan)
    with pytest.raises(RuntimeError, match="2 batches are left out already"):
        train(data, tmp_path, dataclasses.replace(CONFIG, on_nan="restore"))


def test_a_hook_sees_every_validation_and_may_end_the_run(data, tmp_path):
    seen = []

    def hook(line):
        seen.append(line)
        if len(seen) == 1:
            raise Halted("not promising")

    outcome = train(data, tmp_path, on_validation=hook)
    assert outcome.state.halted == "not promising" and outcome.state.finished and outcome.state.step == 3
    assert seen == lines(tmp_path) and {"step", "epoch", "validation_nll", "notes_per_second"} <= seen[0].keys()
    again = train(data, tmp_path, on_validation=hook)
    assert again.was_finished and again.state.halted == "not promising" and len(seen) == 1


def test_a_damaged_checkpoint_costs_no_more_than_the_way_from_the_one_before(data, finished, tmp_path, caplog):
    def hook(line):
        if line["step"] == 6:
            raise KeyboardInterrupt  # as a kill would, before the second validation's checkpoint

    with pytest.raises(KeyboardInterrupt):
        train(data, tmp_path, on_validation=hook)
    newest = checkpoint.paths(f"{tmp_path}/checkpoints")[-1]
    assert newest.endswith("step-00000003.npz")
    storage.write_bytes(newest, storage.read_bytes(newest)[:1000])
    with caplog.at_level(logging.WARNING):
        train(data, tmp_path)
    assert "step-00000003.npz: passed over, not a whole checkpoint of this run" in caplog.text
    assert bundle.load(f"{tmp_path}/bundle").hash == bundle.load(f"{finished}/bundle").hash


AVERAGED = dataclasses.replace(CONFIG, weight_average=0.9)


@pytest.fixture(scope="module")
def averaged(data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("averaged")
    train(data, folder, AVERAGED)
    return folder


def newest_checkpoint(folder) -> dict[str, np.ndarray]:
    return array_file.read(checkpoint.paths(f"{folder}/checkpoints")[-1])


def without_end_shift(kept: bundle.Bundle) -> bundle.Bundle:
    """The weights as they were trained."""
    return end_shift.shifted(kept, -kept.metrics["end_shift"])


def test_what_is_validated_and_kept_is_the_average(data, finished, averaged):
    kept = bundle.load(f"{averaged}/bundle")
    assert kept.metrics["step"] == 6, "the last checkpoint holds another average"
    arrays, without = newest_checkpoint(averaged), newest_checkpoint(finished)
    assert len(arrays) == len(without) + len(kept.weights)
    averages = [arrays[f"{number:04d}"] for number in range(len(without) - 1, len(arrays) - 1)]
    trained = without_end_shift(kept)
    for average, array in zip(averages, bundle.get_weights(trained.build_model()).values(), strict=True):
        np.testing.assert_allclose(average, array, rtol=0, atol=1e-6)
    assert lines(averaged)[-1]["end_shift"] == kept.metrics["end_shift"] != 0
    for name in without.keys() - {"state"}:
        np.testing.assert_array_equal(arrays[name], without[name])  # trained as without
    strategy = tf.distribute.OneDeviceStrategy("/cpu:0")
    model = TrainStep(AVERAGED, kept.fields, strategy).model
    bundle.set_weights(model, kept.weights)
    validation = load_split(data, dataset_info.load(data), "validation", kept.fields)
    nll = Evaluator(model, strategy, batch_size=VALIDATION_ROWS).evaluate(validation).nll
    assert nll == pytest.approx(lines(averaged)[-1]["validation_nll"], rel=1e-6)
    assert nll != pytest.approx(lines(finished)[-1]["validation_nll"], rel=1e-3)


def test_samples_are_drawn_with_the_average(data, averaged, tmp_path, monkeypatch):
    from trainer.run_output import samples

    drawn = []

    def write(self, step, deviations, summary):
        drawn.append(bundle.get_weights(self._sampler._model))

    monkeypatch.setattr(samples.SampleWriter, "write", write)
    train(data, tmp_path, dataclasses.replace(AVERAGED, samples=1))
    assert len(drawn) == 2
    for name, array in without_end_shift(bundle.load(f"{averaged}/bundle")).weights.items():
        np.testing.assert_allclose(drawn[1][name], array, rtol=0, atol=1e-6, err_msg=name)


def test_a_run_with_an_average_resumes_amid_a_validation_as_if_undisturbed(data, averaged, tmp_path, monkeypatch):
    original = Evaluator.evaluate

    def stop(self, split, *, between_chunks):
        signal.raise_signal(signal.SIGTERM)
        return original(self, split, between_chunks=between_chunks)

    with monkeypatch.context() as patch, pytest.raises(command.Interrupted):
        patch.setattr(Evaluator, "evaluate", stop)
        train(data, tmp_path, AVERAGED)
    assert checkpoint.latest_state(f"{tmp_path}/checkpoints")["step"] == 3
    train(data, tmp_path, AVERAGED)
    got, want = newest_checkpoint(tmp_path), newest_checkpoint(averaged)
    assert got.keys() == want.keys()
    for name in want.keys() - {"state"}:
        np.testing.assert_array_equal(got[name], want[name], err_msg=name)
    assert bundle.load(f"{tmp_path}/bundle").hash == bundle.load(f"{averaged}/bundle").hash


def test_a_checkpoint_now_and_then(data, tmp_path, monkeypatch):
    from trainer.training import checkpointing

    monkeypatch.setattr(checkpointing, "CHECKPOINT_SECONDS", 0.0)
    saved = []
    monkeypatch.setattr(checkpoint, "save", lambda folder, step, *_: saved.append(step))
    train(data, tmp_path)
    assert saved == [0, 1, 2, 3, 3, 4, 5, 6, 6]


def test_fine_tuning_starts_from_the_weights_of_a_bundle(data, finished, tmp_path):
    start = bundle.load(f"{finished}/bundle")
    config = dataclasses.replace(CONFIG, **transfer.settings_of(start), epochs=1.0, learning_rate=1e-30, warmup_steps=0)
    train(data, tmp_path, config, init_from=f"{finished}/bundle")
    tuned = bundle.load(f"{tmp_path}/bundle")
    model = start.build_model()
    mapped = transfer.start_weights(start, tuned.fields, dataset_info.load(data), bundle.get_weights(model))
    for name, array in mapped.items():
        np.testing.assert_allclose(without_end_shift(tuned).weights[name], array, rtol=0, atol=1e-6, err_msg=name)
    assert tuned.fields == start.fields and tuned.dataset["init_from"] == start.hash
    assert json.loads((tmp_path / "run.json").read_text())["init_from"] == start.hash
    first, *_ = lines(tmp_path)
    assert (first["step"], first["epoch"], tuned.metrics["step"]) == (0, 0.0, 0)
    # END's shift is found once more, from where it was
    assert first["validation_nll"] == pytest.approx(start.metrics["validation_nll"], rel=1e-4)


def test_fine_tuning_that_only_harms_keeps_what_it_started_from(data, finished, tmp_path):
    start = bundle.load(f"{finished}/bundle")
    uphill = dataclasses.replace(CONFIG, **transfer.settings_of(start), learning_rate=-0.01, warmup_steps=0)
    config = dataclasses.replace(uphill, patience=1)
    state = train(data, tmp_path, config, init_from=f"{finished}/bundle").state
    assert state.finished and (state.step, state.best_step) == (3, 0)
    tuned = bundle.load(f"{tmp_path}/bundle").metrics
    assert tuned["validation_nll"] == pytest.approx(start.metrics["validation_nll"], rel=1e-4)


def test_what_fine_tuning_starts_from_is_validated_once(data, finished, tmp_path, monkeypatch):
    from trainer.training.loop import Run

    def killed(*_):
        raise KeyboardInterrupt

    start = f"{finished}/bundle"
    config = dataclasses.replace(CONFIG, **transfer.settings_of(bundle.load(start)), epochs=1.0)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Run, "_apply", killed)
        train(data, tmp_path, config, init_from=start)
    train(data, tmp_path, config, init_from=start)
    steps = [line["step"] for line in lines(tmp_path)]
    assert steps[0] == 0 and steps == sorted(set(steps))


def test_a_trace_for_the_profiler(data, tmp_path):
    train(data, tmp_path, dataclasses.replace(CONFIG, epochs=6.0, evaluate_every=6.0), profile=True)
    assert list(tmp_path.glob("tensorboard/plugins/profile/*/*.xplane.pb"))


def test_the_chief_of_a_finished_run_draws_the_samples_that_a_kill_has_cost(data, tmp_path, monkeypatch):
    """Alone: the other workers may be gone for good."""
    from trainer.run_output import samples

    def killed(*_):
        raise KeyboardInterrupt

    config, drawn = dataclasses.replace(CONFIG, samples=1, epochs=1.0), []
    monkeypatch.setattr(samples.SampleWriter, "write", killed)
    with pytest.raises(KeyboardInterrupt):
        train(data, tmp_path, config)
    monkeypatch.setattr(samples.SampleWriter, "write", lambda _self, step, *_: drawn.append(step))
    addresses = {"worker": ["127.0.0.1:1", "127.0.0.1:2"]}
    for index, want in ((1, []), (0, [3]), (0, [3])):
        task = {"type": "worker", "index": index}
        monkeypatch.setenv("TF_CONFIG", json.dumps({"cluster": addresses, "task": task}))
        outcome = train(data, tmp_path, config)
        assert drawn == want and outcome.is_chief == (index == 0)
    assert outcome.was_finished and outcome.state.is_over
