"""The encode pipeline as a whole, and how a command runs it: with progress, and gone soon after a signal.

chunks of paths -> ParsePieces -> (shard, record) -> WriteShards -> results -> Publish
                   ParsePieces -> rejects -------------------------------------> Publish
"""

from __future__ import annotations

import contextlib
import glob
import os
import signal
import tempfile
import threading
from collections.abc import Iterator, Sequence

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions, StandardOptions, _BeamArgumentParser

from beam_pipelines import ledger
from beam_pipelines.corpus import Corpus
from beam_pipelines.parse_pieces import ParsePieces
from beam_pipelines.publish import Publish
from beam_pipelines.settings import Settings
from beam_pipelines.write_shards import WriteShards
from midi_codec.command import Interrupted, StopSignal
from midi_codec.dataset_info import shard_name
from midi_codec.progress import Progress, progress

FILES_A_CHUNK = 50  # enough to make the cost of an element small, few enough to share out evenly
DEFAULT_RUNNER = "FnApiRunner"  # DirectRunner first tries to download another one
POLL_SECONDS = 0.2


def problems_in_flags(flags: Sequence[str]) -> list[str]:
    """Sentences on flags that none of Beam's option classes knows; Beam itself only warns."""
    parser = _BeamArgumentParser(allow_abbrev=False, add_help=False)
    for options in PipelineOptions.__subclasses__():
        options._add_argparse_args(parser)
    _, unknown = parser.parse_known_args(list(flags))
    named = [flag for flag in unknown if flag.startswith("-")]
    if named:
        return [f"unknown flag {flag.split('=')[0]}: neither this command nor Apache Beam has it" for flag in named]
    return [f"unexpected argument {text!r}" for text in unknown]


def make_options(flags: Sequence[str]) -> PipelineOptions:
    """Beam's options from the flags that are not ours."""
    options = PipelineOptions(list(flags))
    standard = options.view_as(StandardOptions)
    standard.runner = standard.runner or DEFAULT_RUNNER
    return options


def build(
    pipeline: beam.Pipeline, corpus: Corpus, *, output: str, settings: Settings, progress_path: str | None = None
) -> None:
    """Adds every step; running the pipeline then writes the dataset."""
    splits = settings.split_rule.splits_of(corpus.sources)
    chunks = pipeline | "Inputs" >> beam.Create(corpus.chunks(FILES_A_CHUNK))
    parsed = chunks | "ParsePieces" >> ParsePieces(corpus.roots, settings, progress_path)
    shards = parsed.pieces | "WriteShards" >> WriteShards(output, settings, splits)
    publish = Publish(output, settings, num_inputs=len(corpus.sources), other_files=corpus.other_files)
    _ = (shards, parsed.rejects) | "Publish" >> publish


def file_names(corpus: Corpus, settings: Settings) -> set[str]:
    """What the pipeline will write, but for `dataset_info.json`."""
    splits = settings.split_rule.splits_of(corpus.sources)
    shards = {shard_name(split, index, settings.num_shards) for split in splits for index in range(settings.num_shards)}
    return shards | {ledger.file_name(ledger.REJECTS), ledger.file_name(ledger.DUPLICATES)}


def run(corpus: Corpus, options: PipelineOptions, *, output: str, settings: Settings, stop: StopSignal) -> None:
    """Builds and runs the pipeline to its end.

    Raises:
      Interrupted: a signal asked to stop. Nothing half written has a final name, and the same command
        started again begins anew.
    """
    with _progress_file() as progress_path:
        pipeline = beam.Pipeline(options=options)
        build(pipeline, corpus, output=output, settings=settings, progress_path=progress_path)
        runner = _Runner(pipeline)
        total = len(corpus.sources)
        bar: Progress = progress(total=total, unit="files", label="encoding")
        with bar:
            is_done = False
            while not is_done:
                is_done = runner.wait(POLL_SECONDS)
                bar.update(min(os.path.getsize(progress_path), total) - bar.done)  # a retried chunk counts twice
                if stop.requested and not is_done:
                    _end_workers()
                    raise Interrupted("start the same command again to begin anew")


class _Runner:
    """A pipeline in a thread of its own, so that the main thread can watch for signals.

    The thread is a daemon: an interrupted command does not wait for it.
    """

    def __init__(self, pipeline: beam.Pipeline):
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, args=[pipeline], name="pipeline", daemon=True)
        self._thread.start()

    def _run(self, pipeline: beam.Pipeline) -> None:
        try:
            pipeline.run().wait_until_finish()
        except BaseException as error:  # handed to the main thread
            self._error = error

    def wait(self, seconds: float) -> bool:
        """Whether the pipeline has ended; raises what it raised."""
        self._thread.join(seconds)
        if self._error is not None:
            raise self._error
        return not self._thread.is_alive()


@contextlib.contextmanager
def _progress_file() -> Iterator[str]:
    with tempfile.NamedTemporaryFile(prefix="encode-progress-") as file:
        yield file.name


def _end_workers(parent: str = "self") -> None:
    """Ends every process below this one: Beam keeps no list of the workers it starts, each through a shell."""
    for tasks in glob.glob(f"/proc/{parent}/task/*/children"):
        with contextlib.suppress(OSError), open(tasks, encoding="ascii") as file:
            for child in file.read().split():
                _end_workers(child)
                os.kill(int(child), signal.SIGKILL)  # nothing that is half written has its final name
