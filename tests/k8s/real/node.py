"""A stand-in for a node and for the scheduler: runs pods of Jobs as processes of this machine, and reports their ends.

It does to the API server what a kubelet does: it registers, sends heartbeats, starts containers, ends them with SIGTERM
and, after the grace period, with SIGKILL, and writes phases, exit codes and DisruptionTarget. It limits nothing,
isolates nothing and runs no probe.
"""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import datetime
import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from tests.k8s.containers import Surroundings, process
from tests.k8s.real.control_plane import Api, Refused, selected
from tests.k8s.rendered import Object

POLL_SECONDS = 0.2
HEARTBEAT_SECONDS = 5
JOB_LABEL = "batch.kubernetes.io/job-name"


@dataclasses.dataclass(eq=False)
class Running:
    """A pod's process; the object is as the API server last gave it."""

    pod: Object
    process: subprocess.Popen
    log: Path
    killed_at: float | None = None
    is_disrupted: bool = False

    @property
    def name(self) -> str:
        return self.pod["metadata"]["name"]

    def kill(self) -> None:
        """All processes of the container."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)

    def terminate(self, grace: float) -> None:
        if self.killed_at is None:
            self.killed_at = time.monotonic() + grace
            self.process.send_signal(signal.SIGTERM)


class Node:
    """Runs pods of one namespace.

    Args:
      folder: for pods' own files, their logs, and volumes by the name of their claim.
      hosts: by `service:port`, where that answers here.
      room: how many pods it runs at a time.
    """

    def __init__(
        self, api: Api, name: str, namespace: str, folder: Path, *, hosts: Mapping[str, str], room: int
    ) -> None:
        self.api, self.name, self.folder, self.room = api, name, folder, room
        self.pods: dict[str, Running] = {}  # by uid, those with a process or an end to report
        self.logs: list[Path] = []
        self.failure: BaseException | None = None
        self._is_lost = False
        self._seen: set[str] = set()
        self._beat_at = 0.0
        core = self._core = f"/api/v1/namespaces/{namespace}"
        self._around = Surroundings(
            config_map=lambda name: api.get(f"{core}/configmaps/{name}")["data"],
            secret=lambda name, key: base64.b64decode(api.get(f"{core}/secrets/{name}")["data"][key]).decode(),
            claim=lambda name: folder / name,
            hosts=hosts,
        )
        api.create("/api/v1/nodes", {"metadata": {"name": name}})

    def running(self, job: str) -> list[Running]:
        """The pods of a Job whose process runs, in the order of their names."""
        found = [
            each
            for each in list(self.pods.values())
            if each.pod["metadata"]["labels"][JOB_LABEL] == job and each.process.poll() is None
        ]
        return sorted(found, key=lambda each: each.name)

    def lose(self) -> None:
        """The power fails: nothing is reported any more, and the cloud deletes the node."""
        self._is_lost = True
        for each in list(self.pods.values()):
            each.kill()
        self.api.delete(f"/api/v1/nodes/{self.name}")

    def shut_down(self) -> None:
        """A preemption: the machine's shutdown ends all pods, and their node says why."""
        self.api.patch(f"/api/v1/nodes/{self.name}", {"spec": {"unschedulable": True}})
        for each in list(self.pods.values()):
            each.is_disrupted = True
            each.terminate(each.pod["spec"]["terminationGracePeriodSeconds"])

    @contextlib.contextmanager
    def serve(self) -> Iterator[Node]:
        """While it lasts, the node works."""
        over = threading.Event()

        def work() -> None:
            while not over.wait(POLL_SECONDS) and not self._is_lost and self.failure is None:
                try:
                    self.step()
                except OSError:
                    continue  # the server is busy
                except BaseException as error:
                    self.failure = error

        thread = threading.Thread(target=work, name=self.name)
        thread.start()
        try:
            yield self
        finally:
            over.set()
            thread.join()
            for each in self.pods.values():
                each.kill()
                each.process.wait()

    def step(self) -> None:
        """Looks once at all pods."""
        self._beat()
        pods = self.api.get(selected(f"{self._core}/pods", labelSelector=JOB_LABEL))["items"]
        ours = [pod for pod in pods if pod["spec"].get("nodeName") == self.name]
        self._bind([pod for pod in pods if "nodeName" not in pod["spec"] and not _is_to_go(pod)], ours)
        for pod in ours:
            uid = pod["metadata"]["uid"]
            if uid not in self._seen:
                self._start(pod)
            elif uid in self.pods:
                self.pods[uid].pod = pod
            if _is_to_go(pod):
                self._end(pod)
        gone = set(self.pods) - {pod["metadata"]["uid"] for pod in ours}
        for uid, each in list(self.pods.items()):
            is_late = each.killed_at is not None and time.monotonic() > each.killed_at
            if is_late or uid in gone:  # gone: deleted by force
                each.kill()
            if each.process.poll() is not None and not self._is_lost:
                each.kill()  # what it left running
                self._write_status(each.pod, end_of(each.pod, each.process.returncode, each.is_disrupted))
                del self.pods[uid]

    def _beat(self) -> None:
        if time.monotonic() > self._beat_at + HEARTBEAT_SECONDS:
            self._beat_at = time.monotonic()
            ready = {"type": "Ready", "status": "True", "reason": "KubeletReady", "lastHeartbeatTime": _now()}
            self.api.patch(f"/api/v1/nodes/{self.name}/status", {"status": {"conditions": [ready]}})

    def _bind(self, waiting: list[Object], ours: list[Object]) -> None:
        """Takes the first of the waiting pods."""
        room = self.room - sum(pod["status"]["phase"] in ("Pending", "Running") for pod in ours)
        if not waiting or room <= 0 or self.api.get(f"/api/v1/nodes/{self.name}")["spec"].get("unschedulable"):
            return
        for pod in waiting[:room]:
            known = {key: pod["metadata"][key] for key in ("name", "uid")}
            target = {"kind": "Node", "name": self.name}
            with _unless_gone():  # or another node has taken it
                self.api.create(f"{_path(pod)}/binding", {"metadata": known, "target": target})

    def _start(self, pod: Object) -> None:
        if pod["status"]["phase"] != "Pending" or _is_to_go(pod):
            return
        own = self.folder / pod["metadata"]["name"]
        own.mkdir(exist_ok=True)
        try:
            line, environment = process(pod, own, self._around)
        except Refused as error:  # a Secret is missing: a kubelet also waits for it
            waiting = {"waiting": {"reason": "CreateContainerConfigError", "message": str(error)}}
            self._write_status(pod, {"containerStatuses": [_container(pod, waiting)]})
            return
        self._seen.add(pod["metadata"]["uid"])
        self.logs.append(own / "log")
        with open(own / "log", "wb") as log:
            started = subprocess.Popen(
                line, env=environment, cwd=own, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
            )
        self.pods[pod["metadata"]["uid"]] = Running(pod, started, own / "log")
        running = _container(pod, {"running": {"startedAt": _now()}, "waiting": None})
        status = {"phase": "Running", "startTime": _now(), "containerStatuses": [{**running, "ready": True}]}
        self._write_status(pod, {**status, "conditions": [{"type": "Ready", "status": "True"}]})

    def _end(self, pod: Object) -> None:
        """Of a pod that is to be deleted: SIGTERM, or, where nothing runs any more, the pod goes."""
        metadata = pod["metadata"]
        running = self.pods.get(metadata["uid"])
        if running is not None:
            running.terminate(metadata["deletionGracePeriodSeconds"])
            return
        if pod["status"]["phase"] == "Pending":  # it was never started
            self._write_status(pod, {"phase": "Failed"})
        with _unless_gone():
            self.api.delete(_path(pod), gracePeriodSeconds=0, preconditions={"uid": metadata["uid"]})

    def _write_status(self, pod: Object, status: Object) -> None:
        with _unless_gone():
            self.api.patch(f"{_path(pod)}/status", {"metadata": {"uid": pod["metadata"]["uid"]}, "status": status})


