"""The recipe of the images: hadolint is content, versions are those of the lock file, only Dataflow runs as root."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.harness.machine import ROOT

PATH = ROOT / "k8s" / "images" / "Dockerfile"
LOCK = dict(re.findall(r"^([a-z0-9-]+)==(\S+)", (ROOT / "requirements.lock").read_text(), re.MULTILINE))
EXTRAS = {"encode": "encode", "beam-worker": "encode", "dataflow-worker": "encode"}
EXTRAS |= {"trainer": "tune", "trainer-gpu": "tune", "generator": "generate", "generator-gpu": "generate"}
TARGETS = pytest.mark.parametrize("target", EXTRAS)


def read_stages() -> dict[str, list[str]]:
    """The instructions of each stage, those of its base stages included."""
    stages: dict[str, list[str]] = {}
    name = ""
    for line in PATH.read_text().replace("\\\n", " ").splitlines():
        if start := re.fullmatch(r"FROM (\S+) AS (\S+)", line):
            name = start[2]
            stages[name] = list(stages.get(start[1], []))
        elif name and re.match(r"[A-Z]+ ", line):
            stages[name].append(line)
    return stages


STAGES = read_stages()


def arguments_of(target: str, instruction: str) -> list[str]:
    return [line.removeprefix(f"{instruction} ") for line in STAGES[target] if line.startswith(f"{instruction} ")]


def test_hadolint_finds_nothing():
    hadolint = Path(sys.executable).with_name("hadolint")
    result = subprocess.run([hadolint, PATH], capture_output=True, text=True, check=False)
    assert (result.returncode, result.stdout + result.stderr) == (0, "")


def test_versions_are_those_of_the_lock_file():
    versions = dict(re.findall(r"^ARG ([A-Z]+)_VERSION=(\S+)", PATH.read_text(), re.MULTILINE))
    assert re.fullmatch(r"3\.1[12]\.\d+", versions["PYTHON"])
    assert versions["BEAM"] == LOCK["apache-beam"] and versions["TENSORFLOW"] == LOCK["tensorflow"]
    assert set(versions) == {"PYTHON", "BEAM", "TENSORFLOW"}


def test_every_base_image_is_pinned():
    bases = {base for base in re.findall(r"^FROM (\S+)", PATH.read_text(), re.MULTILINE) if base not in STAGES}
    (python,) = re.findall(r"^ARG PYTHON_VERSION=(3\.\d+)", PATH.read_text(), re.MULTILINE)
    assert bases == {
        "python:${PYTHON_VERSION}-slim-bookworm",
        f"apache/beam_python{python}_sdk:${{BEAM_VERSION}}",
    }


@TARGETS
def test_each_image_holds_its_own_environment(target):
    (build,) = [line.split()[0] for line in arguments_of(target, "COPY") if "/opt/venv" in line]
    installed = arguments_of(build.removeprefix("--from="), "RUN")
    assert any(f'".[{EXTRAS[target]}]"' in step for step in installed)
    assert any("tensorflow[and-cuda]" in step for step in installed) == target.endswith("-gpu")


@pytest.mark.parametrize("build", [name for name in STAGES if name.startswith("build-")])
def test_what_is_copied_reaches_the_build(build):
    ignored = (ROOT / ".dockerignore").read_text().split("\n")
    kept = [line[1:] for line in ignored if line.startswith("!")]
    assert "*" in ignored
    for line in arguments_of(build, "COPY"):
        for path in line.split()[:-1]:
            assert path in kept and (ROOT / path).exists()


@TARGETS
def test_only_the_workers_of_dataflow_are_root(target):
    assert arguments_of(target, "USER")[-1:] == ([] if target == "dataflow-worker" else ["10001"])


@TARGETS
def test_commands_get_their_signals(target):
    launcher = '["/opt/apache/beam/boot"]' if target.endswith("-worker") else '["tini", "--", "python", "-m"]'
    assert arguments_of(target, "ENTRYPOINT") == [launcher]
