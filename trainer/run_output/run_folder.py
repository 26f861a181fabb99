"""The run folder: which run it belongs to, and the starts of that run.

run.json         settings, the dataset's hash, the hash of the bundle it started from; written first, never changed
starts.jsonl     one JSON object per start: time, code version, Python, packages, devices and strategy

`checkpoint`, `monitor`, `samples` and `run_files` write the folder's other files; `trainer.training.loop` lists them.
"""

from __future__ import annotations

import dataclasses
import hashlib
import importlib.metadata
import json
import platform
import time
from typing import Any

from job_runtime import json_text, storage
from job_runtime.code_version import code_version
from job_runtime.problem_report import UserError
from trainer.config import TrainConfig

RUN_FILE = "run.json"
STARTS_FILE = "starts.jsonl"
PACKAGES = ("tensorflow", "keras", "numpy")


def describe(config: TrainConfig, *, dataset: str, init_from: str | None) -> dict[str, Any]:
    """What decides the outcome of a run, as JSON: its settings and two hashes."""
    return json.loads(json.dumps({**dataclasses.asdict(config), "dataset": dataset, "init_from": init_from}))


def number_of(described: dict[str, Any]) -> float:
    """A hash of the description as a whole number below 2**40: equal for equal runs."""
    digest = hashlib.sha256(json.dumps(described, sort_keys=True).encode()).digest()
    return float(int.from_bytes(digest[:5], "little"))


def saved(folder: str) -> dict[str, Any] | None:
    """The description of the run in the folder; None if there is none.

    A setting that came later has its default, with which runs are as they were before.
    """
    try:
        found = json_text.load(storage.join(folder, RUN_FILE), dict[str, Any])
    except FileNotFoundError:
        return None
    return {**json.loads(json.dumps(dataclasses.asdict(TrainConfig()))), **found}


def check(folder: str, described: dict[str, Any]) -> None:
    """Compares a run with the one in the folder, if there is one.

    Raises:
      UserError: the folder holds a run with other settings or another dataset; all differences at once.
    """
    path = storage.join(folder, RUN_FILE)
    there = saved(folder)
    if there is None:
        return
    names = sorted(described.keys() | there.keys())
    differences = [
        f"{path}: {name} is {json_text.shown(there.get(name))} there and {json_text.shown(described.get(name))} here;"
        " want the same, or another --output"
        for name in names
        if there.get(name) != described.get(name)
    ]
    if differences:
        raise UserError(differences)


def claim(folder: str, described: dict[str, Any]) -> None:
    """Writes `run.json`, or compares it with the one that is already there, as `check` does.

    The folder then belongs to this run, and files that killed starts left half written are deleted.
    """
    text = json.dumps(described, indent=1) + "\n"
    if not storage.write_bytes(storage.join(folder, RUN_FILE), text.encode(), only_if_absent=True):
        check(folder, described)
    storage.delete_leftovers(folder)


def note_start(folder: str, **facts: Any) -> None:
    """Adds a line to `starts.jsonl`: the time, code and environment of this start, and the given facts."""
    path = storage.join(folder, STARTS_FILE)
    try:
        before = storage.read_bytes(path)
    except FileNotFoundError:
        before = b""
    line = {
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "code_version": code_version("job_runtime", "midi_codec", "trainer"),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": {name: importlib.metadata.version(name) for name in PACKAGES},
        **facts,
    }
    storage.write_bytes(path, before + json.dumps(line).encode() + b"\n")
