"""A cluster of processes: runs the pods of rendered Jobs on this machine, by the Job controller's rules.

A pod is its container's own command, arguments and environment (`containers.py`), and nothing else of ours. What is no
Job (a database) is not run, but given; nothing is limited.
"""

from __future__ import annotations

import collections
import dataclasses
import re
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from tests.k8s import containers
from tests.k8s.rendered import Object, job_specs, of_kind

POLL_SECONDS = 0.05


@dataclasses.dataclass(eq=False)
class Pod:
    """A started pod.

    Attributes:
      job: name of its Job.
      index: completion index; None where the Job has none.
      is_disrupted: the condition DisruptionTarget, as a drain, a preemption or a lost node leave it.
    """

    job: str
    index: int | None
    process: subprocess.Popen
    log: Path
    grace: float
    is_disrupted: bool = False
    killed_at: float | None = None

    def disrupt(self) -> None:
        """A drain: SIGTERM, and SIGKILL when the grace period is over."""
        self.is_disrupted = True
        self.process.send_signal(signal.SIGTERM)
        self.killed_at = time.monotonic() + self.grace

    def lose(self) -> bool:
        """The node is gone at once. False: the pod had ended before."""
        self.process.kill()
        self.is_disrupted = self.process.wait() == -signal.SIGKILL
        return self.is_disrupted


@dataclasses.dataclass(eq=False)
class Job:
    """A Job's spec and what became of it so far; `failure` is (reason, message) as in its condition Failed."""

    name: str
    spec: Object
    running: list[Pod] = dataclasses.field(default_factory=list)
    done: set[int] = dataclasses.field(default_factory=set)
    failures: collections.Counter = dataclasses.field(default_factory=collections.Counter)
    failure: tuple[str, str] | None = None

    @property
    def is_indexed(self) -> bool:
        return self.spec.get("completionMode") == "Indexed"

    @property
    def is_over(self) -> bool:
        return not self.running and (self.failure is not None or len(self.done) == self.spec["completions"])

    def waiting(self) -> list[int]:
        """Indexes that have no pod and want one, as many as may run."""
        taken = self.done | {pod.index or 0 for pod in self.running}
        free = [index for index in range(self.spec["completions"]) if index not in taken]
        return free[: self.spec["parallelism"] - len(self.running)] if self.failure is None else []

    def ended(self, pod: Pod, status: int) -> None:
        """What the controller does about a pod that is gone."""
        self.running.remove(pod)
        index = pod.index or 0
        if status == 0:
            self.done.add(index)
            return
        action, message = self._policy(pod, status)
        if action == "FailJob":
            self.failure = ("PodFailurePolicy", message)
        if action is not None or self.failure is not None:
            return
        self.failures[index] += 1
        if "backoffLimitPerIndex" in self.spec:
            failed = [each for each, count in self.failures.items() if count > self.spec["backoffLimitPerIndex"]]
            if len(failed) > self.spec["maxFailedIndexes"]:
                self.failure = ("MaxFailedIndexesExceeded", f"indexes {failed} failed")
        elif self.failures.total() > self.spec["backoffLimit"]:
            self.failure = ("BackoffLimitExceeded", "Job has reached the specified backoff limit")

    def _policy(self, pod: Pod, status: int) -> tuple[str | None, str]:
        """The action of the first rule that fits, and the controller's message."""
        for number, rule in enumerate(self.spec.get("podFailurePolicy", {}).get("rules", [])):
            codes = rule.get("onExitCodes")
            where = f"matching {rule['action']} rule at index {number}"
            if codes is not None and status in codes["values"]:
                return rule["action"], f"Container {codes['containerName']} failed with exit code {status} {where}"
            if pod.is_disrupted and codes is None:
                return rule["action"], f"Pod has condition DisruptionTarget {where}"
        return None, ""


