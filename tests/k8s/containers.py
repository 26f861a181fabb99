"""How a container of a rendered Job becomes a process of this machine: its arguments, environment and volumes.

The image is this Python, and paths in volumes lie below folders. What reaches other pods by a Service's name reaches
them on loopback.
"""

from __future__ import annotations

import dataclasses
import os
import re
import socket
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from benchmarks.harness.machine import ROOT
from tests.k8s.rendered import Object

IMAGE = ("python", "-m")  # the entry point of our images
WORKER_HOST = re.compile(r"[a-z0-9-]+-\{index\}\.[a-z0-9-]+:[0-9]+")
VARIABLE = re.compile(r"\$\(([A-Za-z_][A-Za-z0-9_]*)\)")


@dataclasses.dataclass(frozen=True)
class Surroundings:
    """What a pod refers to.

    Attributes:
      config_map: by its name, texts by file name.
      secret: the value of (secret, key).
      claim: the folder of a claimed volume.
      hosts: by `service:port`, where that answers here.
      worker_ports: first digits of the ports where workers of a training meet.
    """

    config_map: Callable[[str], Mapping[str, str]]
    secret: Callable[[str, str], str]
    claim: Callable[[str], Path]
    hosts: Mapping[str, str] = dataclasses.field(default_factory=dict)
    worker_ports: str = ""


def process(pod: Object, own: Path, around: Surroundings, **given: str) -> tuple[list[str], dict[str, str]]:
    """Command line and environment of a pod's only container.

    Args:
      pod: with `spec`, and `metadata` where a variable takes its value from there.
      own: the pod's folder, which exists; volumes of its own are made there.
      around: what it refers to.
      **given: more variables, such as an image sets.
    """
    (container,) = pod["spec"]["containers"]
    mounts = _mounts(pod["spec"], container, own, around)
    variables: dict[str, str] = {}
    for each in container.get("env", []):
        text = VARIABLE.sub(lambda found: variables.get(found[1], found[0]), _value(each, pod, around))
        variables[each["name"]] = mapped(text, mounts)
    line = [*container.get("command", IMAGE), *container.get("args", [])]
    line = [WORKER_HOST.sub(f"127.0.0.1:{around.worker_ports}{{index}}", each) for each in line]
    python = {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}
    own_folders = {"HOME": str(own), "TMPDIR": str(own)}
    return [mapped(each, mounts) for each in line], {**python, **own_folders, **variables, **given}


def mapped(text: str, mounts: Mapping[str, str]) -> str:
    """A value, or a flag with one, whose path lies below a mounted one."""
    flag, equals, value = text.rpartition("=")
    for mounted, here in mounts.items():
        if value == mounted or value.startswith(f"{mounted}/"):
            return f"{flag}{equals}{here}{value.removeprefix(mounted)}"
    return text


def free_worker_ports() -> str:
    """The first digits of ten ports of which the first four are free."""
    for first in range(2300, 3200):
        try:
            for last in range(4):
                with socket.socket() as each:
                    each.bind(("127.0.0.1", 10 * first + last))
        except OSError:
            continue
        return str(first)
    raise AssertionError("no free ports")


def _value(variable: Object, pod: Object, around: Surroundings) -> str:
    source = variable.get("valueFrom", {})
    if "secretKeyRef" in source:
        return around.secret(source["secretKeyRef"]["name"], source["secretKeyRef"]["key"])
    if "fieldRef" in source:
        return _field(pod, source["fieldRef"]["fieldPath"])
    text = variable.get("value", "")
    for service, here in around.hosts.items():
        text = text.replace(service, here)
    return text


def _field(pod: Object, path: str) -> str:
    """As in `metadata.name` or `metadata.labels['batch.kubernetes.io/job-completion-index']`."""
    name, _, key = path.partition("['")
    found = pod
    for step in name.split("."):
        found = found[step]
    return str(found[key.removesuffix("']")] if key else found)


def _mounts(spec: Object, container: Object, own: Path, around: Surroundings) -> dict[str, str]:
    """By path in the container, the folder here."""
    volumes = {volume["name"]: volume for volume in spec.get("volumes", [])}
    found = {}
    for mount in container.get("volumeMounts", []):
        volume = volumes[mount["name"]]
        path = own / mount["name"]
        if "persistentVolumeClaim" in volume:
            path = around.claim(volume["persistentVolumeClaim"]["claimName"])
        path.mkdir(exist_ok=True)
        if "configMap" in volume:
            for name, text in around.config_map(volume["configMap"]["name"]).items():
                (path / name).write_text(text)
        found[mount["mountPath"]] = str(path)
    return found
