"""The recipe of the images: hadolint is content, names and versions fit the rest, only Dataflow runs as root."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

from benchmarks.harness.machine import ROOT

PATH = ROOT / "k8s" / "images" / "Dockerfile"
TEXT = PATH.read_text()
SCRIPT = (ROOT / "scripts" / "build_images.sh").read_text()
IMAGES = dict(re.findall(r"^ +\[([a-z-]+)\]=(\S+)$", SCRIPT, re.MULTILINE))  # target and name:tag
LOCK = dict(re.findall(r"^([a-z0-9-]+)==(\S+)", (ROOT / "requirements.lock").read_text(), re.MULTILINE))
ENVIRONMENT_OF = {"encode": {"encode"}, "beam-worker": {"encode"}, "dataflow-worker": {"encode"}}
ENVIRONMENT_OF |= {"trainer": {"tensorflow", "trainer"}, "generator": {"tensorflow", "generator"}}
ENVIRONMENT_OF |= {"trainer-gpu": {"tensorflow-gpu", "trainer"}, "generator-gpu": {"tensorflow-gpu", "generator"}}
EXTRA_OF = {"encode": "encode", "tensorflow": "train", "tensorflow-gpu": "train"}
EXTRA_OF |= {"trainer": "tune", "generator": "generate"}
TARGETS = pytest.mark.parametrize("target", ENVIRONMENT_OF)


def read_stages() -> dict[str, list[str]]:
    """The instructions of each stage, those of its base stages included."""
    stages: dict[str, list[str]] = {}
    name = ""
    for line in TEXT.replace("\\\n", " ").splitlines():
        if start := re.fullmatch(r"FROM (\S+) AS (\S+)", line):
            name = start[2]
            stages[name] = list(stages.get(start[1], []))
        elif name and re.match(r"[A-Z]+ ", line):
            stages[name].append(line)
    return stages


STAGES = read_stages()


def arguments_of(target: str, instruction: str) -> list[str]:
    return [line.removeprefix(f"{instruction} ") for line in STAGES[target] if line.startswith(f"{instruction} ")]


def libraries_of(target: str) -> list[str]:
    """The stages that an image's layers of packages come from, in their order."""
    return re.findall(r"--from=(\S+) /new/opt/venv /opt/venv", "\n".join(arguments_of(target, "COPY")))


def test_hadolint_finds_nothing():
    hadolint = Path(sys.executable).with_name("hadolint")
    result = subprocess.run([hadolint, PATH], capture_output=True, text=True, check=False)
    assert (result.returncode, result.stdout + result.stderr) == (0, "")


def test_base_images_are_arguments_and_pinned():
    bases = {base for base in re.findall(r"^FROM (\S+)", TEXT, re.MULTILINE) if base not in STAGES}
    arguments = dict(re.findall(r"^ARG ([A-Z_]+)=(\S+)", TEXT, re.MULTILINE))
    assert bases == {f"${{{name}}}" for name in arguments} == {"${PYTHON_IMAGE}", "${BEAM_IMAGE}"}
    assert re.fullmatch(r"python:3\.11\.\d+-slim-bookworm@sha256:[0-9a-f]{64}", arguments["PYTHON_IMAGE"])
    assert arguments["BEAM_IMAGE"] == f"apache/beam_python3.11_sdk:{LOCK['apache-beam']}"


def test_tensorflow_without_cuda_has_the_version_of_the_lock_file():
    project = tomllib.loads((PATH.parent / "tensorflow_cpu" / "pyproject.toml").read_text())["project"]
    assert (project["name"], project["version"]) == ("tensorflow", LOCK["tensorflow"])
    assert project["dependencies"] == [f"tensorflow-cpu=={LOCK['tensorflow']}"]


@TARGETS
def test_each_image_has_its_own_libraries_and_the_code_last(target):
    assert libraries_of(target)[-1] == "code"
    assert {stage.removesuffix("-libraries") for stage in libraries_of(target)[:-1]} == ENVIRONMENT_OF[target]


@pytest.mark.parametrize("stage", EXTRA_OF)
def test_libraries_are_those_of_an_extra(stage):
    (installed,) = [step for step in arguments_of(f"{stage}-libraries", "RUN") if "install-packages" in step]
    assert f'"/src[{EXTRA_OF[stage]}]"' in installed
    assert ("tensorflow[and-cuda]" in installed) == (stage == "tensorflow-gpu")
    assert ("/src/tensorflow_cpu" in installed) == (stage == "tensorflow")


def test_what_is_copied_reaches_the_build():
    ignored = (ROOT / ".dockerignore").read_text().split("\n")
    kept = {line[1:] for line in ignored if line.startswith("!")}
    copied = {
        path
        for stage in STAGES
        for line in arguments_of(stage, "COPY")
        if "--from" not in line
        for path in line.split()[:-1]
    }
    assert "*" in ignored and copied == kept
    assert all((ROOT / path).exists() for path in kept)


@TARGETS
def test_only_the_workers_of_dataflow_are_root(target):
    assert arguments_of(target, "USER")[-1] == ("0" if target == "dataflow-worker" else "10001")


@TARGETS
def test_commands_get_their_signals(target):
    launcher = '["/opt/apache/beam/boot"]' if target == "dataflow-worker" else '["tini", "--", "python", "-m"]'
    assert arguments_of(target, "ENTRYPOINT")[-1] == launcher


@TARGETS
def test_images_say_what_they_are(target):
    lines = "\n".join(arguments_of(target, "LABEL"))
    labels = {key: quoted or plain for key, quoted, plain in re.findall(r'image\.([a-z.]+)=(?:"(.+?)"|(\S+))', lines)}
    assert labels.pop("title").startswith("midi-lstm ")
    assert labels == {"licenses": "Apache-2.0", "base.name": "${PYTHON_IMAGE}"}


def test_all_targets_are_built_under_the_names_that_the_manifests_use():
    assert set(IMAGES) == set(ENVIRONMENT_OF) < set(STAGES)
    (order,) = re.findall(r"^order=\((.*)\)$", SCRIPT, re.MULTILINE)
    assert sorted(order.split()) == sorted(IMAGES)
    (version,) = re.findall(r'version="(.*)"', (ROOT / "setup.py").read_text())
    built = {name.replace("TAG", version) for name in IMAGES.values()}
    environments = "\n".join(path.read_text() for path in (ROOT / "k8s" / "environments").glob("*.env"))
    used = set(re.findall(r"^[A-Z]+_IMAGE=\$\{REGISTRY\}/(\S+)$", environments, re.MULTILINE))
    assert used <= built and len(used) == 5


def test_the_workflow_of_a_public_host_pushes_every_target():
    jobs = yaml.safe_load((ROOT / ".github" / "workflows" / "images.yml").read_text())["jobs"]
    matrix = jobs["build"]["strategy"]["matrix"]["include"]
    assert {each["target"]: f"{each['name']}:TAG{each.get('suffix', '')}" for each in matrix} == IMAGES