class Cluster:
    """Runs the Jobs of rendered objects until all are over.

    Args:
      folder: for volumes, pods' own files and logs.
      objects: as `rendered.render` gives them.
      hosts: by `service:port`, where what is not run here answers.
      secrets: by `(secret, key)`, the values that a user would have put there.
      environment: what the images would have beside; for tests' servers.
    """

    def __init__(
        self,
        folder: Path,
        objects: list[Object],
        *,
        hosts: Mapping[str, str] = MappingProxyType({}),
        secrets: Mapping[tuple[str, str], str] = MappingProxyType({}),
        **environment: str,
    ):
        self.folder, self.objects, self.environment = folder, objects, environment
        self.jobs = [Job(name, spec) for name, spec in job_specs(objects)]
        self.pods: list[Pod] = []  # all there were
        self._around = containers.Surroundings(
            config_map=lambda name: of_kind(objects, "ConfigMap")[name]["data"],
            secret=lambda *which: secrets[which],
            claim=self.volume,
            hosts=hosts,
            worker_ports=containers.free_worker_ports(),
        )

    def __enter__(self) -> Cluster:
        return self

    def __exit__(self, *_: object) -> None:
        for pod in self.pods:
            if pod.process.poll() is None:
                pod.process.kill()
                pod.process.wait()

    def volume(self, claim: str) -> Path:
        path = self.folder / "volumes" / claim
        path.mkdir(parents=True, exist_ok=True)
        return path

    def run(self, *, seconds: float, meanwhile: Callable[[Cluster], None] = lambda _: None) -> dict[str, Any]:
        """By Job, None where it is complete, else (reason, message).

        Args:
          seconds: how long it may take.
          meanwhile: called again and again while pods run.
        """
        until = time.monotonic() + seconds
        while not all(job.is_over for job in self.jobs):
            assert time.monotonic() < until, f"not over after {seconds} s: {self.tails()}"
            for job in self.jobs:
                self._look_after(job)
            self._restart_jobsets()
            meanwhile(self)
            time.sleep(POLL_SECONDS)
        return {job.name: job.failure for job in self.jobs}

    def tails(self) -> str:
        return "\n".join(f"{pod.job} {pod.index}: {pod.log.read_text()[-600:]}" for pod in self.pods[-4:])

    def running(self, job: str) -> list[Pod]:
        return [pod for pod in self.pods if pod.job == job and pod.process.poll() is None]

    def _look_after(self, job: Job) -> None:
        for pod in list(job.running):
            status = pod.process.poll()
            if status is not None:
                job.ended(pod, 128 - status if status < 0 else status)
            elif pod.killed_at is not None and time.monotonic() > pod.killed_at:
                pod.process.kill()
        if job.failure is not None:
            for pod in job.running:
                if pod.killed_at is None:
                    pod.process.send_signal(signal.SIGTERM)
                    pod.killed_at = time.monotonic() + pod.grace
        for index in job.waiting():
            job.running.append(self._start(job, index if job.is_indexed else None))

    def _restart_jobsets(self) -> None:
        """After a Job's failure, what the failure policy of its JobSet says; its first rule that fits counts."""
        for name, jobset in of_kind(self.objects, "JobSet").items():
            members = [job for job in self.jobs if job.name.startswith(f"{name}-")]
            failed = next((job for job in members if job.failure), None)
            if failed is None or failed.failure is None or any(job.running for job in members):
                continue
            reason, message = failed.failure
            actions = [
                rule["action"]
                for rule in jobset["spec"]["failurePolicy"]["rules"]
                if reason in rule.get("onJobFailureReasons", [reason])
                and any(re.search(pattern, message) for pattern in rule.get("onJobFailureMessagePatterns", [""]))
            ]
            if actions[:1] == ["RestartJobSetAndIgnoreMaxRestarts"]:
                for job in members:
                    job.done, job.failure = set(), None
                    job.failures.clear()

    def _start(self, job: Job, index: int | None) -> Pod:
        own = self.folder / "pods" / f"{job.name}-{index}-{len(self.pods)}"
        own.mkdir(parents=True)
        given = {} if index is None else {"JOB_COMPLETION_INDEX": str(index)}
        line, environment = containers.process(job.spec["template"], own, self._around, **given, **self.environment)
        log = own / "log"
        with open(log, "wb") as file:
            process = subprocess.Popen(line, env=environment, cwd=own, stdout=file, stderr=subprocess.STDOUT)
        pod = Pod(job.name, index, process, log, float(job.spec["template"]["spec"]["terminationGracePeriodSeconds"]))
        self.pods.append(pod)
        return pod
