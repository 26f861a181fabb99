"""Our side of a peer: a process of `.venv-peers` that stays warm and runs a case each time it is asked."""

from __future__ import annotations

import json
import subprocess
from typing import Any

from benchmarks.machine import ROOT
from midi_codec.command import UserError

PYTHON = ROOT / ".venv-peers" / "bin" / "python"


class PeerProcess:
    """A running peer; a context manager.

    Args:
      module: of `benchmarks.peers`.
      setup: what it reads first.

    Raises:
      RuntimeError: it ended; what it said is on standard error.
    """

    def __init__(self, module: str, setup: Any):
        command = [str(PYTHON), "-m", f"benchmarks.peers.{module}"]
        self._process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.versions: dict[str, str] = self._exchange(setup)

    def __enter__(self) -> PeerProcess:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()  # closes its input, at which it ends

    def seconds(self, case: str) -> float:
        """Runs a case once; the seconds it took by the peer's own clock."""
        return float(self._exchange({"case": case})["seconds"])

    def _exchange(self, request: Any) -> Any:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"the peer {self._process.args!r} ended with status {self._process.wait()}")
        return json.loads(line)


def peers_installed(*, required: bool) -> bool:
    """Whether there is a `.venv-peers`.

    Raises:
      UserError: there is none and it is required.
    """
    if (PYTHON.parent.parent / ".installed").exists():
        return True
    if required:
        raise UserError("the peers to compare with are not installed; run: make peers")
    print("no .venv-peers (make peers): ours alone, without ratios to peers", flush=True)
    return False
