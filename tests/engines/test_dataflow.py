"""Dataflow, as far as it goes without Google: all is staged in a bucket, and the template says what workers shall do.

What Dataflow makes of it is not tested here.
"""

import json

import pytest

from job_runtime import storage
from job_runtime.command import USER_ERROR
from tests import servers
from tests.engines import runs

pytestmark = pytest.mark.slow

IMAGE = "europe-docker.pkg.dev/test-project/images/encode-worker:1"


def dataflow(bucket: str) -> list[str]:
    return [
        "--runner=DataflowRunner",
        "--project=test-project",
        "--region=europe-west1",
        "--job_name=encode",
        f"--temp_location={bucket}/temp",
        f"--staging_location={bucket}/staging",
        f"--template_location={bucket}/templates/encode.json",
        f"--sdk_container_image={IMAGE}",
        "--sdk_location=container",
        "--experiments=use_runner_v2",
    ]


def test_a_template_is_staged(copy_music, gs_bucket, gcs_server, google):
    source = copy_music(gs_bucket)
    gcs_server.requests.clear()
    text = runs.encode(source, f"{gs_bucket}/d", *dataflow(gs_bucket), env=google)
    assert f"template in {gs_bucket}/templates/encode.json; a job made from it writes the dataset" in text
    asked = [r for r in gcs_server.requests if r.path.startswith(("/storage/", "/upload/", "/download/"))]
    assert {request.authorization for request in asked} == {f"Bearer {servers.TOKEN}"}

    staged = {entry.path.split("/")[-1]: entry for entry in storage.list_files(f"{gs_bucket}/staging")}
    assert set(staged) == {"pipeline.pb", "submission_environment_dependencies.txt"}  # no session, no package
    check_template(json.loads(storage.read_text(f"{gs_bucket}/templates/encode.json")), staged["pipeline.pb"].path)
    check_pipeline(storage.read_bytes(staged["pipeline.pb"].path))
    written = [entry.path.removeprefix(f"{gs_bucket}/d/") for entry in storage.list_files(f"{gs_bucket}/d")]
    assert written == ["run_info.json", "work/chunks"]  # what workers read the names of their inputs from


def check_template(template: dict, pipeline_path: str) -> None:
    assert template["type"] == "JOB_TYPE_BATCH"
    assert template["name"] == "encode"
    options = template["environment"]["sdkPipelineOptions"]["options"]
    assert options["pipelineUrl"] == pipeline_path
    assert options["save_main_session"] is False
    (pool,) = template["environment"]["workerPools"]
    assert [image["containerImage"] for image in pool["sdkHarnessContainerImages"]] == [IMAGE]
    assert [package["name"] for package in pool["packages"]] == ["submission_environment_dependencies.txt"]


def check_pipeline(data: bytes) -> None:
    from apache_beam.portability.api import beam_runner_api_pb2  # seconds, which `make test` need not wait for

    pipeline = beam_runner_api_pb2.Pipeline.FromString(data)
    steps = {pipeline.components.transforms[name].unique_name for name in pipeline.root_transform_ids}
    steps |= {step.unique_name for step in pipeline.components.transforms.values()}
    assert {"List", "ReadParseClean", "DedupeGroupAssign", "Write"} <= steps
    assert {
        "DedupeGroupAssign/NearDuplicatePairs",
        "DedupeGroupAssign/Assign",
        "Write/Shards",
        "Write/Publish",
    } <= steps
    (image,) = {
        beam_runner_api_pb2.DockerPayload.FromString(environment.payload).container_image
        for environment in pipeline.components.environments.values()
        if environment.urn == "beam:env:docker:v1"
    }
    assert image == IMAGE


def test_missing_flags_are_named_before_anything_is_written(music, gs_bucket, google):
    flags = ("--runner=DataflowRunner", "--region=europe-west1")
    text = runs.encode(music, f"{gs_bucket}/d", *flags, env=google, status=USER_ERROR)
    problems = [line for line in text.splitlines() if line.startswith("python -m beam_pipelines.encode_corpus: ")]
    assert [problem.partition(": ")[2] for problem in problems] == [
        "Missing GCS path option: temp_location.",
        "Missing GCS path option: staging_location.",
        "Missing required option: project.",
    ]
    assert "Traceback" not in text
    assert list(storage.list_files(gs_bucket)) == []
