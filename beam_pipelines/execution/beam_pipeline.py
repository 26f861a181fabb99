"""The encode as an Apache Beam pipeline.

work items -> EncodeItems -> paths of parts ---------------------------> Plan -> shards -> WriteShards -> corrections
                          -> (piece_id, signature) -> NearDuplicatePairs -╯   -> summary ------------------> Publish

Records stay in the parts, in the work folder: only a row of a few hundred bytes per piece crosses between workers.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import apache_beam as beam
import numpy as np
from apache_beam.metrics import Metrics

from beam_pipelines.encoding import part_file
from beam_pipelines.encoding.part_file import Part
from beam_pipelines.execution import base_dataset, dataset_steps
from beam_pipelines.execution.beam_near_duplicates import NearDuplicatePairs
from beam_pipelines.execution.dataset_steps import SplitCounts, Summary
from beam_pipelines.execution.encode_job import EncodeJob, WorkItem
from beam_pipelines.output import output_folder
from beam_pipelines.planning.plan import PartHeaders
from job_runtime import storage

METRICS = "encode_corpus"  # the namespace of our counters


def build(
    pipeline: beam.Pipeline, job: EncodeJob, items: Sequence[WorkItem], *, progress_path: str | None = None
) -> None:
    """Adds every step; running the pipeline then writes the dataset."""
    stored = pipeline | "WorkItems" >> beam.Create(_store_items(job, items))
    encoded = stored | "EncodeItems" >> beam.ParDo(_EncodeFn(job, progress_path)).with_outputs("rows", main="paths")
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
    """Makes parts. Outputs: their paths; `rows`, (piece_id, signature) of each piece.

    Counters: `inputs`, `parsed`, `notes`, `rejected`, `rejected_<reason>`, `salvaged_<level>`.
    """

    def __init__(self, job: EncodeJob, progress_path: str | None):
        self._job = job
        self._progress_path = progress_path

    def setup(self) -> None:
        self._known = base_dataset.known_inputs(self._job.settings.base)

    def process(self, item: _StoredItem) -> Iterator[Any]:
        path, part = self._job.ensure_part(item.load(), known=self._known, on_files=self._note_progress)
        _count(part)
        yield path
        for row, signature in zip(part.rows, part.signatures, strict=True):
            yield beam.pvalue.TaggedOutput("rows", (row["piece_id"].decode(), signature))

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


class _StepFn(beam.DoFn):
    """A step of `dataset_steps` on a worker."""

    def __init__(self, job: EncodeJob):
        self._job = job


class _PlanFn(_StepFn):
    """Decides on every piece, on one worker, from the headers of all parts.

    Outputs: (shard number, entries); `summary`.
    """

    def process(self, _: None, paths: Sequence[str], pairs: Sequence[tuple[str, str]]) -> Iterator[Any]:
        headers = PartHeaders(part_file.read_header(path) for path in sorted(paths))
        summary, entries = dataset_steps.plan_dataset(self._job, headers, pairs=pairs)
        yield beam.pvalue.TaggedOutput("summary", summary)
        yield from enumerate(entries)


class _WriteShardFn(_StepFn):
    """Writes one shard number of every split. Output: corrections of the counts."""

    def process(self, shard: tuple[int, np.ndarray], paths: Sequence[str]) -> Iterator[Any]:
        index, entries = shard
        yield dataset_steps.write_shard(self._job, index, entries, sorted(paths))


class _PublishFn(_StepFn):
    """Writes `dataset_info.json` once all shards are written. Output: the DatasetInfo, if the dataset is complete."""

    def process(self, _: None, summary: Summary, corrections: Sequence[SplitCounts]) -> Iterator[Any]:
        info = dataset_steps.publish(self._job, summary, corrections)
        if info is not None:
            yield info
