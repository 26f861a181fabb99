"""What `kubectl kustomize` makes of the manifests."""

from __future__ import annotations

import functools
import shutil
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from benchmarks.harness.machine import ROOT

K8S = ROOT / "k8s"
OVERLAYS = sorted(
    str(path.parent.relative_to(K8S))
    for path in K8S.glob("overlays/*/*/kustomization.yaml")
    if path.parent.name != "common"
)
POD_TEMPLATES = {
    "Job": ("spec", "template"),
    "StatefulSet": ("spec", "template"),
    "JobSet": ("spec", "replicatedJobs", 0, "template", "spec", "template"),
}

Object = dict[str, Any]


def kubectl() -> str:
    """The path of kubectl; scripts/install_kubectl.sh installs it."""
    path = shutil.which("kubectl") or shutil.which(str(ROOT / ".venv" / "bin" / "kubectl"))
    if path is None:
        pytest.skip("no kubectl: bash scripts/install_kubectl.sh")
    return path


@functools.cache
def render(folder: str) -> list[Object]:
    """The objects of a folder of `k8s`."""
    done = subprocess.run([kubectl(), "kustomize", str(K8S / folder)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return list(yaml.safe_load_all(done.stdout))


def of_kind(objects: list[Object], kind: str) -> dict[str, Object]:
    return {each["metadata"]["name"]: each for each in objects if each["kind"] == kind}


def pods(objects: list[Object]) -> Iterator[tuple[str, Object]]:
    """Name of the owner, and the pod template, of everything that makes pods."""
    for each in objects:
        if each["kind"] in POD_TEMPLATES:
            found: Any = each
            for step in POD_TEMPLATES[each["kind"]]:
                found = found[step]
            yield each["metadata"]["name"], found


def job_specs(objects: list[Object]) -> Iterator[tuple[str, Object]]:
    """Name and spec of every Job, those of JobSets too."""
    for each in objects:
        if each["kind"] == "Job":
            yield each["metadata"]["name"], each["spec"]
        if each["kind"] == "JobSet":
            for replicated in each["spec"]["replicatedJobs"]:
                yield f"{each['metadata']['name']}-{replicated['name']}", replicated["template"]["spec"]


def settings(objects: list[Object]) -> dict[str, str]:
    (found,) = [each for each in objects if each["kind"] == "ConfigMap" and "DATASET" in each["data"]]
    return found["data"]


def command_of(container: Object, values: dict[str, str]) -> list[str]:
    """The arguments as the kubelet expands them."""
    return [expand(argument, values) for argument in container["args"]]


def expand(text: str, values: dict[str, str]) -> str:
    for name, value in values.items():
        text = text.replace(f"$({name})", value)
    return text