def end_of(pod: Object, returncode: int, is_disrupted: bool) -> Object:
    """The status of a pod whose process has ended."""
    code = 128 - returncode if returncode < 0 else returncode  # as a shell has it
    ended = {"exitCode": code, "reason": "Error" if code else "Completed", "finishedAt": _now()}
    conditions = [{"type": "Ready", "status": "False", "reason": "PodFailed" if code else "PodCompleted"}]
    if is_disrupted:
        conditions.append({"type": "DisruptionTarget", "status": "True", "reason": "TerminationByKubelet"})
    return {
        "phase": "Failed" if code else "Succeeded",
        "conditions": conditions,
        "containerStatuses": [_container(pod, {"terminated": ended, "running": None})],
    }


def _container(pod: Object, state: Object) -> Object:
    (container,) = pod["spec"]["containers"]
    names = {"name": container["name"], "image": container["image"], "imageID": container["image"]}
    return {**names, "ready": False, "restartCount": 0, "state": state}


@contextlib.contextmanager
def _unless_gone() -> Iterator[None]:
    """The pod may be gone, or another have its name."""
    try:
        yield
    except Refused as error:
        if error.status not in (404, 409):
            raise


def _is_to_go(pod: Object) -> bool:
    return "deletionTimestamp" in pod["metadata"]


def _path(pod: Object) -> str:
    return f"/api/v1/namespaces/{pod['metadata']['namespace']}/pods/{pod['metadata']['name']}"


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
