"""Beam's flags: which are accepted, and what is said about the others."""

import socket
from concurrent import futures

import grpc
import pytest
from apache_beam.portability.api import beam_job_api_pb2, beam_job_api_pb2_grpc

from beam_pipelines.execution import beam_options

FLINK = ("--runner=FlinkRunner", "--flink_master=127.0.0.1:8081", "--flink_submit_uber_jar", "--parallelism=2")
UNKNOWN = "unknown flag {}: neither this command nor Apache Beam has it"


@pytest.mark.parametrize(
    "flags",
    [
        (*FLINK, "--environment_type=EXTERNAL", "--environment_config=localhost:50000"),
        (*FLINK, "--number_of_execution_retries", "3", "--object_reuse"),
        ("--runner=spark", "--spark_submit_uber_jar", "--bundle_size=1000"),
        ("--runner=PrismRunner", "--prism_location=/opt/prism"),
    ],
)
def test_flags_of_a_runner_and_of_its_java_part(flags):
    assert beam_options.problems_in_flags(flags) == []


@pytest.mark.parametrize(
    ("flags", "problems"),
    [
        ((*FLINK, "--objekt_reuse"), [UNKNOWN.format("--objekt_reuse")]),
        (("--runner=spark", "--object_reuse"), [UNKNOWN.format("--object_reuse")]),
        (("--object_reuse",), [UNKNOWN.format("--object_reuse")]),
        (("--parallelism=two",), ["--parallelism: invalid int value: 'two'"]),
        (("--runner",), ["--runner: expected one argument"]),
        (("--runner=nowhere.Runner",), ["No module named 'nowhere'"]),
        (("--runner=apache_beam.Runner",), ["module 'apache_beam' has no attribute 'Runner'"]),
    ],
)
def test_mistakes(flags, problems):
    assert beam_options.problems_in_flags(flags) == problems


@pytest.mark.parametrize("name", ["dask", "DaskRunner", "apache_beam.runners.dask.dask_runner.DaskRunner"])
def test_dask_is_refused_with_the_reason(name):
    assert beam_options.problems_in_flags([f"--runner={name}", "--dask_npartitions=4"]) == [
        f"--runner={name} cannot be used: it loses what a step puts out beside its main output, "
        "want --num-tasks on a Dask cluster"
    ]


class _JobService(beam_job_api_pb2_grpc.JobServiceServicer):
    def DescribePipelineOptions(self, request, context):
        option = beam_job_api_pb2.PipelineOptionDescriptor(name="kept_warm")
        return beam_job_api_pb2.DescribePipelineOptionsResponse(options=[option])


@pytest.fixture
def endpoint():
    server = grpc.server(futures.ThreadPoolExecutor(1))
    beam_job_api_pb2_grpc.add_JobServiceServicer_to_server(_JobService(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"127.0.0.1:{port}"
    server.stop(0)


def test_a_job_service_is_asked_for_its_flags(endpoint):
    flags = ["--runner=FlinkRunner", f"--job_endpoint={endpoint}"]
    assert beam_options.problems_in_flags([*flags, "--kept_warm=3"]) == []
    assert beam_options.problems_in_flags([*flags, "--object_reuse"]) == [UNKNOWN.format("--object_reuse")]


def test_a_job_service_that_does_not_answer(monkeypatch):
    monkeypatch.setattr(beam_options, "ANSWER_SECONDS", 0.1)
    with socket.socket() as bound:  # and not listening
        bound.bind(("127.0.0.1", 0))
        endpoint = f"127.0.0.1:{bound.getsockname()[1]}"
        with pytest.raises(ConnectionRefusedError, match=f"the job service does not answer: '{endpoint}'"):
            beam_options.problems_in_flags(["--runner=PortableRunner", f"--job_endpoint={endpoint}", "--kept_warm=3"])
