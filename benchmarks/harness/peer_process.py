"""Our side of a peer: a warm process of `.venv-peers` that runs a case per request."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping, Sequence
from typing import Any, Self

from benchmarks.harness.machine import ROOT
from job_runtime.problem_report import UserError

PYTHON = ROOT / ".venv-peers" / "bin" / "python"


class WarmProcess:
    """A running process that answers as `benchmarks.peers.serve` does; a context manager.

    Args:
      command: the process's command line.
      setup: the first object that it reads.
      environment: its environment variables; None for this process's.

    Raises:
      RuntimeError: it ended; its messages are on standard error.
    """

    def __init__(self, command: Sequence[str], setup: Any, *, environment: Mapping[str, str] | None = None):
        self._process = subprocess.Popen(
            command, cwd=ROOT, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self._send(setup)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()  # closes its input, which ends it

    def ask(self, case: str) -> None:
        """Starts one run of a case; `answer` waits for its end."""
        self._send({"case": case})

    def _send(self, request: Any) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()

    def answer(self) -> Any:
        """The next line that the process prints: first its versions, then one per run."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"the process {self._process.args!r} ended with status {self._process.wait()}")
        return json.loads(line)

    def seconds(self, case: str) -> float:
        """Runs a case once; returns its seconds by the process's own clock."""
        self.ask(case)
        return float(self.answer()["seconds"])


class PeerProcess(WarmProcess):
    """A running module of `benchmarks.peers` in `.venv-peers`; `versions` are those of its packages."""

    def __init__(self, module: str, setup: Any):
        super().__init__([str(PYTHON), "-m", f"benchmarks.peers.{module}"], setup)
        self.versions: dict[str, str] = self.answer()


def peers_installed(*, required: bool) -> bool:
    """Whether `.venv-peers` exists.

    Raises:
      UserError: it is missing and required.
    """
    if (PYTHON.parent.parent / ".installed").exists():
        return True
    if required:
        raise UserError("the peers to compare with are not installed; run: make peers")
    print("no .venv-peers (make peers): only our cases, without ratios to peers", flush=True)
    return False
