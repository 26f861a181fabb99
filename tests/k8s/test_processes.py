"""The rendered Jobs, run: what they make is what one process makes that nobody disturbs."""

from __future__ import annotations

import dataclasses
import json
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
from tests.k8s.processes import Cluster, Job, Pod
from tests.k8s.rendered import Object, fill, kubectl, render_folder
from tests.postgres_server import PASSWORD
from tests.trainer.tiny import make_many, write_dataset
from trainer import bundle
from trainer.config import TrainConfig
from trainer.training import whole_run

NUM_FILES = 170


@pytest.fixture(scope="module", autouse=True)
def there_is_kubectl() -> None:
    kubectl()


def overlay(folder: Path, job: str, **values: str) -> list[Object]:
    """A job of the local environment, with other values."""
    return render_folder(fill("local", folder, **values) / job)


def fake_job(**spec) -> Job:
    rules = [
        {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
        {"action": "FailJob", "onExitCodes": {"containerName": "c", "operator": "In", "values": [2]}},
    ]
    return Job("j", {"completions": 2, "parallelism": 2, "podFailurePolicy": {"rules": rules}, **spec})


def end(job: Job, index: int, status: int, *, disrupted: bool = False) -> None:
    pod = Pod("j", index, None, Path(), 1.0, is_disrupted=disrupted)
    job.running.append(pod)
    job.ended(pod, status)


def test_the_controllers_rules():
    job = fake_job(completionMode="Indexed", backoffLimitPerIndex=1, maxFailedIndexes=0)
    for _ in range(5):
        end(job, 0, 143, disrupted=True)
    end(job, 0, 1)
    assert (job.failures[0], job.failure, job.waiting()) == (1, None, [0, 1])
    end(job, 1, 0)
    assert job.waiting() == [0]
    end(job, 0, 1)
    assert job.failure == ("MaxFailedIndexesExceeded", "indexes [0] failed") and job.is_over

    job = fake_job(backoffLimit=6)
    end(job, 0, 2)
    assert job.failure == ("PodFailurePolicy", "Container c failed with exit code 2 matching FailJob rule at index 1")
    assert job.waiting() == [] and job.is_over


@pytest.mark.slow
def test_encode_by_three_tasks_of_which_one_is_lost_and_a_last_step(tmp_path):
    with Cluster(tmp_path, overlay(tmp_path / "own", "encode", ENCODE_PODS="3")) as cluster:
        music = cluster.volume("music")
        corpus = {f"{number:03d}.mid": make_midi(number) for number in range(NUM_FILES)}
        write_files(music / "midi", corpus)
        lost: list[Pod] = []

        def lose_one(cluster: Cluster) -> None:
            pods = cluster.running("encode")
            if not lost and pods and pods[-1].lose():
                lost.append(pods[-1])

        assert cluster.run(seconds=240, meanwhile=lose_one) == {"encode": None, "encode-finish": None}
        assert len(cluster.pods) == 5 and lost  # three tasks, one of them twice, and the last step
        alone = tmp_path / "alone"
        encode("--input", str(music / "midi"), "--output", str(alone))
        assert files_of(music / "dataset") == files_of(alone)
        said = [json.loads(line) for pod in cluster.pods for line in pod.log.read_text().splitlines()]
        assert {record["command"] for record in said} == {"python -m beam_pipelines.encode_corpus"}
        assert {record.get("task") for record in said} == {0, 1, 2, None}


@pytest.mark.slow
def test_a_mistake_fails_the_job_at_once(tmp_path):
    with Cluster(tmp_path, overlay(tmp_path / "own", "encode", ENCODE_PODS="3")) as cluster:
        failures = cluster.run(seconds=120)  # there is no corpus
        assert {reason for reason, _ in failures.values()} == {"PodFailurePolicy"}
        assert len(cluster.pods) <= 4 + 1


TRAINING = {
    "units": 16,
    "layers": 1,
    "head_units": 16,
    "batch_size": 4,
    "window": 16,
    "epochs": 40,
    "dropout": 0.2,
    "samples": 0,
    "patience": None,
    **{
        name: getattr(TrainConfig(), name) for name in ("final_rate", "warmup_steps", "weight_average", "context_units")
    },
    **{name: getattr(TrainConfig(), name) for name in ("learning_rate", "evaluate_every", "attention")},
}


def weights_of(folder: Path) -> dict[str, np.ndarray]:
    return bundle.load(str(folder / "bundle")).weights


@pytest.mark.slow
@pytest.mark.parametrize("how", ["drained", "lost"])
def test_two_workers_of_which_one_goes_away_learn_what_one_alone_learns(tmp_path, how):
    objects = overlay(tmp_path / "own", "train-workers", TRAIN_SETTINGS="/music/train.yaml")
    splits = {"train": make_many([20, 9, 30, 14, 25]), "validation": make_many([12, 20])}
    with Cluster(tmp_path, objects) as cluster:
        music = cluster.volume("music")
        (music / "train.yaml").write_text(yaml.safe_dump(TRAINING))
        write_dataset(str(music / "dataset"), splits)
        gone: list[Pod] = []

        def take_one(cluster: Cluster) -> None:
            metrics, pods = music / "run" / "metrics.jsonl", cluster.running("train-workers")
            if not gone and pods and metrics.exists() and len(metrics.read_text().splitlines()) > 3:
                if how == "lost":
                    assert pods[-1].lose()
                else:
                    pods[-1].disrupt()
                gone.append(pods[-1])

        assert cluster.run(seconds=400, meanwhile=take_one) == {"train-workers": None}
        assert gone and len(cluster.pods) >= 4  # both start again
        alone = tmp_path / "alone"
        with command.StopSignal() as stop:
            whole_run.train(TrainConfig(**TRAINING), data=str(music / "dataset"), folder=str(alone), stop=stop)
        ours, theirs = weights_of(music / "run"), weights_of(alone)
        assert set(ours) == set(theirs)
        for name, array in theirs.items():
            np.testing.assert_allclose(ours[name], array, rtol=1e-3, atol=1e-4, err_msg=name)


@pytest.mark.slow
def test_four_tasks_of_which_two_are_lost_make_what_one_makes(tmp_path):
    with Cluster(tmp_path, overlay(tmp_path / "own", "generate", GENERATE_PODS="4")) as cluster:
        music = cluster.volume("music")
        small = dataclasses.replace(
            make_bundle("categorical", (0,)), dataset={"hash": "d" * 32, "time_base": "milliseconds"}
        )
        bundle.save(str(music / "run" / "bundle"), small)
        seeds = [{"id": f"s{number}", "num_samples": 80, "max_notes": 200} for number in range(5)]
        (music / "seeds.jsonl").write_text("".join(f"{json.dumps(seed)}\n" for seed in seeds))
        lost: list[Pod] = []

        def lose_two(cluster: Cluster) -> None:
            pods, made = cluster.running("generate"), list((music / "music").glob("midi/*/*.mid"))
            if len(lost) < 2 and len(made) > 40 * len(lost) and pods and pods[0].lose():
                lost.append(pods[0])

        assert cluster.run(seconds=500, meanwhile=lose_two) == {"generate": None, "generate-merge": None}
        assert len(lost) == 2 and len(cluster.pods) == 7
        alone = tmp_path / "alone"
        argv = [
            "--bundle",
            str(music / "run" / "bundle"),
            "--seeds",
            str(music / "seeds.jsonl"),
            "--output",
            str(alone),
        ]
        assert generate.main(argv) == merge.main(["--output", str(alone)]) == command.OK
        ours, theirs = all_files_of(music / "music"), all_files_of(alone)
        pieces = {name for name in theirs if name.endswith(".mid")}
        assert len(pieces) == 400 and pieces == {name for name in ours if name.endswith(".mid")}
        for name in {*pieces, "manifest.jsonl"}:
            assert ours[name] == theirs[name], name


SPACE = {
    "learning_rate": {"low": 1e-3, "high": 3e-2, "log": True},
    "units": [16, 32],
    "timing_loss": ["categorical", "mixture"],
    "layers": 1,
    "head_units": 16,
    "window": 16,
    "batch_size": 4,
    "epochs": 6,
    "patience": "none",
}
NUM_TRIALS = 4


@pytest.mark.slow
def test_a_search_by_two_workers_of_which_one_is_lost(tmp_path, postgres):
    psycopg.connect(f"postgresql://tune:{PASSWORD}@{postgres}/postgres", autocommit=True).execute(
        "CREATE DATABASE tune"
    )
    values = {"TUNE_PODS": "2", "TUNE_SPACE": "/music/space.yaml", "TUNE_TRIALS": f"{NUM_TRIALS}"}
    values["TUNE_FLAGS"] = "--heartbeat-seconds=3"  # so that the lost one's trial is missed soon
    objects = overlay(tmp_path / "own", "tune", **values)
    given = {"hosts": {"tune-postgres:5432": postgres}, "secrets": {("tune-postgres", "password"): PASSWORD}}
    with Cluster(tmp_path, objects, **given) as cluster:
        music = cluster.volume("music")
        (music / "space.yaml").write_text(yaml.safe_dump(SPACE))
        write_dataset(
            str(music / "dataset"), {"train": make_many([20, 9, 30, 14, 25]), "validation": make_many([12, 20])}
        )
        lost: list[Pod] = []

        def lose_one(cluster: Cluster) -> None:
            pods, begun = cluster.running("tune"), list(music.rglob("trials/*/metrics.jsonl"))
            if not lost and begun and pods and pods[-1].lose():
                lost.append(pods[-1])

        assert cluster.run(seconds=500, meanwhile=lose_one) == {"tune": None, "tune-create": None}
        assert lost and sum(pod.job == "tune" for pod in cluster.pods) == 3
        (report,) = music.rglob("trials.json")
        found = json.loads(report.read_text())
        assert sum(found["counts"][state] for state in ("complete", "pruned")) == NUM_TRIALS
        assert found["counts"]["running"] == 0
        (best,) = music.rglob("best.yaml")
        config = TrainConfig(**yaml.safe_load(best.read_text()))
        assert config.units in SPACE["units"] and config.epochs == 6
        assert not any(PASSWORD in pod.log.read_text() for pod in cluster.pods)

        # what a worker made of the best trial is what one process makes of its settings that nobody disturbs
        alone = tmp_path / "alone"
        with command.StopSignal() as stop:
            whole_run.train(config, data=str(music / "dataset"), folder=str(alone), stop=stop)
        ours = bundle.load(str(report.parent / "trials" / f"{found['best']:04d}" / "bundle"))
        for name, array in bundle.load(str(alone / "bundle")).weights.items():
            np.testing.assert_allclose(ours.weights[name], array, rtol=1e-5, atol=1e-6, err_msg=name)
