"""What the real Job controller makes of the rendered Jobs when their containers end in some way. By hand:
`make test-cluster`.

A short script takes the place of each command; the rest of the manifests is as it is. The controller waits ten seconds
before it makes a pod again, and twice as long each time.
"""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.k8s.real.control_plane import Api
from tests.k8s.real.namespace import Namespace
from tests.k8s.rendered import Object, fill, job_specs, of_kind, render_folder
from tests.waiting import wait_for

pytestmark = pytest.mark.slow
COUNT = 'touch $0/{job}-$JOB_COMPLETION_INDEX-$$; tries=$(ls $0 | grep -c "{job}-$JOB_COMPLETION_INDEX-"); '


@pytest.fixture
def namespace(api: Api, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Namespace]:
    name = request.node.name.removeprefix("test_").replace("_", "-")[:40].strip("-")
    with Namespace(api, tmp_path, name, ENCODE_PODS="2", GENERATE_PODS="2", TUNE_PODS="2") as found:
        yield found


def by_script(job: str, script: str, **spec: int) -> Callable[[str, Object], None]:
    """Changes `spec` of a Job, and its command to a script, which knows the volume `$0` and the index's `$tries`."""

    def change(name: str, found: Object) -> None:
        (container,) = found["template"]["spec"]["containers"]
        text = script if name == job else "sleep 1000"
        container["command"] = ["bash", "-c", COUNT.format(job=name) + text]
        container["args"] = ["/music"]
        found.update(spec if name == job else {})

    return change


def tries(namespace: Namespace, job: str) -> dict[int, int]:
    found = [re.fullmatch(rf"{job}-(\d*)-\d+", path.name) for path in namespace.music.iterdir()]
    indexes = [int(each[1] or 0) for each in found if each]
    return {index: indexes.count(index) for index in sorted(set(indexes))}


def test_interrupted_with_everything_saved_or_before_anything_was_done_is_never_counted(namespace: Namespace):
    namespace.add_node()
    script = "((tries > 2)) || if ((JOB_COMPLETION_INDEX)); then kill $$; else exit 75; fi"
    namespace.apply("generate", by_script("generate", script, backoffLimitPerIndex=0))
    assert namespace.end("generate")[0] == "Complete"
    assert tries(namespace, "generate") == {0: 3, 1: 3}
    status = namespace.job("generate")["status"]
    assert (status["succeeded"], status.get("failed", 0), status["completedIndexes"]) == (2, 0, "0,1")


def test_a_mistake_fails_the_job_at_once(namespace: Namespace):
    namespace.add_node()
    namespace.apply("generate", by_script("generate", "[[ $JOB_COMPLETION_INDEX = 1 ]] && exit 2; exec sleep 1000"))
    kind, reason, message = namespace.end("generate")
    assert (kind, reason) == ("Failed", "PodFailurePolicy")
    assert re.fullmatch(
        "Container job for pod [^ ]+/generate-1-[a-z0-9]+ failed with exit code 2 matching FailJob rule at index 2",
        message,
    )
    assert max(tries(namespace, "generate").values()) == 1
    wait_for(lambda: not namespace.running("generate"), 60)  # the other index was ended


def test_a_fault_is_retried_up_to_the_limit_of_its_index(namespace: Namespace):
    namespace.add_node()
    namespace.apply("encode", by_script("encode", "exit $((JOB_COMPLETION_INDEX == 0))", backoffLimitPerIndex=1))
    kind, reason, _ = namespace.end("encode")
    status = namespace.job("encode")["status"]
    assert (kind, reason, status["failedIndexes"]) == ("Failed", "MaxFailedIndexesExceeded", "0")
    assert tries(namespace, "encode") == {0: 2, 1: 1}


def test_a_search_continues_without_one_of_its_workers(namespace: Namespace):
    namespace.add_node()
    done = namespace.api.kubectl("create", "namespace", namespace.name)
    secret = ["secret", "generic", "tune-postgres", "--from-literal=password=x"]
    assert done.returncode == namespace.api.kubectl("-n", namespace.name, "create", *secret).returncode == 0
    script = "[[ $JOB_COMPLETION_INDEX = 0 ]] && exit 1; while ! [[ -e $0/go ]]; do sleep 0.2; done"
    namespace.apply("tune", by_script("tune", script, backoffLimitPerIndex=0))
    wait_for(lambda: namespace.job("tune")["status"].get("failedIndexes") == "0", 60)
    assert len(namespace.running("tune")) == 1
    (namespace.music / "go").touch()
    kind, reason, _ = namespace.end("tune")
    status = namespace.job("tune")["status"]
    assert (kind, reason, status["completedIndexes"]) == ("Failed", "FailedIndexes", "1")


