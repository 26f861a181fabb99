"""A session cluster of Flink on two hosts: network namespaces that are joined by a cable.

Each host has a TaskManager with one slot and a worker pool, as the containers of a pod. They cannot share a pool:
TaskManagers give their workers the same names, and a pool ends a worker when any of them is done with that name.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.engines import runs
from tests.engines.flink.programs import JOB_JAR
from tests.waiting import wait_for

HOSTS = ("10.9.0.1", "10.9.0.2")  # of a network that no other process sees
REST, POOL_PORT = f"{HOSTS[0]}:8081", 50000
SECONDS = 250  # what no run here comes near to
OPENED = ("util", "lang", "nio", "net", "util.concurrent", "lang.invoke")
JAVA = (
    "java",
    *(f"--add-opens=java.base/java.{name}=ALL-UNNAMED" for name in OPENED),
    "--add-exports=java.base/sun.net.util=ALL-UNNAMED",
)
JOB_MANAGER = "org.apache.flink.runtime.entrypoint.StandaloneSessionClusterEntrypoint"
TASK_MANAGER = "org.apache.flink.runtime.taskexecutor.TaskManagerRunner"
TASK_MANAGER_LIMITS = ("-Xmx640m", "-XX:MaxDirectMemorySize=448m", "-XX:MaxMetaspaceSize=256m")
CONFIG = f"""
jobmanager.rpc.address: {HOSTS[0]}
jobmanager.bind-host: 0.0.0.0
jobmanager.memory.process.size: 1g
rest.address: {HOSTS[0]}
rest.bind-address: 0.0.0.0
taskmanager.bind-host: 0.0.0.0
taskmanager.numberOfTaskSlots: 1
taskmanager.cpu.cores: 1
taskmanager.memory.task.heap.size: 512m
taskmanager.memory.task.off-heap.size: 64m
taskmanager.memory.framework.heap.size: 128m
taskmanager.memory.framework.off-heap.size: 128m
taskmanager.memory.managed.size: 256m
taskmanager.memory.network.min: 256m
taskmanager.memory.network.max: 256m
taskmanager.memory.jvm-metaspace.size: 256m
taskmanager.memory.jvm-overhead.min: 192m
taskmanager.memory.jvm-overhead.max: 192m
restart-strategy.type: fixed-delay
restart-strategy.fixed-delay.attempts: 3
restart-strategy.fixed-delay.delay: 5 s
heartbeat.timeout: 10000
heartbeat.interval: 2000
pekko.remote.classic.startup-timeout: 120s
"""


class Cluster:
    """A JobManager, and on each host a TaskManager and a worker pool.

    Args:
      programs: the folder that `programs.fetch` filled.
      scratch: for configuration and logs.
    """

    def __init__(self, programs: Path, scratch: Path) -> None:
        self._programs, self._scratch = programs, scratch
        self._stack = contextlib.ExitStack()
        self.task_managers: list[subprocess.Popen] = []
        self.pools: list[subprocess.Popen] = []
        self._number = 0

    def __enter__(self) -> Cluster:
        with contextlib.ExitStack() as stack:
            self._stack = stack
            other = self._start("host", ["unshare", "--net", "sleep", "infinity"])
            self._enter = [[], ["nsenter", "--target", str(other.pid), "--net"]]
            wait_for(lambda: os.readlink(f"/proc/{other.pid}/ns/net") != os.readlink("/proc/self/ns/net"), SECONDS)
            ip = [
                "link set lo up",
                "link add cable0 type veth peer name cable1",
                f"link set cable1 netns {other.pid}",
                f"addr add {HOSTS[0]}/24 dev cable0",
                "link set cable0 up",
            ]
            ip_there = ["link set lo up", f"addr add {HOSTS[1]}/24 dev cable1", "link set cable1 up"]
            for enter, lines in zip(self._enter, (ip, ip_there), strict=True):
                for line in lines:
                    subprocess.run([*enter, "ip", *line.split()], check=True)
            (self._scratch / "config.yaml").write_text(CONFIG)
            self._start("job_manager", self._java(JOB_MANAGER, "-Xmx512m"))
            self.task_managers = [self.start_task_manager(host) for host in range(len(HOSTS))]
            self.pools = [self.start_pool(host) for host in range(len(HOSTS))]
            wait_for(self._has_all_task_managers, SECONDS)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def start_task_manager(self, host: int) -> subprocess.Popen:
        address = f"-Dtaskmanager.host={HOSTS[host]}"
        line = self._java(TASK_MANAGER, *TASK_MANAGER_LIMITS, flags=[address, f"-Dtaskmanager.resource-id=host{host}"])
        return self._start(f"task_manager{host}", [*self._enter[host], *line])

    def start_pool(self, host: int) -> subprocess.Popen:
        module = "beam_pipelines.worker_pool"
        line = [sys.executable, "-m", module, "--port", str(POOL_PORT)]
        return self._start(f"pool{host}", [*self._enter[host], *line])

    def kill_worker(self, host: int) -> str:
        """Waits for the next worker of a host, and kills it as it starts, before it can have connected; its name."""
        pool = self.pools[host].pid
        old = _workers_of(pool)
        new = wait_for(lambda: _workers_of(pool).items() - old.items(), SECONDS)
        ((process, name),) = new
        os.kill(process, signal.SIGKILL)
        return name

    def start_encode(self, source: str, output: Path) -> subprocess.Popen:
        """The command as its user starts it."""
        flags = ["--runner=FlinkRunner", "--flink_version=1.19", f"--flink_master={REST}", "--flink_submit_uber_jar"]
        flags += [f"--flink_job_server_jar={self._programs / JOB_JAR}", f"--parallelism={len(HOSTS)}"]
        flags += ["--environment_type=EXTERNAL", f"--environment_config=localhost:{POOL_PORT}"]
        return self._start("encode", [*runs.ENCODE, "--input", source, "--output", str(output), *runs.SHARDS, *flags])

    def get(self, path: str) -> Any:
        """What the JobManager's REST interface says."""
        with urllib.request.urlopen(f"http://{REST}/{path}", timeout=20) as answer:
            return json.load(answer)

    def jobs(self) -> list[dict[str, Any]]:
        """The newest first."""
        return sorted(self.get("jobs/overview")["jobs"], key=lambda job: -job["start-time"])

    def wait_until_finished(self, tasks: int) -> None:
        """Until so many tasks of the newest job, which runs, have finished."""

        def is_there() -> bool:
            job = next(iter(self.jobs()), None)
            return job is not None and job["state"] == "RUNNING" and job["tasks"]["finished"] >= tasks

        wait_for(is_there, SECONDS)

    def hosts_of_tasks(self) -> set[str]:
        """The TaskManagers that the newest job's tasks ran on."""
        job = self.jobs()[0]["jid"]
        vertices = self.get(f"jobs/{job}")["vertices"]
        details = (self.get(f"jobs/{job}/vertices/{vertex['id']}") for vertex in vertices)
        return {task["taskmanager-id"] for detail in details for task in detail["subtasks"]}

    def log(self, name: str) -> str:
        """What the last program of this name printed."""
        return max(self._scratch.glob(f"{name}-*.log"), key=lambda path: path.stat().st_mtime).read_text()

    def _has_all_task_managers(self) -> bool:
        with contextlib.suppress(OSError):  # the JobManager is not up yet
            return self.get("overview")["taskmanagers"] == len(HOSTS)
        return False

    def _java(self, main: str, *limits: str, flags: Sequence[str] = ()) -> list[str]:
        path = f"{self._programs / 'lib'}/*"
        return [*JAVA, *limits, "-cp", path, main, "--configDir", str(self._scratch), *flags]

    def _start(self, name: str, line: Sequence[str]) -> subprocess.Popen:
        self._number += 1
        with (self._scratch / f"{name}-{self._number}.log").open("w") as log:
            process = subprocess.Popen(
                line, cwd=runs.ROOT, env=runs.environment(), stdout=log, stderr=log, start_new_session=True
            )
        self._stack.callback(runs.end_group, process)
        return process


def _workers_of(pool: int) -> dict[int, str]:
    """The names of a pool's workers by process."""
    named = {}
    for children in Path("/proc").glob(f"{pool}/task/*/children"):
        for process in children.read_text().split():
            with contextlib.suppress(OSError):  # it has ended
                line = Path(f"/proc/{process}/cmdline").read_text()
                if found := re.search('worker_id="(.+?)"', line):  # else it is not yet a worker
                    named[int(process)] = found[1]
    return named
