"""Checkpoints: all that a run needs to continue as if it had not stopped.

    checkpoints/step-00001200.npz    every variable of model and optimizer by its index, and `state`, JSON text

A checkpoint is one file, written whole or not at all through the same storage as everything else, so that local paths
and buckets behave alike. If a file cannot be read, a warning is logged and the one before it is used.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from job_runtime import json_text, storage
from job_runtime.storage import array_file

KEPT = 2  # the newest, and the one before it in case the newest is damaged
_log = logging.getLogger(__name__)


def save(folder: str, step: int, variables: Sequence[Any], state: dict[str, Any]) -> None:
    """Writes a checkpoint, then deletes all but the newest `KEPT`.

    Args:
      variables: Keras variables, in an order that the program fixes.
      state: what else the run needs to continue; JSON.
    """
    arrays = {f"{index:04d}": np.asarray(variable.value) for index, variable in enumerate(variables)}
    arrays["state"] = np.frombuffer(json.dumps({"step": step, **state}).encode(), np.uint8)
    name = f"step-{step:08d}.npz"
    array_file.write(storage.join(folder, name), arrays)
    all_paths = paths(folder)
    older = [path for path in all_paths if path.rsplit("/", 1)[-1] < name]
    later = [
        path for path in all_paths if path.rsplit("/", 1)[-1] > name
    ]  # not readable, so the run continued before it
    for path in [*older[: 1 - KEPT], *later]:
        storage.delete(path)


def restore_latest(folder: str, variables: Sequence[Any]) -> dict[str, Any] | None:
    """Assigns the newest whole checkpoint to the variables and returns its state; None if there is none."""
    for path in reversed(paths(folder)):
        try:
            arrays = array_file.read(path)
            if len(arrays) != len(variables) + 1:
                raise ValueError(f"holds {len(arrays) - 1} variables, want {len(variables)}")
            values = [arrays[f"{index:04d}"] for index in range(len(variables))]
            state = _state(arrays)
            for value, variable in zip(values, variables, strict=True):
                if value.shape != tuple(variable.shape):
                    raise ValueError(f"{variable.path} is {value.shape}, want {tuple(variable.shape)}")
        except (ValueError, KeyError, FileNotFoundError) as error:  # other storage errors may pass: they are raised
            _log.warning("%s: passed over, not a whole checkpoint of this run: %s", path, error)
            continue
        for value, variable in zip(values, variables, strict=True):
            variable.assign(value)
        return state
    return None


def latest_state(folder: str) -> dict[str, Any] | None:
    """The state in the newest readable checkpoint, or None."""
    for path in reversed(paths(folder)):
        try:
            return _state(array_file.read(path))
        except (ValueError, KeyError, FileNotFoundError):
            continue  # `restore_latest` logs it, if the run continues
    return None


def _state(arrays: Mapping[str, np.ndarray]) -> dict[str, Any]:
    return json_text.parse(arrays["state"].tobytes(), dict[str, Any], allow_nan=True)  # best_nll is infinite at first


def paths(folder: str) -> list[str]:
    """The checkpoints in a folder, oldest first."""
    all_paths = [entry.path for entry in storage.list_files(folder, missing_ok=True)]
    return sorted(path for path in all_paths if path.rsplit("/", 1)[-1].startswith("step-") and path.endswith(".npz"))
