"""The pool of workers, asked over gRPC as Flink asks it. The real one asks in `make test-engines`."""

import queue
import socket
import stat
from concurrent import futures

import grpc
import pytest
from apache_beam.portability.api import beam_fn_api_pb2 as api
from apache_beam.portability.api import beam_fn_api_pb2_grpc as services
from apache_beam.runners.worker.bundle_processor import DATA_INPUT_URN

from beam_pipelines.execution.beam_workers import WorkerPool
from job_runtime.problem_report import UserError

SECONDS = 30  # what no answer here comes near to


class Engine(services.BeamFnControlServicer, services.BeamFnDataServicer):
    """Tells the first worker that connects to process a bundle, once that has connected for its data, too."""

    def __init__(self):
        self.happened: queue.SimpleQueue[tuple[str, str]] = queue.SimpleQueue()
        self._server = grpc.server(futures.ThreadPoolExecutor())
        services.add_BeamFnControlServicer_to_server(self, self._server)
        services.add_BeamFnDataServicer_to_server(self, self._server)
        self.address = f"127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"

    def __enter__(self):
        self._server.start()
        return self

    def __exit__(self, *_):
        self._server.stop(None).wait()

    def Control(self, answers, context):
        self.happened.put(("control", dict(context.invocation_metadata())["worker_id"]))
        request = api.ProcessBundleRequest(process_bundle_descriptor_id="stage")
        yield api.InstructionRequest(instruction_id="1", process_bundle=request)
        answer = next(answers)
        self.happened.put((answer.instruction_id, answer.error))

    def Data(self, messages, context):
        self.happened.put(("data", dict(context.invocation_metadata())["worker_id"]))
        yield from messages

    def GetProcessBundleDescriptor(self, request, context):
        assert request.process_bundle_descriptor_id == "stage"
        descriptor = api.ProcessBundleDescriptor(id="stage")
        port = api.RemoteGrpcPort()
        port.api_service_descriptor.url = self.address
        descriptor.transforms["read"].spec.urn = DATA_INPUT_URN
        descriptor.transforms["read"].spec.payload = port.SerializeToString()
        descriptor.transforms["other"].spec.urn = "beam:transform:pardo:v1"
        return descriptor


@pytest.fixture
def engine():
    with Engine() as found:
        yield found


@pytest.fixture
def start(engine, tmp_path):
    """Starts a worker, a script, as the engine asks for it; the pool."""

    def started(script: str) -> WorkerPool:
        launcher = tmp_path / "launcher"
        launcher.write_text(f"#!/bin/sh\n{script}\n")
        launcher.chmod(launcher.stat().st_mode | stat.S_IXUSR)
        pool = WorkerPool(str(launcher))
        request = api.StartWorkerRequest(worker_id="7-1")
        request.control_endpoint.url = engine.address
        assert pool.StartWorker(request, None).error == ""
        return pool

    return started


def test_a_dead_worker_fails_what_it_is_told_to_do(engine, start):
    start("exit 3")
    happened = {engine.happened.get(timeout=SECONDS) for _ in range(3)}
    assert happened == {
        ("control", "7-1"),
        ("data", "7-1"),
        ("1", "worker 7-1 died with status 3; the log of its pool may say why"),
    }


def test_a_killed_worker_is_dead(engine, start):
    start("kill -9 $$")
    happened = {engine.happened.get(timeout=SECONDS) for _ in range(3)}
    assert ("1", "worker 7-1 died with status -9; the log of its pool may say why") in happened


def test_a_worker_that_is_stopped_or_done_is_not_dead(engine, start):
    pool = start("exec sleep 100")
    process = pool._worker_processes["7-1"]
    pool.StopWorker(api.StopWorkerRequest(worker_id="7-1"), None)
    assert process.wait(SECONDS) == -15
    done = start("exit 0")._worker_processes["7-1"]
    assert done.wait(SECONDS) == 0
    start("exit 3")  # whose connection would come after theirs
    assert {engine.happened.get(timeout=SECONDS)[0] for _ in range(3)} == {"control", "data", "1"}
    assert engine.happened.empty()


def test_workers_end_with_their_pool(engine, start):
    pool = start("exec sleep 100")
    process = pool._worker_processes["7-1"]
    with pool.listening(free_port()):
        assert process.poll() is None
    assert process.poll() == -15


def test_a_port_that_is_taken():
    port = free_port()
    with WorkerPool().listening(port), pytest.raises(UserError, match=f"--port {port} is taken, want one that is free"):
        WorkerPool().listening(port).__enter__()


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]
