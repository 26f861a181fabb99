"""The first transforms of the Beam pipeline: the list of inputs, and what becomes of their bytes."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import apache_beam as beam
from apache_beam.metrics import Metrics

from beam_pipelines.encoding.part_file import Part
from beam_pipelines.encoding.value_counts import ValueCounts
from beam_pipelines.execution import base_dataset, dataset_steps
from beam_pipelines.execution.beam_near_duplicates import fingerprints_of
from beam_pipelines.execution.dataset_steps import SplitCounts
from beam_pipelines.execution.encode_job import EncodeJob, WorkItem, check_complete
from beam_pipelines.output import output_folder
from beam_pipelines.planning import keyed
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

    Input: from `ListInputs`. Outputs: `heads`, Sourced; `fingerprints` and `contents`, arrays; `totals`, one, once all
    inputs are accounted for; `rejects`; `salvaged`; `retried`, the sources of inputs that the older dataset could not
    read.
    Counters: `inputs`, `parsed`, `notes`, `rejected`, `rejected_<reason>`, `salvaged_<level>`.
    """

    def __init__(self, job: EncodeJob, progress_path: str | None):
        super().__init__()
        self._job, self._fn = job, _EncodeFn(job, progress_path)

    def expand(self, items: beam.PCollection) -> dict[str, beam.PCollection]:
        names = ("fingerprints", "contents", "totals", "rejects", "salvaged", "retried")
        encoded = items | "Encode" >> beam.ParDo(self._fn).with_outputs(*names, main="heads")
        totals = encoded.totals | "Total" >> beam.CombineGlobally(_TotalFn()) | "Check" >> beam.Map(_check, self._job)
        return {**{name: getattr(encoded, name) for name in ("heads", *names)}, "totals": totals}

    def display_data(self) -> dict[str, Any]:
        return self._fn.display_data()


class Totals(NamedTuple):
    """Sums over parts: the inputs that were listed, and the counts of notes."""

    num_listed: int
    counts: SplitCounts


class _TotalFn(beam.CombineFn):
    def create_accumulator(self, *_: Any) -> tuple[int, ValueCounts]:
        return 0, ValueCounts()

    def add_input(self, sums: tuple[int, ValueCounts], part: Totals, *_: Any) -> tuple[int, ValueCounts]:
        sums[1].add_counts(part.counts)
        return sums[0] + part.num_listed, sums[1]

    def merge_accumulators(self, several: Iterable[tuple[int, ValueCounts]], *_: Any) -> tuple[int, ValueCounts]:
        merged = self.create_accumulator()
        for each in several:
            merged = self.add_input(merged, self.extract_output(each))
        return merged

    def extract_output(self, sums: tuple[int, ValueCounts], *_: Any) -> Totals:
        return Totals(sums[0], sums[1].counts())


def _check(totals: Totals, job: EncodeJob) -> Totals:
    """What is decided and written waits for this.

    Raises:
      UserError: another encode has taken the folder.
    """
    check_complete(totals.num_listed, job)
    dataset_steps.check_claim(job)
    return totals


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
        loaded = item.load()
        _, part = self._job.ensure_part(loaded, known=self._known, on_files=self._note_progress)
        _count(part)
        yield keyed.heads_of(part, self._job.part_key(loaded))
        yield beam.pvalue.TaggedOutput("fingerprints", fingerprints_of(part))
        yield beam.pvalue.TaggedOutput("contents", part.contents)
        yield beam.pvalue.TaggedOutput("totals", Totals(part.num_listed, part.counts))
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
