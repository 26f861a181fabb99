"""The same weights on one device, on two and on four replicas, and of two processes, with clipping and dropout on."""

import contextlib
import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from tests.trainer.strategies import under_several_forms
from tests.trainer.training.step_case import (
    CONFIG,
    HELD_OUT,
    PIECES,
    RATE,
    STEPS,
    TABLE,
    batches,
    evaluate,
    run_steps,
    take_steps,
    variables_of,
)
from trainer.distribution.strategy import batch_signature, share_out
from trainer.model.heads import field_losses
from trainer.training.prior import start_from_unigram
from trainer.training.train_step import TrainStep

ROOT = Path(__file__).parents[3]
WAIT_SECONDS = 240
ONE_DEVICE = tf.distribute.OneDeviceStrategy("/cpu:0")
# Sums in another order differ in the last bits of float32; Adam divides by the root of squares, which may magnify them.
RTOL, ATOL = 1e-5, 1e-6


@pytest.fixture(scope="module")
def on_one_device() -> tuple[TrainStep, list[np.ndarray]]:
    """The step, compiled once for this file, and the values of its variables before any step."""
    step = TrainStep(CONFIG, TABLE, ONE_DEVICE)
    start_from_unigram(step.model, PIECES)
    return step, values_of(step)


@pytest.fixture(scope="module")
def one_device(on_one_device) -> dict[str, np.ndarray]:
    step, initial = on_one_device
    set_variables(step, initial)
    return take_steps(step, ONE_DEVICE) | evaluate(step, ONE_DEVICE)


def assert_same(got: dict[str, np.ndarray], want: dict[str, np.ndarray]) -> None:
    np.testing.assert_allclose(got["losses"], want["losses"], rtol=1e-5)
    np.testing.assert_allclose(got["norms"], want["norms"], rtol=1e-4)
    np.testing.assert_allclose(got["nll"], want["nll"], rtol=1e-5)
    assert got["num_notes"] == want["num_notes"]
    assert variables_of(got).keys() == variables_of(want).keys()
    for name, array in variables_of(want).items():
        np.testing.assert_allclose(got[name], array, rtol=RTOL, atol=ATOL, err_msg=name)


def test_the_case_is_a_hard_one(one_device):
    """Batches are short, of other lengths, and shared unequally; clipping is at work; the weights move."""
    made = batches()
    assert {len(batch.bins) for batch in made} > {CONFIG.batch_size}
    assert any(len(batch.bins) % 2 for batch in made), "no batch needs an empty row to fill two replicas"
    assert len({batch.bins.shape[1] for batch in made}) > 1
    full = [batch for batch in made if len(batch.bins) == CONFIG.batch_size]
    halves = [(batch.is_note + batch.is_end).reshape(2, -1).sum(axis=1) for batch in full]
    assert any(left != right for left, right in halves)
    assert one_device["norms"].min() > CONFIG.clip_norm
    assert len({batch.step_key.tobytes() for batch in made}) == STEPS
    events, half = np.array([batch.num_events for batch in made]), STEPS // 2
    first, second = (one_device["losses"][part].sum() / events[part].sum() for part in (slice(half), slice(half, None)))
    assert second < first


def test_every_event_counts_once(one_device):
    assert one_device["own_events"].tolist() == [batch.num_events for batch in batches()]
    assert one_device["num_notes"] == HELD_OUT.num_notes


@under_several_forms
def test_replicas_change_nothing(one_device, make_strategy):
    assert_same(run_steps(make_strategy()), one_device)


def free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


