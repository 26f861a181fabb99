import json
import os

import pytest

from job_runtime.problem_report import UserError
from trainer.distribution import cluster


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    for name in ("TF_CONFIG", "JOB_COMPLETION_INDEX"):
        monkeypatch.setenv(name, "")  # so that what a test sets is taken back
        monkeypatch.delenv(name)


def set_config(monkeypatch, config: object) -> None:
    monkeypatch.setenv("TF_CONFIG", config if isinstance(config, str) else json.dumps(config))


@pytest.mark.parametrize("config", ["", {}, {"cluster": {"worker": ["a:1"]}}])
def test_one_worker(monkeypatch, config):
    set_config(monkeypatch, config)
    assert cluster.num_workers() == 1 and cluster.is_chief()


@pytest.mark.parametrize(
    "jobs, task_type, index, workers, is_chief",
    [
        ({"worker": ["a:1", "b:1"]}, "worker", 0, 2, True),
        ({"worker": ["a:1", "b:1"]}, "worker", "1", 2, False),
        ({"chief": ["a:1"], "worker": ["b:1", "c:1"]}, "chief", 0, 3, True),
        ({"chief": ["a:1"], "worker": ["b:1"]}, "worker", 0, 2, False),
        ({"chief": [], "worker": ["a:1", "b:1"]}, "worker", 0, 2, True),
    ],
)
def test_how_many_there_are_and_which_one_writes(monkeypatch, jobs, task_type, index, workers, is_chief):
    set_config(monkeypatch, {"cluster": jobs, "task": {"type": task_type, "index": index}})
    assert (cluster.num_workers(), cluster.is_chief()) == (workers, is_chief)


def test_the_only_process_writes():
    assert cluster.is_chief()


@pytest.mark.parametrize(
    "text, wanted", [("{", "JSON"), ("[]", "an object"), ('{"cluster": []}', "an object"), ("null", "an object")]
)
def test_a_tf_config_that_is_none(monkeypatch, text, wanted):
    set_config(monkeypatch, text)
    with pytest.raises(UserError) as error:
        cluster.num_workers()
    assert error.value.problems == [f"TF_CONFIG is {text!r}, want {wanted} such as {cluster.WANTED}"]


def test_everything_wrong_with_a_tf_config_is_told_at_once(monkeypatch):
    jobs = {"chief": ["a:1", "b"], "worker": ["c:1", "a:1", "d:0", "e:x", ":5", 7], "ps": ["f:1"]}
    set_config(monkeypatch, {"cluster": jobs, "task": {"type": "worker", "index": 6}})
    with pytest.raises(UserError) as error:
        cluster.num_workers()
    port = "want host:port with a port from 1 to 65535"
    assert error.value.problems == [
        "TF_CONFIG: cluster names 'ps', want only chief and worker: nothing else takes part in this training",
        f"TF_CONFIG: cluster.chief[1] is 'b', {port}",
        "TF_CONFIG: cluster.worker[1] is 'a:1', as is cluster.chief[0]; want an address for each process",
        f"TF_CONFIG: cluster.worker[2] is 'd:0', {port}",
        f"TF_CONFIG: cluster.worker[3] is 'e:x', {port}",
        f"TF_CONFIG: cluster.worker[4] is ':5', {port}",
        f"TF_CONFIG: cluster.worker[5] is 7, {port}",
        "TF_CONFIG: cluster.chief has 2 addresses, want one at most",
        "TF_CONFIG: task.index is 6, want a number from 0 to 5, as cluster.worker has",
    ]


@pytest.mark.parametrize(
    "task, want",
    [
        (None, 'task is None, want {"type": "worker", "index": 0} or another of the cluster'),
        ({}, "task.type is None, want worker"),
        ({"type": "chief", "index": 0}, "task.type is 'chief', want worker"),
        ({"type": "evaluator", "index": 0}, "task.type is 'evaluator', want worker"),
        ({"type": ["worker"], "index": 0}, "task.type is ['worker'], want worker"),
        ({"type": "worker"}, "task.index is None, want a number from 0 to 1, as cluster.worker has"),
        ({"type": "worker", "index": -1}, "task.index is -1, want a number from 0 to 1, as cluster.worker has"),
        ({"type": "worker", "index": True}, "task.index is True, want a number from 0 to 1, as cluster.worker has"),
        ({"type": "worker", "index": 2}, "task.index is 2, want a number from 0 to 1, as cluster.worker has"),
    ],
)
def test_a_task_that_is_not_of_the_cluster(monkeypatch, task, want):
    set_config(monkeypatch, {"cluster": {"worker": ["a:1", "b:1"]}, "task": task})
    with pytest.raises(UserError) as error:
        cluster.num_workers()
    assert error.value.problems == [f"TF_CONFIG: {want}"]


