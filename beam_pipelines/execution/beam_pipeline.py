"""The encode as an Apache Beam pipeline.

    List -> ReadParseClean -> parts, fingerprints -> DedupeGroupAssign -> examples, duplicates, rejects -> Write
                           -> rejects, salvaged, retried ------------------------------------------------╯

Records stay in the parts, in the work folder: only a row of a few hundred bytes per piece crosses between workers.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import apache_beam as beam
import numpy as np

from beam_pipelines.encoding import ledger, part_file
from beam_pipelines.execution import dataset_steps
from beam_pipelines.execution.beam_encode import ListInputs, ReadParseClean
from beam_pipelines.execution.beam_near_duplicates import NearDuplicatePairs
from beam_pipelines.execution.beam_write import WriteDataset
from beam_pipelines.execution.dataset_steps import Summary
from beam_pipelines.execution.encode_job import EncodeJob, WorkItem
from beam_pipelines.planning.part_headers import PartHeaders
from beam_pipelines.planning.plan import tied_reject


def build(
    pipeline: beam.Pipeline, job: EncodeJob, items: Sequence[WorkItem], *, progress_path: str | None = None
) -> None:
    """Adds every step; running the pipeline then writes the dataset."""
    listed = pipeline | "List" >> ListInputs(job, items)
    encoded = listed | "ReadParseClean" >> ReadParseClean(job, progress_path)
    pieces = {"parts": encoded.parts, "fingerprints": encoded.fingerprints}
    decided = pieces | "DedupeGroupAssign" >> Decide(job)
    written = {
        "parts": encoded.parts,
        "examples": decided.examples,
        "summary": decided.summary,
        ledger.REJECTS: (encoded.rejects, decided.rejects) | "AllRejects" >> beam.Flatten(),
        ledger.DUPLICATES: decided.duplicates,
        ledger.SALVAGED: encoded.salvaged,
        "retried": encoded.retried,
        "tied": decided.rejects | "Tied" >> beam.Map(lambda reject: reject.path),
    }
    _ = written | "Write" >> WriteDataset(job)


class Decide(beam.PTransform):
    """Which pieces are kept, in which group and split.

    Input: a dict of `parts`, paths; `fingerprints`, arrays.
    Outputs: `examples`, (shard number, entries); `duplicates`; `rejects`, of newcomers that tie splits; `summary`.
    """

    def __init__(self, job: EncodeJob):
        super().__init__()
        self._job = job

    def expand(self, inputs: dict[str, beam.PCollection]) -> Any:
        pipeline = inputs["parts"].pipeline
        pairs = pipeline | "NoPairs" >> beam.Create([])
        if self._job.settings.near_duplicates != "keep":
            pairs = inputs["fingerprints"] | "NearDuplicatePairs" >> NearDuplicatePairs(self._job.num_inputs)
        parts = beam.pvalue.AsList(inputs["parts"])
        plan = beam.ParDo(_PlanFn(self._job), parts, beam.pvalue.AsIter(pairs))
        outputs = plan.with_outputs("summary", "duplicates", "rejects", main="examples")
        return pipeline | "Once" >> beam.Create([None]) | "Plan" >> outputs

    def display_data(self) -> dict[str, Any]:
        settings = self._job.settings
        shown = {"near_duplicates": settings.near_duplicates, "group_regex": settings.group_regex}
        shown["splits"] = ", ".join(self._job.splits)
        return {name: value for name, value in shown.items() if value is not None}


class _PlanFn(beam.DoFn):
    def __init__(self, job: EncodeJob):
        self._job = job

    def process(self, _: None, parts: Sequence[str], pairs: Iterable[np.ndarray]) -> Iterator[Any]:
        headers = PartHeaders(map(part_file.read_header, sorted(parts)), with_signatures=False)
        plan = dataset_steps.plan_dataset(self._job, headers, pairs=pairs)
        yield beam.pvalue.TaggedOutput("summary", Summary.of(plan))
        for line in plan.duplicates():
            yield beam.pvalue.TaggedOutput("duplicates", line)
        for source in plan.decisions.tied_sources:
            yield beam.pvalue.TaggedOutput("rejects", tied_reject(source))
        yield from enumerate(plan.entries)
