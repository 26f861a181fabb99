"""An encode on a real session cluster of Flink, also where parts of it die: `make test-engines`.

The tests share one cluster, and end with the first that fails.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest

from job_runtime import command
from tests.engines import runs
from tests.engines.flink.cluster import POOL_PORT, SECONDS, Cluster
from tests.engines.flink.programs import FOLDER
from tests.waiting import wait_for

pytestmark = pytest.mark.slow
SOME_TASKS = 20  # that have finished when something dies, of about two hundred


@pytest.fixture(scope="module")
def cluster(tmp_path_factory) -> Iterator[Cluster]:
    with Cluster(FOLDER, tmp_path_factory.mktemp("flink")) as found:
        yield found


def test_the_same_bytes_from_both_hosts(cluster, music, plain, tmp_path):
    encode = cluster.start_encode(music, tmp_path / "d")
    assert encode.wait(SECONDS) == command.OK, cluster.log("encode")
    assert runs.files_of(tmp_path / "d") == plain
    assert cluster.jobs()[0]["state"] == "FINISHED"
    assert cluster.hosts_of_tasks() == {"host0", "host1"}


def test_a_killed_task_manager_changes_nothing(cluster, music, plain, tmp_path):
    encode = cluster.start_encode(music, tmp_path / "d")
    cluster.wait_until_finished(SOME_TASKS)
    runs.end_group(cluster.task_managers[1])
    cluster.task_managers[1] = cluster.start_task_manager(1)
    assert encode.wait(SECONDS) == command.OK, cluster.log("encode")
    assert runs.files_of(tmp_path / "d") == plain


def test_a_killed_worker_changes_nothing(cluster, music, plain, tmp_path):
    encode = cluster.start_encode(music, tmp_path / "d")
    cluster.wait_until_finished(SOME_TASKS)
    killed = cluster.kill_worker(1)  # while it starts, which Flink alone would wait for without end
    assert encode.wait(SECONDS) == command.OK, cluster.log("encode")
    assert f"worker {killed} died with status -9" in cluster.log("pool1")
    assert runs.files_of(tmp_path / "d") == plain


def test_a_signal_cancels_the_job(cluster, music, tmp_path):
    encode = cluster.start_encode(music, tmp_path / "d")
    cluster.wait_until_finished(SOME_TASKS)
    encode.send_signal(signal.SIGTERM)
    assert encode.wait(SECONDS) == command.INTERRUPTED, cluster.log("encode")
    wait_for(lambda: cluster.jobs()[0]["state"] == "CANCELED", SECONDS)


def test_without_its_pools_the_command_fails_and_later_continues(cluster, music, plain, tmp_path):
    encode = cluster.start_encode(music, tmp_path / "d")
    cluster.wait_until_finished(SOME_TASKS)
    for pool in cluster.pools:
        runs.end_group(pool)  # and its workers
    assert encode.wait(SECONDS) == command.FAULT
    assert f"Connection refused: localhost/127.0.0.1:{POOL_PORT}" in cluster.log("encode")  # Flink's reason
    cluster.pools[:] = [cluster.start_pool(host) for host in range(2)]
    again = cluster.start_encode(music, tmp_path / "d")
    assert again.wait(SECONDS) == command.OK, cluster.log("encode")
    assert runs.files_of(tmp_path / "d") == plain
