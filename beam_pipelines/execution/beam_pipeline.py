"""The encode as an Apache Beam pipeline, and how a command runs it: with progress, and gone soon after a signal.

works -> EncodeWorks -> paths of parts ---------------------------> Plan -> shards -> WriteShards -> corrections
                     -> (piece_id, signature) -> NearDuplicatePairs -╯   -> summary ------------------> Publish

Records stay in the parts, in the work folder: what crosses between workers is a row of some hundred bytes a piece.
"""

from __future__ import annotations

import contextlib
import glob
import logging
import os
import re
import signal
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import apache_beam as beam
import numpy as np
from apache_beam.metrics import Metrics
from apache_beam.options.pipeline_options import (
    GoogleCloudOptions,
    PipelineOptions,
    SetupOptions,
    StandardOptions,
    _BeamArgumentParser,
)
from apache_beam.options.pipeline_options_validator import PipelineOptionsValidator
from apache_beam.runners import create_runner
from apache_beam.runners.runner import PipelineResult, PipelineState

from beam_pipelines.encoding import part_file
from beam_pipelines.encoding.part_file import Part
from beam_pipelines.execution import base_dataset, publish
from beam_pipelines.execution.beam_near_duplicates import NearDuplicatePairs
from beam_pipelines.execution.encode_job import Job, Work, check_complete
from beam_pipelines.output import output_folder
from beam_pipelines.output.write_shards import write_shard
from beam_pipelines.planning.plan import Heads, make_plan
from job_runtime import storage
from job_runtime.command import Interrupted, StopSignal
from job_runtime.logs import foreign_lines
from job_runtime.logs.progress import Progress, progress

METRICS = "encode_corpus"  # the namespace of our counters
DEFAULT_RUNNER = "FnApiRunner"  # DirectRunner first tries to download another one
POLL_SECONDS = 0.2
CANCEL_SECONDS = 6.0  # of the ten in which a command is gone


def problems_in_flags(flags: Sequence[str]) -> list[str]:
    """Sentences on flags that none of Beam's option classes knows; Beam itself only warns."""
    # Private, and stays: Beam's option classes add their flags to no other parser, and only warn of unknown ones.
    parser = _BeamArgumentParser(allow_abbrev=False, add_help=False)
    for options in PipelineOptions.__subclasses__():
        options._add_argparse_args(parser)
    _, unknown = parser.parse_known_args(list(flags))
    named = [flag for flag in unknown if flag.startswith("-")]
    if named:
        return [f"unknown flag {flag.split('=')[0]}: neither this command nor Apache Beam has it" for flag in named]
    return [f"unexpected argument {text!r}" for text in unknown]


def problems_of_runner(flags: Sequence[str]) -> list[str]:
    """Sentences on what the runner misses. Dataflow's asks the cloud, which takes seconds, and minutes without one."""
    options = make_options(flags)
    try:
        runner = create_runner(options.view_as(StandardOptions).runner)
    except ValueError as error:  # no such runner
        return [str(error)]
    return PipelineOptionsValidator(options, runner).validate()


def make_options(flags: Sequence[str]) -> PipelineOptions:
    """Beam's options from the flags that are not ours."""
    options = PipelineOptions(list(flags))
    standard = options.view_as(StandardOptions)
    standard.runner = standard.runner or DEFAULT_RUNNER
    setup = options.view_as(SetupOptions)
    if setup.save_main_session is None:  # Dataflow's default is yes, and nothing of ours is in it
        setup.save_main_session = False
    return options


def template_path(flags: Sequence[str]) -> str | None:
    """Where the flags want a template for Dataflow to go; running the pipeline then stages it and no more."""
    return PipelineOptions(list(flags)).view_as(GoogleCloudOptions).template_location


