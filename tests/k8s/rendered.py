"""What `kubectl kustomize` makes of the manifests, filled for three environments."""

from __future__ import annotations

import functools
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from benchmarks.harness.machine import ROOT
from job_runtime import command
from scripts import fill_manifests

K8S = ROOT / "k8s"
OWN = {"PROJECT": "my-project", "BUCKET": "my-music"}
ENVIRONMENTS = {  # file, and what a user sets in the copy
    "gke": ("gke", OWN),
    "spot": ("gke", {**OWN, "COMPONENTS": '"gke spot kueue machine-types"'}),
    "local": ("local", {}),
}
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


def fill(name: str, folder: Path, **values: str) -> Path:
    """Fills the manifests from `k8s/environments/NAME.env` with these values instead; the output."""
    text = (K8S / "environments" / f"{name}.env").read_text()
    for key, value in values.items():
        text, count = re.subn(rf"^{key}=.*$", f"{key}={value}", text, flags=re.MULTILINE)
        assert count == 1, key
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "my.env").write_text(text)
    assert fill_manifests.main([str(folder / "my.env"), "--output", str(folder / "deploy")]) == command.OK
    return folder / "deploy"


_FILLED = tempfile.TemporaryDirectory()
OVERLAYS = [
    f"{where}/{job.name}"
    for where, (name, values) in ENVIRONMENTS.items()
    for job in sorted(fill(name, Path(_FILLED.name) / where, **values).iterdir())
    if (job / "kustomization.yaml").is_file()
]


@functools.cache
def render(overlay: str) -> list[Object]:
    """The objects of an environment's job (`gke/encode`)."""
    where, _, job = overlay.partition("/")
    return render_folder(Path(_FILLED.name) / where / "deploy" / job)


def render_folder(folder: Path) -> list[Object]:
    done = subprocess.run([kubectl(), "kustomize", str(folder)], capture_output=True, text=True, check=False)
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
