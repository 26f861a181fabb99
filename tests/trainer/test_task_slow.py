"""The command as processes: a signal from outside, and two workers that train as one."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from midi_codec import array_file, command, storage
from tests.trainer.test_task import SPLITS, flags
from tests.trainer.tiny import write_dataset
from trainer import bundle, checkpoint

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]
EPOCHS = "30"
WAIT_SECONDS = 240
TF_CONFIG_NAMES = ("TF_CONFIG", "JOB_COMPLETION_INDEX")


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> str:
    root = str(tmp_path_factory.mktemp("data"))
    write_dataset(root, SPLITS)
    return root


@pytest.fixture(scope="module")
def start(data):
    """Starts a process of the command; those that are left at the end are killed."""
    running = []

    def start_one(output: Path | str, *more: str, **environment: str) -> subprocess.Popen:
        inherited = {name: value for name, value in os.environ.items() if name not in TF_CONFIG_NAMES}
        argv = ["--data", data, "--output", str(output), *flags(epochs=EPOCHS, patience="none"), *more]
        process = subprocess.Popen(
            [sys.executable, "-m", "trainer.task", *argv],
            cwd=ROOT,
            env={**inherited, "CUDA_VISIBLE_DEVICES": "", **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        running.append(process)
        return process

    yield start_one
    for process in running:
        process.kill()
        process.wait()


def finish(process: subprocess.Popen, want: int) -> str:
    output, _ = process.communicate(timeout=WAIT_SECONDS)
    assert process.returncode == want, output[-4000:]
    return output


def wait_for(path: Path, *processes: subprocess.Popen) -> None:
    deadline = time.monotonic() + WAIT_SECONDS
    while not path.exists():
        assert time.monotonic() < deadline
        for process in processes:
            assert process.poll() is None, process.communicate()[0][-4000:]
        time.sleep(0.02)


def weights_of(folder: Path) -> dict[str, np.ndarray]:
    arrays = array_file.read(checkpoint.paths(str(folder / "checkpoints"))[-1])
    return {name: array for name, array in arrays.items() if name != "state"}


def assert_equal(got: dict[str, np.ndarray], want: dict[str, np.ndarray], *, rtol: float = 0, atol: float = 0) -> None:
    assert got.keys() == want.keys()
    for name, array in want.items():
        np.testing.assert_allclose(got[name], array, rtol=rtol, atol=atol, err_msg=name)


@pytest.fixture(scope="module")
def undisturbed(start, tmp_path_factory) -> Path:
    """The run folder of one process."""
    folder = tmp_path_factory.mktemp("undisturbed")
    finish(start(folder), command.OK)
    return folder


@pytest.fixture(scope="module")
def workers_outputs(start, tmp_path_factory) -> tuple[Path, list[str]]:
    """Two workers, each with a run folder of its own, `0` and `1`, and what they print."""
    root = tmp_path_factory.mktemp("workers")
    workers = start_workers(start, [root / "0", root / "1"])
    return root, [finish(worker, command.OK) for worker in workers]


def test_sigterm_and_the_same_command_again(start, undisturbed, tmp_path):
    stopped = tmp_path / "stopped"
    process = start(stopped)
    wait_for(stopped / "metrics.jsonl", process)
    process.send_signal(signal.SIGTERM)
    assert "is saved; the same command goes on from there" in finish(process, command.INTERRUPTED)
    assert len((stopped / "metrics.jsonl").read_text().splitlines()) < int(EPOCHS)
    finish(start(stopped), command.OK)
    assert_equal(weights_of(stopped), weights_of(undisturbed))
    assert bundle.load(str(stopped / "bundle")).hash == bundle.load(str(undisturbed / "bundle")).hash


def test_a_kill_at_any_moment_costs_no_bit(start, undisturbed, tmp_path):
    killed = tmp_path / "killed"
    process = start(killed)
    wait_for(killed / "metrics.jsonl", process)
    process.kill()
    process.communicate()
    finish(start(killed), command.OK)
    assert_equal(weights_of(killed), weights_of(undisturbed))


def host_pattern() -> str:
    """Two free ports that differ in their last digit, as flags name them."""
    for _ in range(100):
        tens = 2000 + int.from_bytes(os.urandom(2), "little") % 1200  # not the lowest: another test may look too
        with socket.socket() as first, socket.socket() as second:
            try:
                first.bind(("127.0.0.1", 10 * tens))
                second.bind(("127.0.0.1", 10 * tens + 1))
            except OSError:
                continue
            return f"127.0.0.1:{tens}{{index}}"
    raise AssertionError("no two free ports")


def start_workers(start, folders: list[Path]) -> list[subprocess.Popen]:
    pattern = host_pattern()
    return [
        start(folder, "--num-workers", "2", "--worker-host-pattern", pattern, JOB_COMPLETION_INDEX=str(index))
        for index, folder in enumerate(folders)
    ]


def test_two_workers_train_as_one_and_only_the_chief_writes(undisturbed, workers_outputs):
    root, outputs = workers_outputs
    chief, other = root / "0", root / "1"
    assert all("training on 2 replica(s) with MultiWorkerMirroredStrategy" in output for output in outputs)
    assert not other.exists()
    # Sums in another order differ in their last bits, and hundreds of steps of Adam carry that on.
    got, want = (bundle.load(str(folder / "bundle")) for folder in (chief, undisturbed))
    assert got.metrics["num_notes"] == want.metrics["num_notes"]
    assert got.metrics["validation_nll"] == pytest.approx(want.metrics["validation_nll"], rel=1e-3)
    first = [(folder / "metrics.jsonl").read_text().splitlines()[0] for folder in (chief, undisturbed)]
    got_line, want_line = map(json.loads, first)
    for name in ("train_loss", "validation_nll", "validation_nll_pitch", "learning_rate", "step"):
        assert got_line[name] == pytest.approx(want_line[name], rel=1e-5), name


def test_a_signal_to_one_worker_stops_both_and_both_go_on(start, workers_outputs, tmp_path):
    stopped = tmp_path / "stopped"
    workers = start_workers(start, [stopped, stopped])
    wait_for(stopped / "metrics.jsonl", *workers)
    workers[1].send_signal(signal.SIGTERM)
    for worker in workers:
        finish(worker, command.INTERRUPTED)
    for worker in start_workers(start, [stopped, stopped]):
        finish(worker, command.OK)
    assert_equal(weights_of(stopped), weights_of(workers_outputs[0] / "0"), rtol=1e-6, atol=1e-7)


def test_a_worker_that_is_killed_ends_the_other_and_both_go_on(start, workers_outputs, tmp_path):
    """A node is lost: the worker that is left must not wait for ever, and its status has to say that it is a fault."""
    folder = tmp_path / "killed"
    workers = start_workers(start, [folder, folder])
    wait_for(folder / "metrics.jsonl", *workers)
    workers[1].kill()
    output, _ = workers[0].communicate(timeout=WAIT_SECONDS)
    assert workers[0].returncode not in (command.OK, command.USER_ERROR, command.INTERRUPTED), output[-4000:]
    for worker in start_workers(start, [folder, folder]):
        finish(worker, command.OK)
    assert_equal(weights_of(folder), weights_of(workers_outputs[0] / "0"), rtol=1e-6, atol=1e-7)


def test_a_run_in_an_s3_bucket(start, s3_bucket, s3_server):
    environment = {  # what TensorFlow's own s3:// listens to; TensorBoard's file goes through it
        "S3_ENDPOINT": s3_server,
        "S3_USE_HTTPS": "0",
        "S3_VERIFY_SSL": "0",
        "AWS_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    run = f"{s3_bucket}/run"
    finish(start(run, "--epochs", "1", **environment), want=command.OK)  # and not 134, as tensorflow-io would have it
    names = {entry.path.removeprefix(f"{run}/").split("/")[0] for entry in storage.list_files(run)}
    assert names == {"bundle", "checkpoints", "metrics.jsonl", "run.json", "starts.jsonl", "tensorboard"}
    assert bundle.load(f"{run}/bundle").metrics["num_notes"] > 0