def build(pipeline: beam.Pipeline, job: Job, works: Sequence[Work], *, progress_path: str | None = None) -> None:
    """Adds every step; running the pipeline then writes the dataset."""
    places = pipeline | "Works" >> beam.Create(_store_works(job, works))
    encoded = places | "EncodeWorks" >> beam.ParDo(_EncodeFn(job, progress_path)).with_outputs("rows", main="paths")
    paths = beam.pvalue.AsList(encoded.paths)
    pairs: beam.PCollection = pipeline | "NoPairs" >> beam.Create([])
    if job.settings.near_duplicates != "keep":
        pairs = encoded.rows | "NearDuplicatePairs" >> NearDuplicatePairs()
    once = pipeline | "Once" >> beam.Create([None])
    plan = once | "Plan" >> beam.ParDo(_PlanFn(job), paths, beam.pvalue.AsList(pairs)).with_outputs(
        "summary", main="shards"
    )
    corrections = plan.shards | "Spread" >> beam.Reshuffle() | "WriteShards" >> beam.ParDo(_WriteShardFn(job), paths)
    _ = once | "Publish" >> beam.ParDo(
        _PublishFn(job), beam.pvalue.AsSingleton(plan.summary), beam.pvalue.AsList(corrections)
    )


def _store_works(job: Job, works: Sequence[Work]) -> list[_Place]:
    """Puts chunks where every worker can read them: a million names are too many for a pipeline's description."""
    path = storage.join(output_folder.work_folder(job.output), "chunks")
    storage.write_bytes(path, b"".join([work.chunk for work in works]))
    places, offset = [], 0
    for work in works:
        places.append(_Place(path, offset, len(work.chunk), work.shard))
        offset += len(work.chunk)
    return places


class _Place(NamedTuple):
    """Where a worker finds a Work: bytes of a file, or the shard itself."""

    path: str
    offset: int
    length: int
    shard: tuple[str, str]

    def load(self) -> Work:
        if not self.length:
            return Work(shard=self.shard)
        return Work(chunk=storage.read_range(self.path, self.offset, self.length))


class _EncodeFn(beam.DoFn):
    """Makes parts. Outputs: their paths; `rows`, (piece_id, signature) of each piece.

    Counters: `inputs`, `parsed`, `notes`, `rejected`, `rejected_<reason>`, `salvaged_<rung>`.
    """

    def __init__(self, job: Job, progress_path: str | None):
        self._job = job
        self._progress_path = progress_path

    def setup(self) -> None:
        self._known = base_dataset.known_inputs(self._job.settings.base)

    def process(self, place: _Place) -> Iterator:
        path, part = self._job.ensure_part(place.load(), known=self._known, on_files=self._note_progress)
        _count(part)
        yield path
        for row, signature in zip(part.rows, part.signatures, strict=True):
            yield beam.pvalue.TaggedOutput("rows", (row["piece_id"].decode(), signature))

    def _note_progress(self, num_files: int) -> None:
        if self._progress_path:
            note_progress(self._progress_path, num_files)


def _count(part: Part) -> None:
    counts = {"inputs": part.num_inputs, "parsed": len(part.rows), "notes": int(part.rows["num_notes"].sum())}
    counts["rejected"] = len(part.rejects)
    for name, count in counts.items():
        Metrics.counter(METRICS, name).inc(count)
    for reject in part.rejects:
        Metrics.counter(METRICS, f"rejected_{reject.reason}").inc()
    for line in part.salvaged:
        Metrics.counter(METRICS, f"salvaged_{line.rung}").inc()


class _PlanFn(beam.DoFn):
    """Decides on every piece, on one worker, from the heads of all parts; writes the ledgers.

    Outputs: (shard number, entries); `summary`.
    """

    def __init__(self, job: Job):
        self._job = job

    def process(self, _: None, paths: Sequence[str], pairs: Sequence[tuple[str, str]]) -> Iterator:
        job = self._job
        heads = Heads(part_file.read_head(path) for path in sorted(paths))
        check_complete(heads.parts, job)
        carried = base_dataset.carried(job.settings.base, heads.parts)
        plan = make_plan(heads, job.settings, job.splits, carried=carried, pairs=pairs)
        yield beam.pvalue.TaggedOutput("summary", publish.write_ledgers(job, plan))
        yield from enumerate(plan.entries)


class _WriteShardFn(beam.DoFn):
    """Writes a shard number of every split. Output: corrections of the counts."""

    def __init__(self, job: Job):
        self._job = job

    def process(self, shard: tuple[int, np.ndarray], paths: Sequence[str]) -> Iterator[Mapping]:
        index, entries = shard
        job, settings = self._job, self._job.settings
        yield write_shard(
            index,
            entries,
            part_paths=sorted(paths),
            output=job.output,
            splits=job.splits,
            num_shards=settings.num_shards,
            time_base=settings.time_base,
        )