@pytest.mark.slow
@pytest.mark.parametrize("devices", [1, 2])
def test_processes_change_nothing(one_device, tmp_path, devices):
    """Two workers: the same weights in both, to the bit, and those of one device; each has rows of its own."""
    addresses = [f"127.0.0.1:{port}" for port in free_ports(2)]
    workers = []
    for index in range(2):
        config = {"cluster": {"worker": addresses}, "task": {"type": "worker", "index": index}}
        environment = {**os.environ, "TF_CONFIG": json.dumps(config), "CUDA_VISIBLE_DEVICES": ""}
        argv = ["-m", "tests.trainer.training.step_case", str(devices), str(tmp_path / f"{index}.npz")]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
        workers.append(subprocess.Popen([sys.executable, *argv], cwd=ROOT, env=environment, **pipes))
    try:
        for worker in workers:
            output, _ = worker.communicate(timeout=WAIT_SECONDS)
            assert worker.returncode == 0, output[-4000:]
    finally:
        for worker in workers:
            worker.kill()
            worker.wait()
    first, second = (dict(np.load(tmp_path / f"{index}.npz")) for index in range(2))
    for name in first.keys() - {"own_events"}:
        assert (first[name] == second[name]).all(), name
    assert_same(first, one_device)
    own = [first["own_events"], second["own_events"]]
    assert (own[0] + own[1] == one_device["own_events"]).all()
    assert all(events.sum() > 0 for events in own)


def set_variables(step: TrainStep, values: list[np.ndarray]) -> None:
    for variable, value in zip(step.variables, values, strict=True):
        variable.assign(value)


def values_of(step: TrainStep) -> list[np.ndarray]:
    return [np.array(variable.value) for variable in step.variables]


def test_the_same_steps_give_the_same_bits(on_one_device, one_device):
    """One trace serves batches of every size, so that a run that resumes rounds as one that was not stopped."""
    step, initial = on_one_device
    made = batches()
    results = []
    for order in ([0], [1, 2, 0]):
        for index in order:
            set_variables(step, initial)
            result = step(made[index], RATE)
        results.append([result, *values_of(step)])
    for first, second in zip(*results, strict=True):
        np.testing.assert_array_equal(first, second)
    signatures = [batch_signature(share_out(batch, ONE_DEVICE)) for batch in made]
    assert all(signature == signatures[0] for signature in signatures), "the first batch decides the trace"

    set_variables(step, initial)
    for name, array in take_steps(step, ONE_DEVICE).items():
        np.testing.assert_array_equal(array, one_device[name], err_msg=name)


def test_before_the_first_step_the_weights_are_what_is_kept(on_one_device):
    step, initial = on_one_device
    set_variables(step, initial)
    with step.weights_to_keep():
        for got, want in zip(values_of(step), initial, strict=True):
            np.testing.assert_array_equal(got, want)


def test_a_step_is_adam_on_the_clipped_mean_gradient(on_one_device):
    """Against plain TensorFlow and the formula of AdamW, whose decay shrinks matrices and nothing else.

    Labels learn at ten times the rate.
    """
    step, initial = on_one_device
    set_variables(step, initial)
    batch = batches()[0]
    tensors = {name: tf.constant(array) for name, array in batch.as_dict().items()}
    model = step.model
    keys = {"dropout_keys": tensors["dropout_keys"], "step_key": tensors["step_key"]}
    with tf.GradientTape() as tape:
        state = model.with_labels(model.zero_state(len(batch.bins)), tensors["labels"])
        outputs, _ = model(tensors["previous"], tensors["bins"], state, **keys)
        losses = field_losses(TABLE, outputs, tensors)
        loss = tf.add_n([tf.reduce_sum(one) for one in losses.values()]) / batch.num_events
    gradients = [
        tf.convert_to_tensor(g).numpy() for g in tape.gradient(loss, [v.value for v in model.trainable_variables])
    ]
    want_norm = np.sqrt(sum((gradient.astype(np.float64) ** 2).sum() for gradient in gradients))
    total, norm = step(batch, RATE)
    assert total == pytest.approx(float(loss) * batch.num_events, rel=1e-5)
    assert norm == pytest.approx(want_norm, rel=1e-5)
    assert {len(variable.shape) for variable in model.trainable_variables} == {1, 2}
    for variable, old, gradient in zip(model.trainable_variables, initial, gradients, strict=False):
        clipped = gradient * CONFIG.clip_norm / want_norm
        # The first step of Adam: both moments are corrected to the gradient and its square.
        kept = 1 - RATE * CONFIG.weight_decay if old.ndim > 1 else 1
        rate = 10 * RATE if "label_" in variable.path else RATE
        moved = kept * old - rate * clipped / (np.abs(clipped) + 1e-7 / np.sqrt(1 - 0.999))
        np.testing.assert_allclose(np.asarray(variable.value), moved, atol=2e-5, err_msg=variable.path)
