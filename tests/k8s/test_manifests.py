"""The manifests as kubectl renders them: schemas, CRDs, and what schemas miss."""

from __future__ import annotations

import functools
import importlib
import json
import re
import signal
from typing import Any

import kubernetes_validate
import pytest
from kubeflow_trainer_api import models

from beam_pipelines import encode_corpus
from beam_pipelines.execution import beam_options
from job_runtime import command
from tests.k8s.rendered import OVERLAYS, job_specs, kubectl, of_kind, pods, render

VERSIONS = ("1.33", "1.37")
QUANTITY = re.compile(r"[1-9][0-9]*(m|[KMGT]i?)?")
SCHEMA = functools.cache(kubernetes_validate.utils.schema_contents)
EVERY = pytest.mark.parametrize("overlay", OVERLAYS)


@pytest.fixture(scope="module", autouse=True)
def there_is_kubectl() -> None:
    kubectl()


def test_every_way_to_launch_is_looked_at():
    jobs = {"encode", "train", "train-workers", "tune", "seeds", "generate"}
    jobs |= {"report", "evaluate", "evaluate-music", "compare", "export", "tensorboard"}
    assert set(OVERLAYS) == {
        *(f"local/{job}" for job in (*jobs, "files")),
        *(f"{where}/{job}" for where in ("gke", "spot") for job in (*jobs, "train-jobset", "encode-dataflow")),
    }


# ------------------------------------------------------------------------------------------------- schemas


@functools.cache
def check_schema(text: str, version: str) -> None:
    """Of an object as JSON; many are the same in every overlay, and a schema is megabytes of JSON."""
    kubernetes_validate.validate(json.loads(text), version, strict=True)


@EVERY
@pytest.mark.parametrize("version", VERSIONS)
def test_objects_fit_the_schemas_strictly(overlay, version, monkeypatch):
    monkeypatch.setattr(kubernetes_validate.utils, "schema_contents", SCHEMA)
    for each in render(overlay):
        if ".x-k8s.io/" not in each["apiVersion"]:  # JobSet, Kueue
            check_schema(json.dumps(each, sort_keys=True), version)


def test_the_schemas_would_find_a_slip():
    job = of_kind(render("gke/encode"), "Job")["encode"]
    misspelt = {**job, "spec": {**job["spec"], "backoffLimitPerIndx": 6}}
    with pytest.raises(kubernetes_validate.ValidationError, match="backoffLimitPerIndx"):
        kubernetes_validate.validate(misspelt, VERSIONS[0], strict=True)


def lost(given: Any, kept: Any, place: str = "") -> list[str]:
    """Paths of `given` that are not in `kept`."""
    if isinstance(given, dict):
        inside = kept if isinstance(kept, dict) else {}
        return [
            path
            for key, value in given.items()
            for path in (lost(value, inside[key], f"{place}/{key}") if key in inside else [f"{place}/{key}"])
        ]
    if isinstance(given, list):
        inside_list = kept if isinstance(kept, list) else []
        return [
            path
            for index, value in enumerate(given)
            for path in (
                lost(value, inside_list[index], f"{place}/{index}")
                if index < len(inside_list)
                else [f"{place}/{index}"]
            )
        ]
    return []


@pytest.mark.parametrize("overlay", [each for each in OVERLAYS if each.endswith("jobset")])
def test_a_jobset_survives_its_published_model(overlay):
    (jobset,) = of_kind(render(overlay), "JobSet").values()
    model = models.JobsetV1alpha2JobSet.from_dict(jobset)
    assert lost(jobset, json.loads(json.dumps(model.to_dict(), default=str))) == []
    misspelt = {**jobset, "spec": {**jobset["spec"], "netwrk": {}}}
    assert lost(misspelt, models.JobsetV1alpha2JobSet.from_dict(misspelt).to_dict()) == ["/spec/netwrk"]


# ---------------------------------------------------------------------------------------- what schemas miss


