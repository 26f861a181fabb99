"""Steps that run once. Each is a command that a user could type, and depends on all earlier steps.

`steps.json` in the folder records which step was done with which command. A step runs again if its command, an earlier
step or its input has changed, or if its output is gone. An interrupted step resumes.
"""

from __future__ import annotations

import hashlib
import json
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence

from job_runtime import command, storage
from job_runtime.command import Interrupted, StopSignal
from job_runtime.problem_report import UserError

FILE_NAME = "steps.json"
POLL_SECONDS = 0.2
QUIET = {"PYTHONWARNINGS": "ignore::FutureWarning"}


class StepFailed(Exception):
    """A command ended with a fault; its message is on standard error."""


class Steps:
    """Runs the steps of one folder in order."""

    def __init__(self, folder: str, num_steps: int, stop: StopSignal) -> None:
        self._path = storage.join(folder, FILE_NAME)
        self._num_steps = num_steps
        self._stop = stop
        self._step = 0
        self._key = ""
        self._known: dict[str, dict] = json.loads(storage.read_text(self._path)) if storage.exists(self._path) else {}

    def run(
        self, name: str, module: str, flags: Sequence[str], *, outputs: Sequence[str], depends_on: str = ""
    ) -> None:
        """Runs a step, unless it is done.

        Args:
          module, flags: `python -m module flags…`.
          outputs: files and folders that the step makes; those of another command are deleted first.
          depends_on: anything else that determines the outcome, such as a hash of the input.

        Raises:
          UserError, Interrupted, StepFailed: by the status of the command.
        """
        self._step += 1
        self._key = _digest(self._key, module, *flags, depends_on)
        known = self._known.get(name, {})
        is_same = known.get("key") == self._key
        if is_same and known["done"] and all(os.path.exists(path) for path in outputs):
            self._say(name, "already done")
            return
        if known and not is_same:
            for path in outputs:
                _remove(path)
        self._remember(name, done=False)
        line = ["python", "-m", module, *flags]
        self._say(name, shlex.join(line))
        self._finish(name, run_command([sys.executable, *line[1:]], self._stop))
        self._remember(name, done=True)

    def skip(self, name: str, text: str) -> None:
        """Counts a step that has nothing to do, and prints why."""
        self._step += 1
        self._say(name, text)

    def _say(self, name: str, text: str) -> None:
        print(f"[{self._step}/{self._num_steps}] {name}: {text}", flush=True)

    def _remember(self, name: str, *, done: bool) -> None:
        self._known[name] = {"key": self._key, "done": done}
        storage.write_bytes(self._path, (json.dumps(self._known, indent=1) + "\n").encode())

    def _finish(self, name: str, status: int) -> None:
        if status == command.USER_ERROR:
            raise UserError(f"{name} stopped because of the mistake above")
        if status == command.INTERRUPTED or self._stop.requested:
            raise Interrupted
        if status != command.OK:
            raise StepFailed(f"{name} ended with status {status}; its messages are above")


def run_command(line: Sequence[str], stop: StopSignal) -> int:
    """Runs a command to its end and returns its status; passes on a request to stop."""
    process = subprocess.Popen(line, env={**os.environ, **QUIET})
    is_terminated = False
    while True:
        try:
            return process.wait(POLL_SECONDS)
        except subprocess.TimeoutExpired:
            if stop.requested and not is_terminated:
                process.terminate()
                is_terminated = True


def _digest(*texts: str) -> str:
    return hashlib.sha256("\0".join(texts).encode("utf-8", "surrogateescape")).hexdigest()[:32]


def _remove(path: str) -> None:
    if os.path.isdir(path):
        shutil.rmtree(path)
    elif os.path.exists(path):
        os.unlink(path)
