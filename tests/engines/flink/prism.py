"""An encode on Prism, Beam's runner for one machine, in a network of its own: `make test-engines`."""

import subprocess

import pytest

from tests.engines import runs
from tests.engines.flink.programs import FOLDER, PRISM

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not (FOLDER / PRISM).exists(), reason=f"{FOLDER} has no Prism, which needs Go to be built"),
]


def test_the_same_bytes(music, plain, tmp_path):
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    runs.encode(music, tmp_path / "d", "--runner=PrismRunner", f"--prism_location={FOLDER / PRISM}")
    assert runs.files_of(tmp_path / "d") == plain