@EVERY
def test_pods_are_as_a_reviewer_wants_them(overlay):
    for name, template in pods(render(overlay)):
        spec = template["spec"]
        assert spec["automountServiceAccountToken"] is False and spec["enableServiceLinks"] is False, name
        assert spec["securityContext"]["runAsNonRoot"] is True and spec["securityContext"]["runAsUser"] > 0
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        (container,) = spec["containers"]
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert container["resources"]["requests"] == container["resources"]["limits"]
        for resource, amount in container["resources"]["limits"].items():
            assert QUANTITY.fullmatch(str(amount)), f"{name}: {resource} is {amount}"
        assert set(container["resources"]["limits"]) >= {"cpu", "memory", "ephemeral-storage"}
        assert not container["image"].endswith(":latest") and ":" in container["image"]
        assert "livenessProbe" in container
        mounted = {mount["name"] for mount in container["volumeMounts"]}
        claimed = {"data"} if name == "tune-postgres" else set()
        assert mounted == {volume["name"] for volume in spec["volumes"]} | claimed


@EVERY
def test_names_that_refer_to_something_find_it(overlay):
    objects = render(overlay)
    assert {
        each["metadata"].get("namespace") for each in objects if each["kind"] not in ("Namespace", "PriorityClass")
    } == {"midi-lstm"}
    configs, accounts = of_kind(objects, "ConfigMap"), of_kind(objects, "ServiceAccount")
    for _, template in pods(objects):
        spec = template["spec"]
        assert spec["serviceAccountName"] in accounts
        assert spec.get("priorityClassName", "midi-lstm-batch") in of_kind(objects, "PriorityClass")
        (container,) = spec["containers"]
        for volume in spec["volumes"]:
            if "configMap" in volume:
                assert volume["configMap"]["name"] in configs
            if "persistentVolumeClaim" in volume:
                assert volume["persistentVolumeClaim"]["claimName"] in of_kind(objects, "PersistentVolumeClaim")
    for service in of_kind(objects, "Service").values():
        selector = service["spec"]["selector"].items()
        assert any(selector <= template["metadata"]["labels"].items() for _, template in pods(objects))


@EVERY
def test_jobs_end_as_the_contract_of_statuses_says(overlay):
    for name, spec in job_specs(render(overlay)):
        pod = spec["template"]["spec"]
        assert pod["restartPolicy"] == "Never"
        (container,) = pod["containers"]
        rules = spec["podFailurePolicy"]["rules"]
        by_status = {
            status: rule["action"] for rule in rules for status in rule.get("onExitCodes", {}).get("values", [])
        }
        (disruption,) = [rule["action"] for rule in rules if "onPodConditions" in rule]
        together = name == "train-worker"  # of a JobSet: it restarts them all
        again = "FailJob" if together else "Ignore"
        early = 128 + signal.SIGTERM  # before the command could catch it
        assert by_status == {command.USER_ERROR: "FailJob", command.INTERRUPTED: again, early: again}
        assert disruption == again
        assert {rule["onExitCodes"]["containerName"] for rule in rules if "onExitCodes" in rule} == {container["name"]}
        indexed = spec.get("completionMode") == "Indexed"
        assert ("backoffLimitPerIndex" in spec) == (indexed and not together)
        assert spec.get("maxFailedIndexes", 0) <= spec["completions"]  # the API server refuses more
        assert pod["terminationGracePeriodSeconds"] == (15 if "spot" in overlay else 25)  # a command is gone in ten


def parse(arguments: list[str]) -> Any:
    """By the parser of the command itself; a wrong flag ends it."""
    module = importlib.import_module(arguments[0])
    if hasattr(module, "__path__"):  # a command with many parts
        module = importlib.import_module(f"{arguments[0]}.__main__")
    if module is encode_corpus:  # what it does not know goes to Beam
        args, beam_flags = encode_corpus.make_parser().parse_known_args(arguments[1:])
        assert beam_options.problems_in_flags(beam_flags) == []
        return args
    return module.make_parser().parse_args(arguments[1:])


@EVERY
def test_every_argument_is_one_of_the_commands(overlay):
    objects = render(overlay)
    for name, spec in job_specs(objects):
        (container,) = spec["template"]["spec"]["containers"]
        if container.get("command") or container["args"][0] == "tensorboard.main":  # no command of ours
            continue
        args = parse(container["args"])
        shares = getattr(args, "num_tasks", None) or getattr(args, "num_workers", None)
        if spec.get("completionMode") == "Indexed" and not name.startswith("tune"):
            assert shares == spec["completions"] == spec["parallelism"]
        else:
            assert shares in (None, 1)


