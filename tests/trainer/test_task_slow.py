"""The command as processes, under every strategy: they train as one device does, and signals and kills cost no bit."""

import dataclasses
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

from job_runtime import command, storage
from job_runtime.storage import array_file
from midi_codec.fields import MSE
from tests.trainer.test_task import TIMED, flags
from tests.trainer.tiny import make_many, write_dataset
from trainer import bundle
from trainer.run_output import checkpoint

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]
# Three chunks of a validation, fewer pieces than four replicas; what runs do at every validation, and an early end.
SPLITS = {"train": make_many([20, 9, 30, 14, 25]), "validation": make_many([600, 12, 20])}
SETTINGS = {"epochs": "30", "patience": "4", "samples": "1", "timing_loss": MSE, "weight_average": "0.9"}
WAIT_SECONDS = 900  # on a machine with ten times as much to do as processors
TF_CONFIG_NAMES = ("TF_CONFIG", "JOB_COMPLETION_INDEX")


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> str:
    root = str(tmp_path_factory.mktemp("data"))
    write_dataset(root, SPLITS)
    return root


@dataclasses.dataclass(frozen=True)
class Shape:
    """How many processes train together, and on how many devices each."""

    workers: int
    devices: int

    @property
    def replicas(self) -> int:
        return self.workers * self.devices


SHAPES = {
    "one device": Shape(1, 1),
    "two devices": Shape(1, 2),
    "two workers": Shape(2, 1),
    "two workers of two devices": Shape(2, 2),
    "four devices": Shape(1, 4),
}


def under_the_first(number: int) -> pytest.MarkDecorator:
    """Only the first shapes; the others have nothing of their own that a disturbance could meet."""
    names = list(SHAPES)[:number]
    return pytest.mark.parametrize("shape", [SHAPES[name] for name in names], ids=names, indirect=True)


