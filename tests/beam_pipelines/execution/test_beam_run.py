"""The end of a job on another machine after a signal."""

import logging
import threading

import apache_beam as beam
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.portability import job_server
from apache_beam.runners.portability.flink_uber_jar_job_server import FlinkBeamJob
from apache_beam.runners.portability.portable_runner import PortableRunner

from beam_pipelines.execution import beam_run


class _Pipeline:
    """Is submitted when `is_submitted` is set, and ends when it is cancelled."""

    def __init__(self, runner, *, can_cancel=True):
        self.runner = runner
        self.is_submitted, self.is_cancelled = threading.Event(), threading.Event()
        self._can_cancel = can_cancel

    def run(self):
        self.is_submitted.wait(10)
        return self

    def wait_until_finish(self):
        self.is_cancelled.wait(10)

    def cancel(self):
        if not self._can_cancel:
            raise RuntimeError("no such address")
        self.is_cancelled.set()


def test_a_job_that_is_being_submitted_is_cancelled_once_it_runs(caplog):
    pipeline = _Pipeline(PortableRunner())
    thread = beam_run._PipelineThread(pipeline)
    threading.Timer(0.1, pipeline.is_submitted.set).start()
    thread.cancel(10)
    assert pipeline.is_cancelled.is_set()
    assert caplog.messages == []


@pytest.mark.parametrize(("is_submitted", "reason"), [(True, "no such address"), (False, "no answer in 6 seconds")])
def test_a_job_that_cannot_be_cancelled(is_submitted, reason, caplog):
    pipeline = _Pipeline(PortableRunner(), can_cancel=False)
    if is_submitted:
        pipeline.is_submitted.set()
    thread = beam_run._PipelineThread(pipeline)
    with caplog.at_level(logging.WARNING):
        thread.cancel(10 if is_submitted else 0.1)
    assert caplog.messages == [f"the job could not be cancelled and may still run: {reason}"]
    pipeline.is_submitted.set()
    pipeline.is_cancelled.set()


def test_the_end_of_a_local_run_does_not_wait(caplog):
    pipeline = _Pipeline(object())
    beam_run._PipelineThread(pipeline).cancel(10)
    assert not pipeline.is_cancelled.is_set()
    assert caplog.messages == []
    pipeline.is_submitted.set()
    pipeline.is_cancelled.set()


def test_flink_is_asked_at_the_address_it_has(monkeypatch):
    asked = []

    def request(self, method, path, expected_status=200, **arguments):
        asked.append((method.__name__, path, expected_status, arguments))

    monkeypatch.setattr(FlinkBeamJob, "request", request)
    job = FlinkBeamJob.__new__(FlinkBeamJob)
    job._flink_job_id, job._flink_jar_id, job._jar_uploaded = "J", "K", True
    beam_run._cancel_flink_job(job)
    assert asked == [("patch", "v1/jobs/J", 202, {"params": {"mode": "cancel"}}), ("delete", "v1/jars/K", 200, {})]


class _OwnServer(PortableRunner):
    """Starts its job server itself, as those of Prism, Flink and Spark do."""

    def default_job_server(self, options):
        return job_server.StopOnExitJobServer(job_server.EmbeddedJobServer())


def test_a_runner_that_starts_its_job_server():
    options = PipelineOptions(["--environment_type=beam:env:embedded_python:v1"])
    pipeline = beam.Pipeline(runner=_OwnServer(), options=options)
    _ = pipeline | beam.Create([1])
    assert beam_run._PipelineThread(pipeline).wait(60)
