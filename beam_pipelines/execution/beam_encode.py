"""The first transforms of the Beam pipeline: the list of inputs, and what becomes of their bytes."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import apache_beam as beam
from apache_beam.metrics import Metrics

from beam_pipelines.encoding.part_file import Part
from beam_pipelines.execution import base_dataset
from beam_pipelines.execution.beam_near_duplicates import fingerprints_of
from beam_pipelines.execution.encode_job import EncodeJob, WorkItem
from beam_pipelines.output import output_folder
from job_runtime import storage

METRICS = "encode_corpus"  # the namespace of our counters


class ListInputs(beam.PTransform):
    """The work items of an encode, spread over the workers.

    Input: the pipeline. Output: where each work item is stored.
    """

    def __init__(self, job: EncodeJob, items: Sequence[WorkItem]):
        super().__init__()
        self._job, self._items = job, items

    def expand(self, pipeline: beam.Pipeline) -> beam.PCollection:
        return pipeline | "WorkItems" >> beam.Create(_store_items(self._job, self._items)) | beam.Reshuffle()

    def display_data(self) -> dict[str, Any]:
        return {"inputs": self._job.num_inputs, "work_items": len(self._items)}


class ReadParseClean(beam.PTransform):
    """Turns work items into parts: reads, parses, salvages, cleans, fingerprints and packs their files.

    One step does all of it, because a part is what a restart finds again.

    Input: from `ListInputs`. Outputs: `parts`, paths; `fingerprints`, arrays; `rejects`; `salvaged`; `retried`, the
    sources of inputs that the older dataset could not read.
    Counters: `inputs`, `parsed`, `notes`, `rejected`, `rejected_<reason>`, `salvaged_<level>`.
    """

    def __init__(self, job: EncodeJob, progress_path: str | None):
        super().__init__()
        self._fn = _EncodeFn(job, progress_path)

    def expand(self, items: beam.PCollection) -> Any:
        outputs = beam.ParDo(self._fn).with_outputs("fingerprints", "rejects", "salvaged", "retried", main="parts")
        return items | "Encode" >> outputs

    def display_data(self) -> dict[str, Any]:
        return self._fn.display_data()


class _StoredItem(NamedTuple):
    """Where a worker finds a work item: a range of bytes in a file, or the shard itself."""

    path: str
    offset: int
    length: int
    shard: tuple[str, str]

    def load(self) -> WorkItem:
        if not self.length:
            return WorkItem(shard=self.shard)
        return WorkItem(chunk=storage.read_range(self.path, self.offset, self.length))


def _store_items(job: EncodeJob, items: Sequence[WorkItem]) -> list[_StoredItem]:
    """Writes the chunks where every worker can read them: a million names are too many for a pipeline's description."""
    path = storage.join(output_folder.work_folder(job.output), "chunks")
    storage.write_bytes(path, b"".join([item.chunk for item in items]))
    stored, offset = [], 0
    for item in items:
        stored.append(_StoredItem(path, offset, len(item.chunk), item.shard))
        offset += len(item.chunk)
    return stored


class _EncodeFn(beam.DoFn):
    def __init__(self, job: EncodeJob, progress_path: str | None):
        self._job = job
        self._progress_path = progress_path

    def setup(self) -> None:
        self._known = base_dataset.known_inputs(self._job.settings.base)

    def process(self, item: _StoredItem) -> Iterator[Any]:
        path, part = self._job.ensure_part(item.load(), known=self._known, on_files=self._note_progress)
        _count(part)
        yield path
        yield beam.pvalue.TaggedOutput("fingerprints", fingerprints_of(part))
        for reject in part.rejects:
            yield beam.pvalue.TaggedOutput("rejects", reject)
        for line in part.salvaged:
            yield beam.pvalue.TaggedOutput("salvaged", line)
        for source in self._known.unread.intersection(part.examined()):
            yield beam.pvalue.TaggedOutput("retried", source)

    def display_data(self) -> dict[str, Any]:
        settings = self._job.settings
        return {"time_base": settings.time_base, "max_bytes": settings.limits.max_bytes, "output": self._job.output}

    def _note_progress(self, num_files: int) -> None:
        """Appends one byte per file to the progress file, whose size the command watches.

        Appending is atomic, so worker processes can share the file. On another host there is no such file.
        """
        if not self._progress_path:
            return
        with contextlib.suppress(FileNotFoundError):
            descriptor = os.open(self._progress_path, os.O_WRONLY | os.O_APPEND)
            try:
                os.write(descriptor, b"." * num_files)
            finally:
                os.close(descriptor)


def _count(part: Part) -> None:
    counts = {"inputs": part.num_inputs, "parsed": len(part.rows), "notes": int(part.rows["num_notes"].sum())}
    counts["rejected"] = len(part.rejects)
    for name, count in counts.items():
        Metrics.counter(METRICS, name).inc(count)
    for reject in part.rejects:
        Metrics.counter(METRICS, f"rejected_{reject.reason}").inc()
    for line in part.salvaged:
        Metrics.counter(METRICS, f"salvaged_{line.rung}").inc()