def test_drains_are_never_counted(namespace: Namespace):
    namespace.add_node()
    script = "trap 'exit 1' TERM; while ! [[ -e $0/go ]]; do sleep 0.2; done"
    namespace.apply("generate", by_script("generate", script, backoffLimitPerIndex=0))
    for _ in range(2):
        node = namespace.nodes[-1]
        wait_for(lambda node=node: len(node.running("generate")) == 2, 60)
        namespace.add_node()
        namespace.drain(node)
    (namespace.music / "go").touch()
    assert namespace.end("generate")[0] == "Complete"
    assert tries(namespace, "generate") == {0: 3, 1: 3}
    assert namespace.job("generate")["status"].get("failed", 0) == 0


def test_a_preempted_and_a_lost_node(namespace: Namespace):
    """The pods of a node that shuts down, and of one that is gone and deleted, count as disrupted."""
    namespace.add_node()
    script = "trap 'exit 1' TERM; ((tries > 2)) || { sleep 1000 & wait; }"
    namespace.apply("generate", by_script("generate", script, backoffLimitPerIndex=0))
    for end in ("shut_down", "lose"):
        node = namespace.nodes[-1]
        wait_for(lambda node=node: len(node.running("generate")) == 2, 60)
        getattr(node, end)()
        namespace.add_node()
    assert namespace.end("generate", 200)[0] == "Complete"
    assert namespace.job("generate")["status"].get("failed", 0) == 0
    assert tries(namespace, "generate") == {0: 3, 1: 3}


def test_a_killed_container_counts_once(namespace: Namespace):
    """As when it takes more memory than it may: a fault of its own, which is retried."""
    namespace.add_node()
    namespace.apply("encode", by_script("encode", "((tries > 1)) || exec sleep 1000"))
    wait_for(lambda: tries(namespace, "encode") == {0: 1, 1: 1}, 60)
    for pod in namespace.running("encode"):
        os.kill(pod.process.pid, signal.SIGKILL)
    assert namespace.end("encode")[0] == "Complete"
    assert namespace.job("encode")["status"]["failed"] == 2


def test_a_finished_job_is_deleted_with_its_pods(namespace: Namespace):
    namespace.add_node()
    namespace.apply("generate", by_script("generate", "true", ttlSecondsAfterFinished=3))
    wait_for(lambda: not namespace.api.kubectl("-n", namespace.name, "get", "job", "generate").stdout, 60)
    wait_for(lambda: not namespace.pods("generate"), 60)


def test_a_deadline_ends_the_pods(namespace: Namespace):
    namespace.add_node()
    script = "trap 'touch $0/saved; exit 75' TERM; sleep 1000 & wait"
    namespace.apply("generate", by_script("generate", script, activeDeadlineSeconds=10))
    assert namespace.end("generate")[:2] == ("Failed", "DeadlineExceeded")
    assert (namespace.music / "saved").exists()
    assert tries(namespace, "generate") == {0: 1, 1: 1}


@pytest.mark.parametrize("how", ["mistake", "interrupted", "drained", "fault"])
def test_what_a_jobset_is_told_of_its_workers(api: Api, tmp_path: Path, how: str):
    """Its rules match the Job controller's reasons and messages."""
    with Namespace(api, tmp_path, f"jobset-{how}") as namespace:
        node = namespace.add_node()
        objects = render_folder(
            fill("gke", tmp_path / "gke", PROJECT="my-project", BUCKET="my-bucket") / "train-jobset"
        )
        ((name, spec),) = job_specs(objects)
        pod = spec["template"]["spec"]
        (container,) = pod["containers"]
        code = {"mistake": 2, "interrupted": 75, "fault": 1}.get(how, 0)
        script = f"[[ $JOB_COMPLETION_INDEX = 0 ]] && (({code})) && exit {code}; exec sleep 1000"
        container["command"] = ["bash", "-c", script]
        for key in ("priorityClassName", "serviceAccountName"):
            del pod[key]
        pod["volumes"] = container["volumeMounts"] = []
        assert api.kubectl("create", "namespace", namespace.name).returncode == 0
        api.create(f"/apis/batch/v1/namespaces/{namespace.name}/jobs", {"metadata": {"name": name}, "spec": spec})
        if how == "drained":
            wait_for(lambda: len(namespace.running(name)) == 2, 60)
            namespace.drain(node)
        _, reason, message = namespace.end(name)
        (jobset,) = of_kind(objects, "JobSet").values()
        actions = [
            rule["action"]
            for rule in jobset["spec"]["failurePolicy"]["rules"]
            if reason in rule["onJobFailureReasons"]
            and any(re.search(each, message) for each in rule.get("onJobFailureMessagePatterns", [""]))
        ]
        wanted = {"mistake": "FailJobSet", "fault": None}.get(how, "RestartJobSetAndIgnoreMaxRestarts")
        assert next(iter(actions), None) == wanted, (reason, message)
