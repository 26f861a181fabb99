"""A namespace of a real API server where rendered Jobs run, on stand-ins for nodes."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType

from tests.k8s.real.control_plane import Api, selected
from tests.k8s.real.node import JOB_LABEL, Node, Running
from tests.k8s.rendered import Object, fill, render_folder
from tests.waiting import wait_for


class Namespace:
    """A namespace with a volume, and the local environment's manifests for it.

    Args:
      folder: where the namespace gets a folder of its own.
      hosts: by `service:port`, where that answers here.
      **values: of the environment's file.
    """

    def __init__(
        self, api: Api, folder: Path, name: str, hosts: Mapping[str, str] = MappingProxyType({}), **values: str
    ):
        self.api, self.name, self.folder = api, name, folder / name
        self.deploy = fill("local", self.folder / "own", NAMESPACE=name, **values)
        self.music = self.folder / "music"
        self.music.mkdir()
        self.nodes: list[Node] = []
        self._hosts = hosts
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Namespace:
        return self

    def __exit__(self, *_: object) -> None:
        self.api.kubectl("delete", "namespace", self.name, "--wait=false")
        self._stack.close()
        for node in self.nodes:
            self.api.kubectl("delete", "node", node.name, "--ignore-not-found")

    def add_node(self, room: int = 20) -> Node:
        name = f"{self.name}-{len(self.nodes)}"
        node = Node(self.api, name, self.name, self.folder, hosts=self._hosts, room=room)
        self._stack.enter_context(node.serve())
        self.nodes.append(node)
        return node

    def apply(self, job: str, change: Callable[[str, Object], None] = lambda name, spec: None) -> None:
        """As a user does; `change` edits the spec of each Job."""
        objects = render_folder(self.deploy / job)
        for each in objects:
            if each["kind"] == "Job":
                change(each["metadata"]["name"], each["spec"])
        text = "\n".join(json.dumps(each) for each in objects)
        done = self.api.kubectl("apply", "--server-side", "--validate=strict", "-f", "-", given=text)
        assert (done.returncode, done.stderr) == (0, ""), done.stderr

    def job(self, name: str) -> Object:
        return self.api.get(f"/apis/batch/v1/namespaces/{self.name}/jobs/{name}")

    def pods(self, job: str) -> list[Object]:
        path = f"/api/v1/namespaces/{self.name}/pods"
        return self.api.get(selected(path, labelSelector=f"{JOB_LABEL}={job}"))["items"]

    def end(self, name: str, seconds: float = 120) -> tuple[str, str, str]:
        """(type, reason, message) of the condition with which a Job ends."""

        def found() -> tuple[str, str, str] | None:
            self.running(name)
            for each in self.job(name)["status"].get("conditions", []):
                if each["type"] in ("Complete", "Failed") and each["status"] == "True":
                    return each["type"], each.get("reason", ""), each.get("message", "")
            return None

        return wait_for(found, seconds)

    def running(self, job: str) -> list[Running]:
        for node in self.nodes:
            assert node.failure is None, node.failure
        return [each for node in self.nodes for each in node.running(job)]

    def node_of(self, pod: Running) -> Node:
        (node,) = [node for node in self.nodes if pod in node.pods.values()]
        return node

    def drain(self, node: Node) -> None:
        """It ends when the Job controller has made other pods, which takes longer each time."""
        done = self.api.kubectl("drain", node.name, "--delete-emptydir-data", "--timeout=100s")
        assert done.returncode == 0, done.stderr

    def tries(self, job: str) -> list[Path]:
        """Logs of all pods that a Job ever had."""
        named = re.compile(rf"{job}(-\d+)?-[a-z0-9]+")
        return [log for node in self.nodes for log in node.logs if named.fullmatch(log.parent.name)]
