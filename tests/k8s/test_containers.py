"""What becomes of a container's spec."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.k8s import containers
from tests.k8s.real import node

LABEL = "batch.kubernetes.io/job-completion-index"
POD = {
    "metadata": {"name": "encode-3-x", "labels": {LABEL: "3"}},
    "spec": {
        "containers": [
            {
                "name": "job",
                "image": "i",
                "args": ["a.command", "--output=/music/out", "--host=train-{index}.train:2222", "/musical"],
                "env": [
                    {"name": "STORAGE", "value": "postgresql://db:5432/x"},
                    {"name": "WORD", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}},
                    {"name": "BOTH", "value": "$(WORD)-$(NOBODY)"},
                    {"name": "PROGRESS_FILE", "value": "/tmp/p.json"},
                    {
                        "name": "JOB_COMPLETION_INDEX",
                        "valueFrom": {"fieldRef": {"fieldPath": f"metadata.labels['{LABEL}']"}},
                    },
                    {"name": "NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
                ],
                "volumeMounts": [
                    {"name": "music", "mountPath": "/music"},
                    {"name": "tmp", "mountPath": "/tmp"},
                    {"name": "config", "mountPath": "/config"},
                ],
            }
        ],
        "volumes": [
            {"name": "music", "persistentVolumeClaim": {"claimName": "c"}},
            {"name": "tmp", "emptyDir": {}},
            {"name": "config", "configMap": {"name": "m"}},
        ],
    },
}


def test_a_container_as_a_process(tmp_path: Path):
    own, claimed = tmp_path / "own", tmp_path / "claimed"
    own.mkdir()
    around = containers.Surroundings(
        config_map={"m": {"space.yaml": "units: 8\n"}}.__getitem__,
        secret=lambda name, key: {"s/k": "password"}[f"{name}/{key}"],
        claim={"c": claimed}.__getitem__,
        hosts={"db:5432": "127.0.0.1:9"},
        worker_ports="230",
    )
    line, environment = containers.process(POD, own, around, FROM_IMAGE="yes")
    assert line == [
        *("python", "-m", "a.command"),
        *(f"--output={claimed}/out", "--host=127.0.0.1:230{index}", "/musical"),
    ]
    assert environment.pop("PATH").startswith(f"{Path(sys.executable).parent}:")
    assert environment.pop("PYTHONPATH") == str(containers.ROOT)
    assert environment == {
        "HOME": str(own),
        "TMPDIR": str(own),
        "STORAGE": "postgresql://127.0.0.1:9/x",
        "WORD": "password",
        "BOTH": "password-$(NOBODY)",
        "PROGRESS_FILE": f"{own}/tmp/p.json",
        "JOB_COMPLETION_INDEX": "3",
        "NAME": "encode-3-x",
        "FROM_IMAGE": "yes",
    }
    assert (own / "config" / "space.yaml").read_text() == "units: 8\n"


@pytest.mark.parametrize(
    ("returncode", "is_disrupted", "phase", "code", "conditions"),
    [
        (0, False, "Succeeded", 0, ["Ready"]),
        (75, False, "Failed", 75, ["Ready"]),
        (-9, True, "Failed", 137, ["Ready", "DisruptionTarget"]),
    ],
)
def test_the_status_of_a_pod_that_has_ended(returncode, is_disrupted, phase, code, conditions):
    status = node.end_of(POD, returncode, is_disrupted)
    (container,) = status["containerStatuses"]
    assert (status["phase"], container["state"]["terminated"]["exitCode"]) == (phase, code)
    assert [each["type"] for each in status["conditions"]] == conditions