class _PublishFn(beam.DoFn):
    """Writes `dataset_info.json` once all shards are there. Output: the DatasetInfo, if a piece was kept."""

    def __init__(self, job: Job):
        self._job = job

    def process(self, _: None, summary: publish.Summary, corrections: Sequence[Mapping]) -> Iterator:
        info = publish.publish(self._job, summary, corrections)
        if info is not None:
            yield info


def note_progress(path: str, num_files: int) -> None:
    """Makes the file at `path` longer by a byte a file, for the command to watch.

    Appending is atomic, so worker processes can share the file. On another host there is none.
    """
    with contextlib.suppress(FileNotFoundError):
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND)
        try:
            os.write(descriptor, b"." * num_files)
        finally:
            os.close(descriptor)


def run(job: Job, works: Sequence[Work], options: PipelineOptions, *, num_inputs: int, stop: StopSignal) -> None:
    """Builds and runs the pipeline to its end.

    Raises:
      Interrupted: a signal asked to stop. Nothing half written has a final name; parts that are whole stay.
    """
    with _progress_file() as progress_path:
        pipeline = beam.Pipeline(options=options)
        build(pipeline, job, works, progress_path=progress_path)
        runner = _Runner(pipeline)
        bar: Progress = progress(total=num_inputs, unit="files", label="encoding")
        with bar:
            is_done = False
            while not is_done:
                is_done = runner.wait(POLL_SECONDS)
                bar.update(min(os.path.getsize(progress_path), num_inputs) - bar.done)  # a retried chunk counts twice
                if stop.requested and not is_done:
                    runner.cancel(CANCEL_SECONDS)
                    _end_workers()
                    raise Interrupted("start the same command again to continue")


class _Runner:
    """A pipeline in a thread of its own, so that the main thread can watch for signals.

    The thread is a daemon: an interrupted command does not wait for it.
    """

    def __init__(self, pipeline: beam.Pipeline):
        self._error: BaseException | None = None
        self._result: PipelineResult | None = None  # there while the job runs on another machine
        self._thread = threading.Thread(target=self._run, args=[pipeline], name="pipeline", daemon=True)
        self._thread.start()

    def _run(self, pipeline: beam.Pipeline) -> None:
        try:
            self._result = pipeline.run()
            state = self._result.wait_until_finish()
            if state in (PipelineState.CANCELLED, PipelineState.FAILED):
                raise RuntimeError(f"the pipeline ended as {state}; see the runner's log")
        except BaseException as error:  # handed to the main thread
            self._error = error

    def cancel(self, seconds: float) -> None:
        """Asks a runner elsewhere to end the job, for at most so long: started again, there would be two of them."""
        if self._result is not None:
            asking = threading.Thread(target=self._ask_to_cancel, name="cancel", daemon=True)
            asking.start()
            asking.join(seconds)

    def _ask_to_cancel(self) -> None:
        assert self._result is not None
        try:
            self._result.cancel()
        except Exception as error:  # many runners cannot; the person at the other end has to know
            logging.warning("the job could not be cancelled and may still run: %s", error)

    def wait(self, seconds: float) -> bool:
        """Whether the pipeline has ended; raises what it raised."""
        self._thread.join(seconds)
        if self._error is not None:
            raise _as_io_error(self._error) or self._error
        return not self._thread.is_alive()


def _as_io_error(error: BaseException) -> OSError | None:
    """What a worker had to do with a disk or a bucket: runners hand on its text alone."""
    match = re.search(r"\[Errno (\d+)\] ([^\n]*?): '([^'\n]*)' \[while running", str(error))
    return OSError(int(match[1]), match[2], match[3]) if match else None


@contextlib.contextmanager
def _progress_file() -> Iterator[str]:
    with tempfile.NamedTemporaryFile(prefix="encode-progress-") as file:
        yield file.name


def _end_workers(parent: str = "self") -> None:
    """Ends every process below this one: Beam keeps no list of the workers it starts, each through a shell."""
    for tasks in glob.glob(f"/proc/{parent}/task/*/children"):
        with contextlib.suppress(OSError), open(tasks, encoding="ascii") as file:
            for child in file.read().split():
                if int(child) == foreign_lines.process_id():
                    continue
                _end_workers(child)
                os.kill(int(child), signal.SIGKILL)  # nothing that is half written has its final name
