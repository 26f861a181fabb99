"""The command as processes: three workers of which one is killed, a signal, Postgres, a bucket."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from job_runtime import command, storage
from tests.postgres_server import PASSWORD
from tests.trainer.tiny import PIECES_BY_SPLIT, write_dataset
from tests.trainer.tune.test_study_storage import race
from trainer.config import TrainConfig
from trainer.tune import study_storage, trials

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")]
ROOT = Path(__file__).parents[3]
WAIT_SECONDS = 900  # on a machine with ten times as much to do as processors
SPACE = """
learning_rate: {low: 1.0e-3, high: 3.0e-2, log: true}
units: [16, 32]
timing_loss: [categorical, mixture, mse]
layers: 1
head_units: 16
window: 16
batch_size: 4
patience: none
evaluate_every: 1
"""


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("tune")
    write_dataset(str(folder / "data"), PIECES_BY_SPLIT)
    return folder


@pytest.fixture
def start(root, tmp_path) -> Iterator:
    """Starts a worker; those that are left at the end are killed."""
    running = []

    def start_one(*more: str, epochs: int = 4, output: str = "", **environment: str) -> subprocess.Popen:
        (tmp_path / "space.yaml").write_text(f"{SPACE}epochs: {epochs}\n")
        argv = ["--data", str(root / "data"), "--space", str(tmp_path / "space.yaml"), "--heartbeat-seconds", "3"]
        process = subprocess.Popen(
            [sys.executable, "-m", "trainer.tune", *argv, "--output", output or str(tmp_path / "out"), *more],
            cwd=ROOT,
            env={**os.environ, "CUDA_VISIBLE_DEVICES": "", **environment},
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


def report_of(out: Path) -> dict:
    return json.loads((out / "trials.json").read_text())


def starts_of(out: Path) -> dict[str, int]:
    """How often each trial's run was started."""
    return {
        path.parent.name: len(path.read_text().splitlines()) for path in sorted((out / "trials").glob("*/starts.jsonl"))
    }


def test_three_workers_share_a_study_and_a_killed_ones_trial_goes_on(start, tmp_path):
    out = tmp_path / "out"
    url = f"sqlite:///{tmp_path}/study.db"
    flags = ["--num-trials", "4", "--storage", url, "--pruner", "none", "--best-config", str(tmp_path / "best.yaml")]
    victim = start(*flags, epochs=6)
    wait_for(out / "trials" / "0000" / "metrics.jsonl", victim)  # it has validated and saved
    victim.kill()
    victim.wait()
    workers = [start(*flags, epochs=6) for _ in range(3)]  # the killed one is started again
    texts = [finish(worker, command.OK) for worker in workers]
    report = report_of(out)
    assert report["counts"]["complete"] == 4 and sum(report["counts"].values()) == 4
    assert sum(f"trial {trial}:" in text for trial in range(1, 4) for text in texts) >= 3
    # Nothing is trained twice, but for the trial whose worker was killed: that one goes on, in its folder.
    assert starts_of(out) == {"0000": 2} | {f"{number:04d}": 1 for number in range(1, 4)}
    assert [trial["attempts"] for trial in report["trials"]] == [2, 1, 1, 1]
    assert report["trials"][0]["validations"].keys() == {str(number) for number in range(1, 7)}
    assert any("trial 0, attempt 2: " in text for text in texts)
    lines = [json.loads(line) for line in (out / "trials" / "0000" / "metrics.jsonl").read_text().splitlines()]
    assert [round(line["epoch"]) for line in lines] == list(range(1, 7))
    best = min(report["trials"], key=lambda trial: trial["value"])
    settings = yaml.safe_load((tmp_path / "best.yaml").read_text())
    assert report["best"] == best["trial"]
    assert settings.items() >= best["params"].items()
    assert TrainConfig(**settings).problems() == []
    assert "data:image/png;base64," in (out / "report.html").read_text()


