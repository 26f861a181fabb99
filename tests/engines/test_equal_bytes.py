"""Every engine that runs here writes the dataset that no engine writes, byte for byte."""

import functools
import subprocess
import sys

import pytest

from job_runtime.command import USER_ERROR
from tests.engines import runs

pytestmark = pytest.mark.slow

JOB_PORT, POOL_PORT = 8099, 50000  # of a network that no other process sees
PORTABLE = (
    f"--job_endpoint=localhost:{JOB_PORT}",
    "--environment_type=EXTERNAL",
    f"--environment_config=localhost:{POOL_PORT}",
)

# What a cluster has: a job service, and a pool that starts workers. Beam binds the first to all addresses.
CLUSTER = f"""
ip link set lo up
"$PYTHON" -m apache_beam.runners.portability.local_job_service_main --job_port {JOB_PORT} --staging_dir "$STAGING" &
"$PYTHON" -m beam_pipelines.worker_pool --port {POOL_PORT} &
for port in {JOB_PORT} {POOL_PORT}; do
    until (echo >/dev/tcp/localhost/$port) 2>/dev/null; do sleep 0.1; done
done
exec "$@"
"""


def test_beam_in_one_process(music, plain, tmp_path):
    runs.encode(music, tmp_path / "d", "--runner=FnApiRunner")
    assert runs.files_of(tmp_path / "d") == plain


def test_beam_with_two_worker_processes(music, plain, tmp_path):
    flags = ("--runner=FnApiRunner", "--direct_num_workers=2", "--direct_running_mode=multi_processing")
    runs.encode(music, tmp_path / "d", *flags)
    assert runs.files_of(tmp_path / "d") == plain


@functools.cache
def private_network() -> tuple[str, ...]:
    """The start of a command line that runs the rest in a network of its own, or skips where that is not allowed."""
    for line in (("unshare", "--net"), ("unshare", "--map-root-user", "--net")):
        try:
            done = subprocess.run([*line, "ip", "link", "set", "lo", "up"], capture_output=True)
        except FileNotFoundError:
            continue
        if done.returncode == 0:
            return line
    pytest.skip("a private network needs root, or user namespaces (`unshare --map-root-user --net`), and util-linux")


def test_a_job_service_and_a_pool_of_workers(music, plain, tmp_path):
    line = [*private_network(), "bash", "-c", CLUSTER, "bash", *runs.ENCODE]
    flags = ["--input", music, "--output", str(tmp_path / "d"), *runs.SHARDS, "--runner=FlinkRunner", *PORTABLE]
    text = runs.run(*line, *flags, env={"PYTHON": sys.executable, "STAGING": str(tmp_path / "staging")})
    assert "Starting worker with command" in text  # the pool's, so a process of its own did the work
    assert runs.files_of(tmp_path / "d") == plain


def test_a_runner_that_beam_does_not_have(music, tmp_path):
    text = runs.encode(music, tmp_path / "d", "--runner=Rocket", status=USER_ERROR)
    assert text.splitlines()[-1].startswith(
        "python -m beam_pipelines.encode_corpus: Unexpected pipeline runner: Rocket. Valid values are DataflowRunner, "
    )
    assert not (tmp_path / "d").exists()
