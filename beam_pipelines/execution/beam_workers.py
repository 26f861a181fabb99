"""Beam's worker pool, which tells the engine when a worker has died.

Flink, with Beam 2.72, asks the pool for a worker, and waits without a time limit until the worker connects. If it dies
before that, nobody tells Flink. Here the pool then connects in its name, and fails whatever it is told to do. So Flink
fails the task, with the reason, and starts it again as its restart strategy says.
"""

from __future__ import annotations

import contextlib
import logging
import queue
import subprocess
import threading
from collections.abc import Iterator
from typing import Any

import grpc
from apache_beam.portability.api import beam_fn_api_pb2 as api
from apache_beam.portability.api import beam_fn_api_pb2_grpc as services
from apache_beam.runners.worker.bundle_processor import DATA_INPUT_URN, DATA_OUTPUT_URN
from apache_beam.runners.worker.worker_id_interceptor import WorkerIdInterceptor
from apache_beam.runners.worker.worker_pool_main import BeamFnExternalWorkerPoolServicer, kill_process_gracefully
from apache_beam.utils import thread_pool_executor

from job_runtime.problem_report import UserError

_DATA_URNS = {DATA_INPUT_URN, DATA_OUTPUT_URN}
_OPTIONS = [("grpc.so_reuseport", 0), ("grpc.http2.max_pings_without_data", 0), ("grpc.http2.max_ping_strikes", 0)]


class WorkerPool(BeamFnExternalWorkerPoolServicer):
    """Starts and stops worker processes as an engine asks.

    Args:
      launcher: Beam's program that starts a worker; without it a worker is a Python process.
    """

    def __init__(self, launcher: str | None = None):
        super().__init__(use_process=True, container_executable=launcher)

    @contextlib.contextmanager
    def listening(self, port: int) -> Iterator[None]:
        """Answers engines on this machine while the block runs; then all workers end.

        Raises:
          UserError: the port is taken.
        """
        server = grpc.server(thread_pool_executor.shared_unbounded_instance(), options=_OPTIONS)
        services.add_BeamFnExternalWorkerPoolServicer_to_server(self, server)
        try:
            server.add_insecure_port(f"localhost:{port}")
        except RuntimeError as error:
            raise UserError([f"--port {port} is taken, want one that is free"]) from error
        server.start()
        try:
            yield
        finally:
            server.stop(None).wait()
            while self._worker_processes:
                kill_process_gracefully(self._worker_processes.popitem()[1])

    def StartWorker(self, request: api.StartWorkerRequest, context: Any) -> api.StartWorkerResponse:
        response = super().StartWorker(request, context)
        process = self._worker_processes.get(request.worker_id)
        if process is not None and not response.error:
            threading.Thread(target=self._watch, args=[request, process], daemon=True).start()
        return response

    def _watch(self, request: api.StartWorkerRequest, process: subprocess.Popen) -> None:
        """Waits for the end of a worker, and stands in for one that died."""
        status = process.wait()
        if status and self._worker_processes.get(request.worker_id) is process:  # else the pool has ended it
            reason = f"worker {request.worker_id} died with status {status}; the log of its pool may say why"
            logging.error("%s", reason)
            stand_in(request, reason)


def stand_in(request: api.StartWorkerRequest, reason: str) -> None:
    """Takes the place of a dead worker: whatever it is told to do fails, until the engine closes the connection."""
    with contextlib.ExitStack() as stack:
        stack.enter_context(contextlib.suppress(grpc.RpcError))

        def connect(address: str) -> grpc.Channel:
            channel = stack.enter_context(grpc.insecure_channel(address))
            return grpc.intercept_channel(channel, WorkerIdInterceptor(request.worker_id))

        def messages() -> queue.SimpleQueue:
            """Of a stream to the engine; None ends them."""
            new: queue.SimpleQueue = queue.SimpleQueue()
            stack.callback(new.put, None)
            return new

        control = services.BeamFnControlStub(connect(request.control_endpoint.url))
        answers = messages()
        connected: set[str] = set()
        for told in control.Control(iter(answers.get, None)):
            if told.HasField("process_bundle"):  # before it looks at the answer, the engine waits for the worker's data
                wanted = told.process_bundle.process_bundle_descriptor_id
                asked = api.GetProcessBundleDescriptorRequest(process_bundle_descriptor_id=wanted)
                for address in _data_addresses(control.GetProcessBundleDescriptor(asked)) - connected:
                    connected.add(address)
                    data = services.BeamFnDataStub(connect(address)).Data(iter(messages().get, None))
                    threading.Thread(target=_discard, args=[data], daemon=True).start()
            answers.put(api.InstructionResponse(instruction_id=told.instruction_id, error=reason))


def _data_addresses(descriptor: api.ProcessBundleDescriptor) -> set[str]:
    ends = (transform.spec for transform in descriptor.transforms.values())
    ports = [api.RemoteGrpcPort.FromString(spec.payload) for spec in ends if spec.urn in _DATA_URNS]
    return {port.api_service_descriptor.url for port in ports}


def _discard(stream: Iterator[Any]) -> None:
    with contextlib.suppress(grpc.RpcError):
        for _ in stream:
            pass
