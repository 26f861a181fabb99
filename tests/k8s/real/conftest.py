"""A control plane for the checks of this folder. No file here is collected by itself: `make test-cluster` names them.

Variables: KUBERNETES, the folder that `scripts/build_kubernetes.sh` filled.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.k8s.real import control_plane

PROGRAMS = Path(os.environ.get("KUBERNETES", "../kubernetes")).resolve()


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[control_plane.Api]:
    """An empty cluster without nodes that knows JobSet and Kueue."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that programs of the control plane are ended, too
    with control_plane.serve(PROGRAMS, tmp_path_factory.mktemp("control_plane")) as found:
        done = found.kubectl("apply", "--server-side", "-f", str(PROGRAMS / "definitions"))
        assert done.returncode == 0, done.stderr
        done = found.kubectl("wait", "--for=condition=established", "--all", "crd", "--timeout=60s")
        assert done.returncode == 0, done.stderr
        yield found
