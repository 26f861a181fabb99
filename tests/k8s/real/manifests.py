"""Every job of every environment, applied to a real API server. By hand: `make test-cluster`."""

from __future__ import annotations

import functools
import json
import tempfile
from pathlib import Path

import pytest

from tests.k8s import rendered
from tests.k8s.real.control_plane import Api
from tests.k8s.rendered import fill, of_kind, render_folder
from tests.waiting import wait_for

pytestmark = pytest.mark.slow
SPECS = (
    "/apis/batch/v1/namespaces/{}/jobs",
    "/apis/apps/v1/namespaces/{}/statefulsets",
    "/apis/networking.k8s.io/v1/namespaces/{}/networkpolicies",
    "/apis/jobset.x-k8s.io/v1alpha2/namespaces/{}/jobsets",
    "/apis/kueue.x-k8s.io/v1beta2/clusterqueues",
)
_FILLED = tempfile.TemporaryDirectory()


@functools.cache
def filled(where: str, namespace: str) -> Path:
    name, values = rendered.ENVIRONMENTS[where]
    values = {**values, "NAMESPACE": namespace}
    if where == "spot":  # with the component kueue
        jobs = " ".join(each.partition("/")[2] for each in rendered.OVERLAYS if each.startswith("spot/"))
        values["JOBS"] = f'"queue {jobs}"'
    return fill(name, Path(_FILLED.name) / namespace, **values)


@pytest.mark.parametrize("overlay", sorted(rendered.OVERLAYS))
def test_applied_as_the_documentation_says(api: Api, overlay: str):
    where, job = overlay.split("/")
    for _ in range(2):
        done = api.kubectl("apply", "-k", str(filled(where, f"{where}-client") / job))
        assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("overlay", sorted([*rendered.OVERLAYS, "spot/queue"]))
def test_applied_by_the_server_and_again_without_a_change_or_a_warning(api: Api, overlay: str):
    where, job = overlay.split("/")
    apply = ["apply", "--server-side", "--validate=strict", "-k", str(filled(where, where) / job)]
    if job == "queue":  # the user applies another job first
        api.kubectl("create", "namespace", where)
    first = api.kubectl(*apply)
    assert (first.returncode, first.stderr) == (0, "")
    before = generations(api, where)
    again = api.kubectl(*apply)
    assert (again.returncode, again.stderr, again.stdout) == (0, "", first.stdout)
    assert generations(api, where) == before
    for name, found in of_kind(render_folder(filled(where, where) / job), "Job").items():
        wait_for(lambda name=name, found=found: active(api, where, name) == found["spec"]["parallelism"], 30)


def test_a_slip_is_refused(api: Api):
    (job,) = [each for each in render_folder(filled("gke", "gke") / "seeds") if each["kind"] == "Job"]
    job["metadata"]["name"] = "slip"
    job["spec"]["backofLimit"] = 3
    done = api.kubectl("apply", "--server-side", "--validate=strict", "-f", "-", given=json.dumps(job))
    assert done.returncode == 1 and "spec.backofLimit" in done.stderr


def generations(api: Api, namespace: str) -> dict[str, int]:
    """Of all objects that have one: it counts the changes of their specs."""
    found = {}
    for path in SPECS:
        for each in api.get(path.format(namespace))["items"]:
            found[f"{path} {each['metadata']['name']}"] = each["metadata"]["generation"]
    return found


def active(api: Api, namespace: str, job: str) -> int:
    """Pods of a Job that were admitted (PodSecurity, PriorityClass, ServiceAccount) and wait for a node."""
    return api.get(f"/apis/batch/v1/namespaces/{namespace}/jobs/{job}")["status"].get("active", 0)
