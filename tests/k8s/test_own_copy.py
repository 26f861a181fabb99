"""A copy of the manifests, filled as docs/cluster.md says: no placeholder stays; flags follow the number of pods."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess

import pytest

from benchmarks.harness.machine import ROOT
from tests.k8s.rendered import K8S, OVERLAYS, job_specs, render

PLACEHOLDERS = ("BUCKET", "REGISTRY", "PROJECT-ID")
OWN = {"BUCKET": "my-music", "REGISTRY": "europe-west1-docker.pkg.dev/my-project/midi-lstm", "PROJECT": "my-project"}
COUNTED = {"encode": "num-tasks", "generate": "num-tasks", "train-workers": "num-workers"}


def commands_of_the_page() -> str:
    """The commands that copy and fill."""
    page = (ROOT / "docs" / "cluster.md").read_text()
    (found,) = re.findall(r"^    export DEPLOY=.*\n(?:    .*\n)+?(?=    kubectl)", page, re.MULTILINE)
    return found


def test_the_commands_of_the_page_fill_every_placeholder(tmp_path):
    shutil.copytree(K8S, tmp_path / "midi-lstm" / "k8s")
    environment = {"PATH": os.environ["PATH"], **OWN}
    subprocess.run(["bash", "-ec", commands_of_the_page()], cwd=tmp_path / "midi-lstm", env=environment, check=True)
    before = "".join(json.dumps(render(overlay)) for overlay in OVERLAYS)
    after = "".join(json.dumps(render(str(tmp_path / "deploy" / overlay))) for overlay in OVERLAYS)
    assert all(placeholder in before for placeholder in PLACEHOLDERS)
    assert not [placeholder for placeholder in PLACEHOLDERS if placeholder in after]
    assert '"DATAFLOW_PROJECT": "my-project"' in after and "encode@my-project.iam.gserviceaccount.com" in after
    assert f"{OWN['REGISTRY']}/trainer:0.1.0-gpu" in after and '"CORPUS": "gs://my-music/midi"' in after


@pytest.mark.parametrize("overlay", [each for each in OVERLAYS if each.rsplit("/", 1)[1] in (*COUNTED, "train-jobset")])
def test_a_number_of_pods_that_is_patched_in_the_overlay_reaches_the_command(tmp_path, overlay):
    name = overlay.rsplit("/", 1)[1]
    spec = "/spec/replicatedJobs/0/template/spec" if name == "train-jobset" else "/spec"
    kind, object_name = ("JobSet", "train") if name == "train-jobset" else ("Job", name)
    path = shutil.copytree(K8S, tmp_path / "k8s") / overlay / "kustomization.yaml"
    changes = "".join(
        f"      - {{op: replace, path: {spec}/{field}, value: 16}}\n" for field in ("completions", "parallelism")
    )
    patch = f"patches:\n  - target: {{kind: {kind}, name: {object_name}}}\n    patch: |\n{changes}"
    path.write_text(f"{path.read_text()}\n{patch}")
    jobs = dict(job_specs(render(str(path.parent))))
    job = jobs["train-worker" if name == "train-jobset" else name]
    arguments = job["template"]["spec"]["containers"][0]["args"]
    assert (job["completions"], job["parallelism"]) == (16, 16)
    assert f"--{COUNTED.get(name, 'num-workers')}=16" in arguments
