"""Which processes train together: reads `TF_CONFIG`, or makes it in a Kubernetes Indexed Job. Needs no TensorFlow.

    {"cluster": {"chief": [host:port], "worker": [host:port, ...]}, "task": {"type": "worker", "index": 0}}

Without a `chief`, worker 0 is the chief. Source: the guide to multi-worker training with Keras, tensorflow.org.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any

from job_runtime import json_text
from job_runtime.command_line import numerals
from job_runtime.problem_report import UserError

DEFAULT_PORT = 2222
JOBS = ("chief", "worker")
WANTED = '{"cluster": {"worker": ["host:port", ...]}, "task": {"type": "worker", "index": 0}}'


def num_workers() -> int:
    """How many processes `TF_CONFIG` names; 1 where it is not set, or names none.

    Raises:
      UserError: everything in `TF_CONFIG` that is wrong.
    """
    text = os.environ.get("TF_CONFIG")
    if not text:
        return 1
    try:
        config = json_text.parse(text)
    except json_text.JsonError as error:
        raise UserError(f"TF_CONFIG is {json_text.shown(text)}, want JSON such as {WANTED}") from error
    if not isinstance(config, dict) or not isinstance(config.get("cluster", {}), dict):
        raise UserError(f"TF_CONFIG is {json_text.shown(text)}, want an object such as {WANTED}")
    cluster = config.get("cluster", {})
    problems = _cluster_problems(cluster)
    sizes = {job: len(cluster[job]) for job in JOBS if isinstance(cluster.get(job), list)}
    if sum(sizes.values()) > 1:
        problems += _task_problems(config.get("task"), sizes)
    if problems:
        raise UserError([f"TF_CONFIG: {problem}" for problem in problems])
    return max(1, sum(sizes.values()))


def is_chief() -> bool:
    """Whether this process is the one that writes: the chief if `TF_CONFIG` names one, else worker 0."""
    if num_workers() == 1:
        return True
    config = json_text.parse(os.environ["TF_CONFIG"])
    task = config["task"]
    return task["type"] == "chief" or (not config["cluster"].get("chief") and int(task["index"]) == 0)


def _cluster_problems(cluster: Mapping[str, Any]) -> list[str]:
    problems = [
        f"cluster names {job!r}, want only chief and worker: nothing else takes part in this training"
        for job in cluster
        if job not in JOBS
    ]
    seen: dict[str, str] = {}
    for job in JOBS:
        addresses = cluster.get(job, [])
        if not isinstance(addresses, list):
            problems.append(f"cluster.{job} is {addresses!r}, want a list of host:port")
            continue
        for index, address in enumerate(addresses):
            location = f"cluster.{job}[{index}]"
            if not _is_address(address):
                problems.append(f"{location} is {address!r}, want host:port with a port from 1 to 65535")
            elif address in seen:
                problems.append(f"{location} is {address!r}, as is {seen[address]}; want an address for each process")
            else:
                seen[address] = location
    chiefs = cluster.get("chief", [])
    if isinstance(chiefs, list) and len(chiefs) > 1:
        problems.append(f"cluster.chief has {len(chiefs)} addresses, want one at most")
    return problems


def _is_address(address: Any) -> bool:
    host, colon, port = address.rpartition(":") if isinstance(address, str) else ("", "", "")
    return bool(host and colon) and numerals.is_index(port) and 1 <= int(port) <= 65535


def _task_problems(task: Any, sizes: Mapping[str, int]) -> list[str]:
    if not isinstance(task, dict):
        return [f'task is {task!r}, want {{"type": "worker", "index": 0}} or another of the cluster']
    size = sizes.get(task.get("type", ""), 0) if isinstance(task.get("type"), str) else 0
    if not size:
        return [f"task.type is {task.get('type')!r}, want {' or '.join(job for job in sizes if sizes[job])}"]
    index = task.get("index")
    if isinstance(index, bool) or not numerals.is_index(str(index)) or int(str(index)) >= size:
        return [f"task.index is {index!r}, want a number from 0 to {size - 1}, as cluster.{task['type']} has"]
    return []


def set_tf_config(workers: int | None, host_pattern: str | None) -> None:
    """Makes `TF_CONFIG` from the number of workers and `JOB_COMPLETION_INDEX`, unless it is set already.

    A completion index alone means nothing: tuning workers have one too.

    Args:
      workers: of the job; None or 1 leaves the environment unchanged.
      host_pattern: a worker's address with `{index}` in it, with or without `:port`.

    Raises:
      UserError: what is missing, wrong or different from a `TF_CONFIG` that is set; all at once.
    """
    if os.environ.get("TF_CONFIG") == "":
        del os.environ["TF_CONFIG"]  # TensorFlow would read it as JSON
    if "TF_CONFIG" in os.environ:
        named = num_workers()
        if workers not in (None, named):
            raise UserError(f"--num-workers is {workers} but TF_CONFIG names {named}; want the same, or one of the two")
        return
    if workers is None and host_pattern:
        raise UserError("--worker-host-pattern is given without --num-workers; want both, or neither")
    if workers is None or workers == 1:
        return
    problems = _flag_problems(workers, host_pattern)
    if problems:
        raise UserError(problems)
    assert host_pattern is not None
    pattern = host_pattern if ":" in host_pattern else f"{host_pattern}:{DEFAULT_PORT}"
    addresses = [pattern.replace("{index}", str(worker)) for worker in range(workers)]
    task = {"type": "worker", "index": int(os.environ["JOB_COMPLETION_INDEX"])}
    problems = _cluster_problems({"worker": addresses})
    if problems:
        raise UserError([f"--worker-host-pattern is {host_pattern!r}: {problem}" for problem in problems])
    os.environ["TF_CONFIG"] = json.dumps({"cluster": {"worker": addresses}, "task": task})


def _flag_problems(workers: int, host_pattern: str | None) -> list[str]:
    problems = []
    if workers < 1:
        problems.append(f"--num-workers is {workers}, want at least 1")
    if not host_pattern or "{index}" not in host_pattern:
        problems.append(f"--worker-host-pattern is {host_pattern!r}, want a host name with {{index}} in it")
    index = os.environ.get("JOB_COMPLETION_INDEX", "")
    if not numerals.is_index(index) or int(index) >= max(workers, 1):
        problems.append(f"JOB_COMPLETION_INDEX is {index!r}, want this worker's number, 0 to {max(workers, 1) - 1}")
    return problems