def test_a_signal_saves_the_trial_and_the_same_command_ends_as_if_undisturbed(start, tmp_path, root):
    undisturbed = start("--num-trials", "2", "--study", "a", output=str(tmp_path / "undisturbed"), epochs=10)
    finish(undisturbed, command.OK)
    out = tmp_path / "out"
    first = start("--num-trials", "2", "--study", "a", epochs=10)
    wait_for(out / "trials" / "0000" / "metrics.jsonl", first)
    signalled = time.monotonic()
    first.send_signal(signal.SIGTERM)
    text = finish(first, command.INTERRUPTED)
    assert time.monotonic() - signalled < 10
    assert "Traceback" not in text
    finish(start("--num-trials", "2", "--study", "a", epochs=10), command.OK)
    got, want = report_of(out), report_of(tmp_path / "undisturbed")
    assert [trial["params"] for trial in got["trials"]] == [trial["params"] for trial in want["trials"]]
    assert [trial["validations"] for trial in got["trials"]] == [trial["validations"] for trial in want["trials"]]
    assert [trial["attempts"] for trial in got["trials"]] == [2, 1]
    trained = start_task(root, tmp_path / "best-run", out / "best.yaml")
    assert trained.returncode == command.OK, trained.stdout[-3000:]


def start_task(root: Path, output: Path, config: Path) -> subprocess.CompletedProcess[str]:
    argv = ["--data", str(root / "data"), "--output", str(output), "--config", str(config), "--epochs", "1"]
    return subprocess.run(
        [sys.executable, "-m", "trainer.task", *argv, "--samples", "0"],
        cwd=ROOT,
        env={**os.environ, "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
    )


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def test_workers_that_start_at_the_same_moment_make_one_study_in_postgres(postgres, monkeypatch):
    monkeypatch.setenv("PGPASSWORD", PASSWORD)
    race(f"postgresql://tune@{postgres}/postgres")


def test_workers_of_a_cluster(start, tmp_path, postgres):
    """As the manifests have it: an init Job, then an Indexed Job; Postgres; one worker dies and is started again."""
    url, out = f"postgresql://tune:{PASSWORD}@{postgres}/postgres", tmp_path / "out"
    flags = ["--num-trials", "3", "--storage", url, "--study", "cluster"]
    texts = [finish(start(*flags, "--create-only"), command.OK)]
    assert not out.exists()
    workers = [start(*flags, epochs=4, JOB_COMPLETION_INDEX=str(index)) for index in range(2)]
    wait_for(out / "trials" / "0001" / "run.json", *workers)
    workers[1].kill()
    workers[1].wait()
    texts += [finish(start(*flags, JOB_COMPLETION_INDEX="1"), command.OK), finish(workers[0], command.OK)]
    assert sum(report_of(out)["counts"][state] for state in ("complete", "pruned")) == 3
    files = [path.read_bytes() for path in out.rglob("*") if path.is_file()]
    assert not any(PASSWORD in text for text in texts)
    assert not any(PASSWORD.encode() in data for data in files)


def test_trials_lie_in_a_bucket(start, s3_bucket, s3_server, tmp_path):
    environment = {  # what TensorFlow's own s3:// listens to; TensorBoard's file goes through it
        "S3_ENDPOINT": s3_server,
        "S3_USE_HTTPS": "0",
        "S3_VERIFY_SSL": "0",
        "AWS_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    flags = ["--num-trials", "1", "--storage", f"{tmp_path}/study.journal"]
    text = finish(start(*flags, output=f"{s3_bucket}/out", epochs=1, **environment), command.OK)
    assert "without heartbeats" in text
    names = {entry.path.removeprefix(f"{s3_bucket}/out/") for entry in storage.list_files(f"{s3_bucket}/out")}
    assert {"best.yaml", "report.html", "trials.json", "trials/0000/bundle/bundle.json"} <= names


def test_a_killed_worker_of_a_journal_leaves_its_trial_until_told(start, tmp_path):
    out, url = tmp_path / "out", str(tmp_path / "study.journal")
    victim = start("--num-trials", "1", "--storage", url, epochs=10)
    wait_for(out / "trials" / "0000" / "metrics.jsonl", victim)
    victim.kill()
    victim.wait()
    finish(start("--num-trials", "1", "--storage", url, epochs=10), command.OK)
    assert report_of(out)["counts"]["running"] == 1
    opened = study_storage.open_storage(url, beat_seconds=1)
    assert len(trials.running(study_storage.load(opened, "tune"))) == 1
    taken = start("--num-trials", "1", "--storage", url, "--retry-running", epochs=10)
    text = finish(taken, command.OK)
    assert "1 trial(s) that counted as running are continued" in text
    assert report_of(out)["counts"]["complete"] == 1