def test_workers_that_are_no_list(monkeypatch):
    set_config(monkeypatch, {"cluster": {"worker": "a:1"}})
    with pytest.raises(UserError) as error:
        cluster.num_workers()
    assert error.value.problems == ["TF_CONFIG: cluster.worker is 'a:1', want a list of host:port"]


def test_flags_that_make_no_tf_config(monkeypatch):
    monkeypatch.setenv("JOB_COMPLETION_INDEX", "3")  # tuning workers have one too
    for workers, pattern in ((None, None), (1, None), (1, "host-{index}")):
        monkeypatch.setenv("TF_CONFIG", "")  # as a manifest may leave it; TensorFlow does not take it
        cluster.set_tf_config(workers, pattern)
        assert "TF_CONFIG" not in os.environ


@pytest.mark.parametrize(
    "pattern, want",
    [
        ("train-{index}.train", ["train-0.train:2222", "train-1.train:2222", "train-2.train:2222"]),
        ("127.0.0.1:900{index}", ["127.0.0.1:9000", "127.0.0.1:9001", "127.0.0.1:9002"]),
    ],
)
def test_tf_config_from_the_completion_index(monkeypatch, pattern, want):
    monkeypatch.setenv("JOB_COMPLETION_INDEX", "1")
    cluster.set_tf_config(3, pattern)
    assert json.loads(os.environ["TF_CONFIG"]) == {
        "cluster": {"worker": want},
        "task": {"type": "worker", "index": 1},
    }
    assert cluster.num_workers() == 3


def test_a_tf_config_that_is_there_stays(monkeypatch):
    config = {"cluster": {"worker": ["a:1", "b:1"]}, "task": {"type": "worker", "index": 0}}
    for workers in (None, 2):
        set_config(monkeypatch, config)
        cluster.set_tf_config(workers, "host-{index}")
        assert json.loads(os.environ["TF_CONFIG"]) == config
    with pytest.raises(UserError) as error:
        cluster.set_tf_config(3, "host-{index}")
    assert error.value.problems == ["--num-workers is 3 but TF_CONFIG names 2; want the same, or one of the two"]


@pytest.mark.parametrize(
    "workers, pattern, index, want",
    [
        (0, "a-{index}", "0", ["--num-workers is 0, want at least 1"]),
        (2, None, "0", ["--worker-host-pattern is None, want a host name with {index} in it"]),
        (2, "host", "1", ["--worker-host-pattern is 'host', want a host name with {index} in it"]),
        (2, "a-{index}", "2", ["JOB_COMPLETION_INDEX is '2', want this worker's number, 0 to 1"]),
        (2, "a-{index}", "-1", ["JOB_COMPLETION_INDEX is '-1', want this worker's number, 0 to 1"]),
        (None, "a-{index}", "0", ["--worker-host-pattern is given without --num-workers; want both, or neither"]),
        (
            2,
            "a-{index}:x",
            "0",
            [
                f"--worker-host-pattern is 'a-{{index}}:x': cluster.worker[{worker}] is 'a-{worker}:x',"
                " want host:port with a port from 1 to 65535"
                for worker in (0, 1)
            ],
        ),
        (
            -1,
            "host",
            "",
            [
                "--num-workers is -1, want at least 1",
                "--worker-host-pattern is 'host', want a host name with {index} in it",
                "JOB_COMPLETION_INDEX is '', want this worker's number, 0 to 0",
            ],
        ),
    ],
)
def test_flags_that_cannot_be(monkeypatch, workers, pattern, index, want):
    monkeypatch.setenv("JOB_COMPLETION_INDEX", index)
    with pytest.raises(UserError) as error:
        cluster.set_tf_config(workers, pattern)
    assert error.value.problems == want
    assert "TF_CONFIG" not in os.environ
