"""Runs a Beam pipeline for a command: with progress, and with a prompt end after a signal."""

from __future__ import annotations

import atexit
import contextlib
import glob
import logging
import os
import re
import signal
import tempfile
import threading
import time
from collections.abc import Sequence
from typing import Any

import apache_beam as beam
import requests
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.portability import flink_uber_jar_job_server, job_server
from apache_beam.runners.runner import PipelineResult, PipelineState

from beam_pipelines.execution import beam_pipeline
from beam_pipelines.execution.encode_job import EncodeJob, WorkItem
from job_runtime.command import Interrupted, StopSignal
from job_runtime.logs import foreign_lines
from job_runtime.logs.progress import Progress, progress

POLL_SECONDS = 0.2
REMOTE = ("PortableRunner", "DataflowRunner")  # their `run` returns once the job is submitted
CANCEL_SECONDS = 6.0  # of the ten within which an interrupted command ends


def run(
    job: EncodeJob, items: Sequence[WorkItem], options: PipelineOptions, *, num_inputs: int, stop: StopSignal
) -> None:
    """Builds the pipeline and runs it to its end.

    Raises:
      Interrupted: a signal asked to stop. No half-written file has its final name; finished parts stay.
    """
    with tempfile.NamedTemporaryFile(prefix="encode-progress-") as progress_file:
        pipeline = beam.Pipeline(options=options)
        beam_pipeline.build(pipeline, job, items, progress_path=progress_file.name)
        runner = _PipelineThread(pipeline)
        bar: Progress = progress(total=num_inputs, unit="files", label="encoding")
        with bar:
            is_done = False
            while not is_done:
                is_done = runner.wait(POLL_SECONDS)
                num_done = os.path.getsize(progress_file.name)  # a chunk that is retried counts twice
                bar.update(min(num_done, num_inputs) - bar.done)
                if stop.requested and not is_done:
                    runner.cancel(CANCEL_SECONDS)
                    _end_workers()
                    raise Interrupted("start the same command again to continue")


class _PipelineThread:
    """Runs a pipeline in a thread of its own, so that the main thread can watch for signals.

    The thread is a daemon: an interrupted command does not wait for it.
    """

    def __init__(self, pipeline: beam.Pipeline):
        self._error: BaseException | None = None
        self._result: PipelineResult | None = None  # set while the job runs on another machine
        self._submitted = threading.Event()
        self._problem = f"no answer in {CANCEL_SECONDS:g} seconds"
        self._is_remote = any(cls.__name__ in REMOTE for cls in type(pipeline.runner).__mro__)
        self._thread = threading.Thread(target=self._run, args=[pipeline], name="pipeline", daemon=True)
        self._thread.start()

    def _run(self, pipeline: beam.Pipeline) -> None:
        job_server.StopOnExitJobServer.start = _start_job_server
        try:
            try:
                self._result = pipeline.run()
            finally:
                self._submitted.set()
            state = self._result.wait_until_finish()
            if state in (PipelineState.CANCELLED, PipelineState.FAILED):
                raise RuntimeError(f"the pipeline ended as {state}; see the runner's log")
        except BaseException as error:  # handed to the main thread
            self._error = error

    def cancel(self, seconds: float) -> None:
        """Asks a remote runner to end the job, which a restart would otherwise run twice; waits at most `seconds`."""
        deadline = time.monotonic() + seconds
        if self._is_remote:  # what is being submitted cannot be cancelled yet
            self._submitted.wait(seconds)
        if self._result is not None:
            request = threading.Thread(target=self._request_cancel, name="cancel", daemon=True)
            request.start()
            request.join(deadline - time.monotonic())
        if self._is_remote and self._problem:
            logging.warning("the job could not be cancelled and may still run: %s", self._problem)

    def _request_cancel(self) -> None:
        assert self._result is not None
        flink_uber_jar_job_server.FlinkBeamJob.cancel = _cancel_flink_job
        try:
            self._result.cancel()
            self._problem = ""
        except Exception as error:  # many runners cannot cancel; the user has to know
            self._problem = str(error)

    def wait(self, seconds: float) -> bool:
        """Whether the pipeline has ended; raises what it raised."""
        self._thread.join(seconds)
        if self._error is not None:
            raise _as_io_error(self._error) or self._error
        return not self._thread.is_alive()


def _start_job_server(server: Any) -> Any:
    """Replaces Beam 2.72's method, which handles SIGINT and so fails in a thread; we end the server ourselves."""
    with server._lock:
        if not server._started:
            server._endpoint = server._job_server.start()
            server._started = True
            atexit.register(server.stop)
    return server._endpoint


def _cancel_flink_job(job: Any) -> None:
    """Replaces Beam 2.72's method, which asks Flink at an address that Flink does not have."""
    job.request(requests.patch, f"v1/jobs/{job._flink_job_id}", expected_status=202, params={"mode": "cancel"})
    job.delete_jar()


def _as_io_error(error: BaseException) -> OSError | None:
    """A worker's error with a disk or a bucket: runners pass on only its text."""
    match = re.search(r"\[Errno (\d+)\] ([^\n]*?): '([^'\n]*)' \[while running", str(error))
    return OSError(int(match[1]), match[2], match[3]) if match else None


def _end_workers(parent: str = "self") -> None:
    """Ends every process below this one: Beam keeps no list of the workers it starts, each through a shell."""
    for tasks in glob.glob(f"/proc/{parent}/task/*/children"):
        with contextlib.suppress(OSError), open(tasks, encoding="ascii") as file:
            for child in file.read().split():
                if int(child) == foreign_lines.process_id():
                    continue
                _end_workers(child)
                os.kill(int(child), signal.SIGKILL)  # no half-written file has its final name
