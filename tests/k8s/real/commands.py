"""Encode, tune and generate as Jobs of a real API server, disturbed: what they make is what one process makes that
nobody disturbs. By hand: `make test-cluster`.
"""

from __future__ import annotations

import dataclasses
import json
import signal
from pathlib import Path

import numpy as np
import psycopg
import pytest
import yaml

from generation_jobs import generate, merge
from job_runtime import command
from tests.beam_pipelines.corpora import make_midi, write_files
from tests.beam_pipelines.test_encode_corpus import encode, files_of
from tests.generation_jobs.decoder.cases import make_bundle
from tests.generation_jobs.job.test_task import files_of as all_files_of
from tests.k8s.real.control_plane import Api
from tests.k8s.real.namespace import Namespace
from tests.k8s.real.node import Running
from tests.k8s.rendered import Object
from tests.k8s.test_processes import SPACE
from tests.postgres_server import PASSWORD
from tests.trainer.tiny import make_many, write_dataset
from tests.waiting import wait_for
from trainer import bundle
from trainer.config import TrainConfig
from trainer.training import whole_run

pytestmark = pytest.mark.slow
NUM_FILES = 1000  # so that no task ends before kubectl drains its node
NUM_TRIALS = 2


def busy(namespace: Namespace, job: str) -> Running:
    """A pod that has logged something."""
    return wait_for(lambda: next((each for each in namespace.running(job) if each.log.stat().st_size), None), 120)


def interrupt(namespace: Namespace, job: str) -> None:
    """SIGTERM for the first pod, when Python has hardly started."""
    first = wait_for(lambda: namespace.running(job), 60)[0]
    first.process.terminate()
    assert first.process.wait() in (-signal.SIGTERM, command.INTERRUPTED)


def test_an_encode_of_which_a_task_is_interrupted_and_a_node_drained(api: Api, tmp_path: Path):
    with Namespace(api, tmp_path, "encode", ENCODE_PODS="3") as namespace:
        write_files(namespace.music / "midi", {f"{number:03d}.mid": make_midi(number) for number in range(NUM_FILES)})
        namespace.add_node(room=2)
        namespace.add_node()
        namespace.apply("encode")
        interrupt(namespace, "encode")
        namespace.drain(namespace.node_of(wait_for(lambda: namespace.running("encode"), 60)[0]))
        assert [namespace.end(name, 300)[0] for name in ("encode", "encode-finish")] == ["Complete", "Complete"]
        status = namespace.job("encode")["status"]
        assert (status["completedIndexes"], status.get("failed", 0)) == ("0-2", 0)
        assert len(namespace.tries("encode")) > 4
        alone = tmp_path / "alone-dataset"
        encode("--input", str(namespace.music / "midi"), "--output", str(alone))
        assert files_of(namespace.music / "dataset") == files_of(alone)


def test_an_encode_without_a_corpus(api: Api, tmp_path: Path):
    with Namespace(api, tmp_path, "mistake", ENCODE_PODS="2") as namespace:
        namespace.add_node()
        namespace.apply("encode")
        for name in ("encode", "encode-finish"):
            kind, reason, message = namespace.end(name, 200)
            assert (kind, reason) == ("Failed", "PodFailurePolicy")
            assert "failed with exit code 2 matching FailJob rule at index 2" in message
        assert len(namespace.tries("encode")) == 2 and len(namespace.tries("encode-finish")) == 1