@EVERY
def test_workers_are_called_as_their_pods_are(overlay):
    objects = render(overlay)
    for name, spec in job_specs(objects):
        (container,) = spec["template"]["spec"]["containers"]
        pattern = [each.partition("=")[2] for each in container.get("args", []) if each.startswith("--worker-host")]
        if name == "train-workers":  # pods of an Indexed Job: <job>-<index>, in the domain of the Service
            (service,) = of_kind(objects, "Service").values()
            assert service["spec"]["clusterIP"] == "None" and service["spec"]["publishNotReadyAddresses"] is True
            domain = spec["template"]["spec"]["subdomain"]
            assert domain == service["metadata"]["name"]
            assert pattern == [f"{name}-{{index}}.{domain}:{service['spec']['ports'][0]['port']}"]
        elif name == "train-worker":  # <jobset>-<replicated job>-<its index>-<index>, in the domain of the JobSet
            assert pattern == ["train-worker-0-{index}.train:2222"]
        else:
            assert pattern == []


def test_dataflow_gets_what_its_command_in_the_docs_names():
    objects = render("gke/encode-dataflow")
    (container,) = of_kind(objects, "Job")["encode-dataflow"]["spec"]["template"]["spec"]["containers"]
    _, beam_flags = encode_corpus.make_parser().parse_known_args(container["args"][1:])
    options = beam_options.make_options(beam_flags).get_all_options(drop_default=True)
    assert options == {
        "runner": "DataflowRunner",
        "project": "my-project",
        "region": "europe-west1",
        "job_name": "encode",
        "temp_location": "gs://my-music/dataflow/temp",
        "staging_location": "gs://my-music/dataflow/staging",
        "sdk_container_image": "europe-west1-docker.pkg.dev/my-project/midi-lstm/beam-worker:0.1.0-dataflow",
        "sdk_location": "container",
        "experiments": ["use_runner_v2"],
        "service_account_email": "encode@my-project.iam.gserviceaccount.com",
        "machine_type": "n2-standard-2",
        "max_num_workers": 8,
        "subnetwork": "regions/europe-west1/subnetworks/default",
        "use_public_ips": False,
        "save_main_session": False,
    }


def test_a_flag_that_beam_does_not_know_would_be_found():
    with pytest.raises(AssertionError, match="temp_locaton"):
        parse(["beam_pipelines.encode_corpus", "--input=a", "--output=b", "--temp_locaton=c"])


def test_what_a_jobset_does_after_a_failure():
    (jobset,) = of_kind(render("gke/train-jobset"), "JobSet").values()
    actions = {rule["name"]: rule for rule in jobset["spec"]["failurePolicy"]["rules"]}
    assert list(actions) == ["mistake", "deadline", "disruption"]  # the first that fits counts
    pattern = actions["mistake"]["onJobFailureMessagePatterns"][0]
    message = (
        "Container train for pod midi-lstm/train-worker-0-0-x failed with exit code {} matching FailJob rule at index 0"
    )
    assert re.search(pattern, message.format(2)) and not re.search(pattern, message.format(75))
    assert actions["mistake"]["action"] == "FailJobSet"
    assert actions["disruption"]["action"] == "RestartJobSetAndIgnoreMaxRestarts"


@pytest.mark.parametrize("where", ["gke", "spot"])
def test_gpus_are_asked_for_where_something_trains(where):
    for overlay in (each for each in OVERLAYS if each.startswith(f"{where}/")):
        for name, template in pods(render(overlay)):
            (container,) = template["spec"]["containers"]
            trains = name in ("train", "train-workers", "tune")
            assert ("nvidia.com/gpu" in container["resources"]["limits"]) == trains, name
            assert ("cloud.google.com/gke-accelerator" in template["spec"].get("nodeSelector", {})) == trains
            is_job = name != "tune-postgres"
            assert ("affinity" in template["spec"]) == (where == "spot" and is_job)
            assert ("/dev/shm" in [mount["mountPath"] for mount in container["volumeMounts"]]) == (
                trains or name == "tune-create"
            )


@EVERY
def test_no_key_is_in_a_manifest(overlay):
    text = json.dumps(render(overlay)).lower()
    assert not re.search(r'"kind": "secret"|private_key|aws_secret|"value": "[^"]*password', text)
