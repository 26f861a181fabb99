"""The machine that a figure was measured on: processor, cores, versions, commit."""

from __future__ import annotations

import importlib.metadata
import os
import pathlib
import platform
import subprocess
from collections.abc import Mapping, Sequence
from typing import Any

from trainer.model import precision

ROOT = pathlib.Path(__file__).resolve().parents[2]


def describe(packages: Sequence[str], peers: Mapping[str, str]) -> dict[str, Any]:
    """The value of `machine` in a benchmark's last line.

    Args:
      packages: our packages whose versions matter.
      peers: versions in `.venv-peers`, as the peer reported them.
    """
    return {
        "cpu": _cpu_model(),
        "cores": len(os.sched_getaffinity(0)),
        "matrix_instructions": matrix_instructions(_cpu_line("flags")),
        "python": platform.python_version(),
        "versions": {name: importlib.metadata.version(name) for name in packages},
        "peers": dict(peers),
        "commit": _commit(),
        "load_average": round(os.getloadavg()[0], 1),  # at the end; far above `cores` on a busy machine
    }


def _cpu_model() -> str:
    return _cpu_line("model name") or platform.machine()


def matrix_instructions(flags: str) -> str:
    """What multiplies bfloat16 on this processor: `AMX`, `AVX512-BF16` or `none`."""
    known = {precision.TILES: "AMX", precision.PAIRS: "AVX512-BF16"}
    return next((name for flag, name in known.items() if flag in flags.split()), "none")


def _cpu_line(key: str) -> str:
    """What Linux says of the first processor; empty if it does not say it."""
    description = pathlib.Path("/proc/cpuinfo")
    lines = description.read_text(encoding="utf-8").splitlines() if description.exists() else []
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(key)), "")


def _commit() -> str | None:
    """The commit, with `+` if its files have changed; None outside a repository."""
    try:
        head = subprocess.run(["git", "rev-parse", "--short=12", "HEAD"], cwd=ROOT, capture_output=True, text=True)
        changed = subprocess.run(["git", "diff", "--quiet", "HEAD"], cwd=ROOT, capture_output=True)
    except FileNotFoundError:
        return None
    if head.returncode:
        return None
    return head.stdout.strip() + ("+" if changed.returncode else "")