def test_a_generation_of_which_one_node_is_preempted_and_one_lost(api: Api, tmp_path: Path):
    with Namespace(api, tmp_path, "generate", GENERATE_PODS="4") as namespace:
        small = dataclasses.replace(
            make_bundle("categorical", (0,)), dataset={"hash": "d" * 32, "time_base": "milliseconds"}
        )
        bundle.save(str(namespace.music / "run" / "bundle"), small)
        seeds = [{"id": f"s{number}", "num_samples": 40, "max_notes": 200} for number in range(5)]
        (namespace.music / "seeds.jsonl").write_text("".join(f"{json.dumps(seed)}\n" for seed in seeds))
        namespace.add_node(room=2)
        namespace.add_node(room=4)
        namespace.apply("generate")
        interrupt(namespace, "generate")
        wait_for(lambda: len(list(namespace.music.rglob("*.mid"))) > 20, 200)
        namespace.node_of(busy(namespace, "generate")).shut_down()
        namespace.add_node()
        namespace.node_of(busy(namespace, "generate")).lose()
        assert [namespace.end(name, 500)[0] for name in ("generate", "generate-merge")] == ["Complete", "Complete"]
        status = namespace.job("generate")["status"]
        assert (status["completedIndexes"], status.get("failed", 0)) == ("0-3", 0)
        alone = tmp_path / "alone-music"
        argv = ["--bundle", str(namespace.music / "run" / "bundle"), "--seeds", str(namespace.music / "seeds.jsonl")]
        assert generate.main([*argv, "--output", str(alone)]) == command.OK
        assert merge.main(["--output", str(alone)]) == command.OK
        ours, theirs = all_files_of(namespace.music / "music"), all_files_of(alone)
        kept = {name for name in theirs if name.endswith(".mid")} | {"manifest.jsonl"}
        assert len(kept) == 201 and kept == {name for name in ours if name.endswith(".mid")} | {"manifest.jsonl"}
        assert {name: ours[name] for name in kept} == {name: theirs[name] for name in kept}


def test_a_search_that_waits_for_its_password_and_loses_a_worker(api: Api, tmp_path: Path, postgres: str):
    psycopg.connect(f"postgresql://tune:{PASSWORD}@{postgres}/postgres", autocommit=True).execute(
        "CREATE DATABASE tune"
    )
    values = {"TUNE_PODS": "2", "TUNE_SPACE": "/music/space.yaml", "TUNE_TRIALS": f"{NUM_TRIALS}"}
    values["TUNE_FLAGS"] = "--heartbeat-seconds=3"  # so that the lost one's trial is missed soon
    with Namespace(api, tmp_path, "tune", {"tune-postgres:5432": postgres}, **values) as namespace:
        music = namespace.music
        (music / "space.yaml").write_text(yaml.safe_dump(SPACE))
        write_dataset(
            str(music / "dataset"), {"train": make_many([20, 9, 30, 14, 25]), "validation": make_many([12, 20])}
        )
        namespace.add_node()
        namespace.apply("tune")
        reasons = lambda: [waiting_for(pod) for pod in namespace.pods("tune")]  # noqa: E731
        wait_for(lambda: reasons() == 2 * ["CreateContainerConfigError"], 30)
        password = ["generic", "tune-postgres", f"--from-literal=password={PASSWORD}"]
        assert api.kubectl("-n", "tune", "create", "secret", *password).returncode == 0
        wait_for(lambda: namespace.running("tune") and any(music.rglob("trials/*/metrics.jsonl")), 300)
        namespace.running("tune")[-1].process.kill()
        ends = {name: namespace.end(name, 500)[:2] for name in ("tune-create", "tune")}
        assert {kind for kind, _ in ends.values()} == {"Complete"}, ends
        assert len(namespace.tries("tune")) == 3 and namespace.job("tune")["status"]["failed"] == 1
        (report,) = music.rglob("trials.json")
        found = json.loads(report.read_text())
        assert sum(found["counts"][state] for state in ("complete", "pruned")) == NUM_TRIALS
        config = TrainConfig(**yaml.safe_load((music / "tuned" / "best.yaml").read_text()))
        alone = tmp_path / "alone-run"
        with command.StopSignal() as stop:
            whole_run.train(config, data=str(music / "dataset"), folder=str(alone), stop=stop)
        ours = bundle.load(str(report.parent / "trials" / f"{found['best']:04d}" / "bundle"))
        for name, array in bundle.load(str(alone / "bundle")).weights.items():
            np.testing.assert_allclose(ours.weights[name], array, rtol=1e-5, atol=1e-6, err_msg=name)


def waiting_for(pod: Object) -> str | None:
    containers = pod["status"].get("containerStatuses", [{}])
    return containers[0].get("state", {}).get("waiting", {}).get("reason")
