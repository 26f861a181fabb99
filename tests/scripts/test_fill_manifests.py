"""An environment fills the manifests, or every value that is missing or wrong is named at once."""

from __future__ import annotations

import os
import pathlib
import re
import subprocess

import pytest

from job_runtime import command
from job_runtime.problem_report import UserError
from scripts import environment, fill_manifests
from scripts.environment import Environment, filled
from tests.k8s.rendered import ENVIRONMENTS, K8S, OWN, fill, job_specs, kubectl, of_kind, render_folder

GKE = (K8S / "environments" / "gke.env").read_text()


def problems(tmp_path, text: str) -> list[str]:
    path = tmp_path / "my.env"
    path.write_text(text)
    with pytest.raises(UserError) as caught:
        fill_manifests.main([str(path), "--output", str(tmp_path / "deploy")])
    assert not (tmp_path / "deploy").exists()
    return [each.removeprefix(f"{path}") for each in caught.value.problems]


def test_every_value_that_is_not_set_is_named_at_once(tmp_path):
    line = {name: GKE.split("\n").index(f"{name}=") + 1 for name in ("PROJECT", "BUCKET")}
    assert problems(tmp_path, GKE.replace("GPUS=1\n", "")) == [
        f":{line['PROJECT']}: PROJECT is not set, want the id of a Google Cloud project; REGISTRY needs it",
        f":{line['BUCKET']}: BUCKET is not set, want the name of a bucket, without gs://; CORPUS needs it",
        ": GPUS is missing, want a whole number, 1 or more; k8s/components/gke/gpu-job.yaml needs it",
    ]


def test_only_what_the_chosen_jobs_use_must_be_set(tmp_path):
    text = re.sub(r"^(DATAFLOW|GENERATE|TUNE|SAMPLES|QUEUE).*\n", "", GKE, flags=re.MULTILINE)
    text = text.replace("PROJECT=", "PROJECT=my-project").replace("BUCKET=", "BUCKET=my-music")
    text = re.sub("JOBS=.*", 'JOBS="encode train"', text)
    (tmp_path / "my.env").write_text(text)
    assert fill_manifests.main([str(tmp_path / "my.env"), "--output", str(tmp_path / "deploy")]) == command.OK
    made = sorted(path.name for path in (tmp_path / "deploy").iterdir())
    assert made == ["base", "components", "encode", "environment.env", "monitoring", "train"]


def test_every_wrong_line_is_named_at_once(tmp_path):
    text = """BUCKET=gs://music
ENCODE_POD=8
NAMESPACE=a b
ENCODE_CPU=1
ENCODE_CPU=2
RUN=${MUSIC}/run
ENCODE_IMAGE=registry/encode
SUFFIX="-two
JOBS="encode dance"
COMPONENTS=local
"""
    found = problems(tmp_path, text)
    assert found[:8] == [
        ":1: BUCKET is 'gs://music', want the name of a bucket, without gs://",
        ":2: ENCODE_POD is not known, did you mean ENCODE_PODS?",
        ":3: 'NAMESPACE=a b', want NAME=value, in quotes if it has spaces",
        ":5: ENCODE_CPU is set again, after line 4",
        ":6: RUN refers to MUSIC, want names that are set further up",
        ":7: ENCODE_IMAGE is 'registry/encode', want an image with a tag or a digest:"
        " REGISTRY/encode:0.1.0, REGISTRY/encode@sha256:...",
        ":8: 'SUFFIX=\"-two': No closing quotation, want NAME=value",
        ": JOBS: there is no dance, want some of common, compare, encode, encode-dataflow, evaluate, evaluate-music,"
        " export, files, generate, queue, report, seeds, tensorboard, train, train-jobset, train-workers, tune",
    ]
    missing = {each.split()[1] for each in found[8:] if " is missing, " in each}
    assert missing == {"NAMESPACE", "CORPUS", "DATASET", "ENCODE_PODS", "SUFFIX", "STORAGE_CLASS"} | {
        "ACCESS_MODE",
        "VOLUME_SIZE",
        *("ENCODE_MEMORY", "ENCODE_FLAGS", "FINISH_MEMORY", "ENCODE_DEADLINE"),
    }


def test_flags_become_items_of_the_list():
    text = "args:\n  - a=${RUN}\n  - ${TRAIN_FLAGS}\n  - b\n"
    assert filled(text, {"RUN": "/r", "TRAIN_FLAGS": ""}) == "args:\n  - a=/r\n  - b\n"
    flags = "--a --b='c d' \"--c=it's\""
    assert filled(text, {"RUN": "/r", "TRAIN_FLAGS": flags}) == (
        "args:\n  - a=/r\n  - '--a'\n  - '--b=c d'\n  - '--c=it''s'\n  - b\n"
    )