@pytest.fixture(scope="module")
def start(data):
    """Starts the processes of a shape; those that are left at the end are killed."""
    running = []

    def start_all(output: Path | str, shape: Shape, *more: str, **environment: str) -> list[subprocess.Popen]:
        inherited = {name: value for name, value in os.environ.items() if name not in TF_CONFIG_NAMES}
        argv = ["--data", data, "--output", str(output), *flags(**SETTINGS), *more]
        if shape.workers > 1:
            argv += ["--num-workers", str(shape.workers), "--worker-host-pattern", host_pattern()]
        processes = [
            subprocess.Popen(
                [sys.executable, "-m", "tests.trainer.on_devices", str(shape.devices), "trainer.task", *argv],
                cwd=ROOT,
                env={**inherited, "CUDA_VISIBLE_DEVICES": "", "JOB_COMPLETION_INDEX": str(index), **environment},
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
            for index in range(shape.workers)
        ]
        running.extend(processes)
        return processes

    yield start_all
    for process in running:
        process.kill()
        process.wait()


def finish(processes: list[subprocess.Popen], want: int) -> list[str]:
    outputs = [process.communicate(timeout=WAIT_SECONDS)[0] for process in processes]
    for process, output in zip(processes, outputs, strict=True):
        assert process.returncode == want, output[-4000:]
    return outputs


def wait_for(folder: Path, pattern: str, processes: list[subprocess.Popen]) -> None:
    deadline = time.monotonic() + WAIT_SECONDS
    while not any(folder.glob(pattern)):
        assert time.monotonic() < deadline
        for process in processes:
            assert process.poll() is None, process.communicate()[0][-4000:]
        time.sleep(0.02)


@dataclasses.dataclass(frozen=True)
class Result:
    """All that a run leaves which no clock decides."""

    weights: dict[str, np.ndarray]
    metrics: list[dict]
    bundle: str
    samples: dict[str, bytes]


def result_of(folder: Path) -> Result:
    arrays = array_file.read(checkpoint.paths(str(folder / "checkpoints"))[-1])
    del arrays["state"]
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return Result(
        weights=arrays,
        metrics=[{name: value for name, value in line.items() if name not in TIMED} for line in lines],
        bundle=bundle.load(str(folder / "bundle")).hash,
        samples={str(path.relative_to(folder)): path.read_bytes() for path in folder.glob("samples/*/*")},
    )


def assert_identical(folder: Path, undisturbed: Path) -> None:
    got, want = result_of(folder), result_of(undisturbed)
    assert got.metrics == want.metrics and got.bundle == want.bundle
    assert got.weights.keys() == want.weights.keys()
    for name, array in want.weights.items():
        np.testing.assert_array_equal(got.weights[name], array, err_msg=name)
    assert got.samples == want.samples
    assert not list(folder.rglob("*.partial"))


@pytest.fixture(scope="module", params=list(SHAPES.values()), ids=list(SHAPES))
def shape(request) -> Shape:
    return request.param


@pytest.fixture(scope="module")
def one_device(start, tmp_path_factory) -> Path:
    """The run folder of one process on one device."""
    folder = tmp_path_factory.mktemp("one")
    finish(start(folder, SHAPES["one device"]), command.OK)
    return folder


@pytest.fixture(scope="module")
def undisturbed(start, shape, one_device, tmp_path_factory) -> Path:
    """The run folder of the processes of a shape, of which only the first writes."""
    if shape == SHAPES["one device"]:
        return one_device
    folder = tmp_path_factory.mktemp("undisturbed")
    outputs = finish(start(folder, shape), command.OK)
    name = "MultiWorkerMirroredStrategy" if shape.workers > 1 else "MirroredStrategy"
    assert all(f"training on {shape.replicas} replica(s) with {name}" in output for output in outputs)
    assert len((folder / "starts.jsonl").read_text().splitlines()) == 1
    return folder


def test_replicas_train_as_one(undisturbed, one_device):
    # Sums in another order differ in their last bits, and hundreds of steps of Adam carry that on.
    got, want = (bundle.load(str(folder / "bundle")) for folder in (undisturbed, one_device))
    assert got.metrics["num_notes"] == want.metrics["num_notes"]
    assert got.metrics["validation_nll"] == pytest.approx(want.metrics["validation_nll"], rel=1e-3)
    got_line, want_line = (result_of(folder).metrics[0] for folder in (undisturbed, one_device))
    for name in ("train_loss", "validation_nll", "validation_nll_pitch", "learning_rate", "step"):
        assert got_line[name] == pytest.approx(want_line[name], rel=1e-5), name


@under_the_first(4)
def test_a_signal_to_one_process_stops_all_and_the_same_command_goes_on(start, shape, undisturbed, tmp_path):
    processes = start(tmp_path / "run", shape)
    # After the first sample: while the chief compiles the sampler, another worker that waits for it leaves by itself.
    wait_for(tmp_path / "run", "samples/*/*.mid", processes)
    processes[-1].send_signal(signal.SIGTERM)
    for output in finish(processes, command.INTERRUPTED):
        assert "is saved; run the same command again to continue" in output
    assert len((tmp_path / "run" / "metrics.jsonl").read_text().splitlines()) < len(result_of(undisturbed).metrics)
    finish(start(tmp_path / "run", shape), command.OK)
    assert_identical(tmp_path / "run", undisturbed)


@under_the_first(3)
def test_a_kill_of_one_process_costs_no_bit(start, shape, undisturbed, tmp_path):
    """A node is lost: the workers that are left must not wait for ever, and their status says that it is a fault."""
    processes = start(tmp_path / "run", shape)
    wait_for(tmp_path / "run", "metrics.jsonl", processes)
    processes[-1].kill()
    for process in processes:
        output, _ = process.communicate(timeout=WAIT_SECONDS)
        assert process.returncode not in (command.OK, command.USER_ERROR, command.INTERRUPTED), output[-4000:]
    finish(start(tmp_path / "run", shape), command.OK)
    assert_identical(tmp_path / "run", undisturbed)


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


def test_a_run_in_an_s3_bucket(start, s3_bucket, s3_server):
    environment = {  # what TensorFlow's own s3:// listens to; TensorBoard's file goes through it
        "S3_ENDPOINT": s3_server,
        "S3_USE_HTTPS": "0",
        "S3_VERIFY_SSL": "0",
        "AWS_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    run = f"{s3_bucket}/run"
    processes = start(run, SHAPES["one device"], "--epochs", "1", "--samples", "0", **environment)
    finish(processes, command.OK)  # and not 134, as tensorflow-io would have it
    names = {entry.path.removeprefix(f"{run}/").split("/")[0] for entry in storage.list_files(run)}
    assert names == {"bundle", "checkpoints", "metrics.jsonl", "run.json", "starts.jsonl", "tensorboard"}
    assert bundle.load(f"{run}/bundle").metrics["num_notes"] > 0