def test_images_by_digest_and_a_shell_read_the_same_values(tmp_path):
    digest = f"registry.example:5000/encode@sha256:{'0f' * 32}"
    text = GKE.replace("PROJECT=", "PROJECT=my-project").replace("BUCKET=", "BUCKET=my-music")
    text = re.sub("^ENCODE_IMAGE=.*", f"ENCODE_IMAGE={digest}", text, flags=re.MULTILINE)
    found = Environment("my.env", text)
    assert found.problems == [] and found.values["ENCODE_IMAGE"] == digest
    assert set(found.values) <= set(environment.VARIABLES)
    (tmp_path / "my.env").write_text(text)
    shell = subprocess.run(
        ["bash", "-c", f"set -eua; . {tmp_path}/my.env; env -0"],
        env={"PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        check=True,
    )
    said = dict(each.split("=", 1) for each in shell.stdout.rstrip("\0").split("\0"))
    assert {name: said[name] for name in found.values} == found.values


def test_an_output_is_replaced_but_nothing_else_is(tmp_path):
    first = fill("local", tmp_path)
    (first / "encode" / "own.yaml").write_text("")
    assert fill("local", tmp_path, JOBS="encode") == first
    made = ["base", "components", "encode", "environment.env", "monitoring"]
    assert sorted(path.name for path in first.iterdir()) == made
    assert [path.name for path in (first / "encode").iterdir()] == ["kustomization.yaml"]
    (tmp_path / "precious").mkdir()
    with pytest.raises(UserError, match="precious exists and was not made from an environment"):
        fill_manifests.main([str(tmp_path / "my.env"), "--output", str(tmp_path / "precious")])


def test_a_suffix_lets_two_jobs_of_a_kind_run(tmp_path):
    kubectl()
    name, values = ENVIRONMENTS["gke"]
    deploy = fill(name, tmp_path, **values, SUFFIX="-b", TRAIN_PODS="16", TRAIN_FLAGS='"--units=64 --layers=1"')
    jobs = {job: dict(job_specs(render_folder(deploy / job))) for job in ("train-workers", "train-jobset", "tune")}
    assert set(jobs["tune"]) == {"tune-b", "tune-create-b"}
    workers, jobset = jobs["train-workers"]["train-workers-b"], jobs["train-jobset"]["train-b-worker"]
    for job, pattern in (
        (workers, "train-workers-b-{index}.train-workers-b"),
        (jobset, "train-b-worker-0-{index}.train-b"),
    ):
        (container,) = job["template"]["spec"]["containers"]
        assert (job["completions"], job["parallelism"]) == (16, 16)
        assert container["args"][-4:] == [
            "--num-workers=16",
            f"--worker-host-pattern={pattern}:2222",
            "--units=64",
            "--layers=1",
        ]
        assert container["resources"]["limits"]["nvidia.com/gpu"] == 1
    assert workers["template"]["spec"]["subdomain"] == "train-workers-b"


def test_a_queue_covers_all_that_a_pod_may_ask_for(tmp_path):
    kubectl()
    name, values = ENVIRONMENTS["spot"]
    deploy = fill(name, tmp_path, **values, JOBS='"queue train"')
    queue = of_kind(render_folder(deploy / "queue"), "ClusterQueue")["midi-lstm"]
    local = of_kind(render_folder(deploy / "queue"), "LocalQueue")["midi-lstm"]
    (group,) = queue["spec"]["resourceGroups"]
    train = of_kind(render_folder(deploy / "train"), "Job")["train"]
    (container,) = train["spec"]["template"]["spec"]["containers"]
    assert set(group["coveredResources"]) == set(container["resources"]["requests"])
    assert [each["name"] for each in group["flavors"][0]["resources"]] == group["coveredResources"]
    assert train["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] == local["metadata"]["name"]
    assert local["metadata"]["namespace"] == "midi-lstm" and "namespace" not in queue["metadata"]


@pytest.mark.parametrize("path", sorted((K8S / "environments").glob("*.env")), ids=lambda path: path.stem)
def test_the_files_that_come_along_set_all_but_what_only_a_user_knows(path: pathlib.Path):
    found = Environment(str(path), path.read_text())
    assert found.problems == []
    empty = {name for name in re.findall(r"^([A-Z_]+)=$", path.read_text(), re.MULTILINE)}
    assert empty - {"SUFFIX"} == (set(OWN) if path.stem == "gke" else set())
