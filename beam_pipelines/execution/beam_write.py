"""The last transform of the Beam pipeline: ledgers, shards, and `dataset_info.json` once they are written."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import apache_beam as beam
import numpy as np

from beam_pipelines.encoding import ledger
from beam_pipelines.execution import base_dataset, dataset_steps
from beam_pipelines.execution.dataset_steps import SplitCounts, Summary
from beam_pipelines.execution.encode_job import EncodeJob
from beam_pipelines.planning import keyed, plan


class WriteDataset(beam.PTransform):
    """Writes everything but the parts.

    Input: a dict of `examples`, (shard number, what `keyed.number_parts` takes); `summary`; `contents`, arrays; the
    lines of each ledger by its kind; `retried` and `tied`, sources, as of `dataset_steps.write_ledger`.
    Output: the DatasetInfo, if it is complete.
    """

    def __init__(self, job: EncodeJob):
        super().__init__()
        self._job = job

    def expand(self, inputs: Mapping[str, beam.PCollection]) -> beam.PCollection:
        job, pipeline = self._job, inputs["summary"].pipeline
        summary = beam.pvalue.AsSingleton(inputs["summary"])
        ledgers = inputs | "Ledgers" >> WriteLedgers(job)
        hashes = (
            (inputs["contents"], pipeline | "NoContents" >> beam.Create([np.zeros((0, 2), np.uint64)]))
            | "Contents" >> beam.Flatten()
            | "ToOne" >> beam.WithKeys(0)
            | "AllContents" >> beam.GroupByKey()
            | "InputHashes" >> beam.ParDo(_WriteHashesFn(job), summary)
        )
        every = pipeline | "ShardNumbers" >> beam.Create([(index, None) for index in range(job.settings.num_shards)])
        corrections = (
            (inputs["examples"], every)  # empty shards are written too
            | "Entries" >> beam.Flatten()
            | "SameShard" >> beam.GroupByKey()
            | "Shards" >> beam.ParDo(_WriteShardFn(job))
        )
        once = pipeline | "Once" >> beam.Create([None])
        return once | "Publish" >> beam.ParDo(
            _PublishFn(job),
            summary,
            beam.pvalue.AsDict(ledgers),
            beam.pvalue.AsIter(corrections),
            beam.pvalue.AsList(hashes),
        )

    def display_data(self) -> dict[str, Any]:
        return {"output": self._job.output, "shards_per_split": self._job.settings.num_shards}


class WriteLedgers(beam.PTransform):
    """Writes the ledgers, each on one worker, which sorts the lines on its disk. Output: (kind, counts)."""

    def __init__(self, job: EncodeJob):
        super().__init__()
        self._job = job

    def expand(self, inputs: Mapping[str, beam.PCollection]) -> beam.PCollection:
        pipeline = inputs["summary"].pipeline
        lines = [inputs[kind] | f"As_{kind}" >> beam.WithKeys(kind) for kind in ledger.KINDS]
        every = pipeline | "Kinds" >> beam.Create([(kind, None) for kind in ledger.KINDS])  # empty ones are written too
        retried, tied = (beam.pvalue.AsIter(inputs[name]) for name in ("retried", "tied"))
        return (
            [*lines, every]
            | beam.Flatten()
            | beam.GroupByKey()
            | "Write" >> beam.ParDo(_WriteLedgerFn(self._job), retried, tied)
        )


class _StepFn(beam.DoFn):
    """A step of `dataset_steps` on a worker."""

    def __init__(self, job: EncodeJob):
        self._job = job


class _WriteLedgerFn(_StepFn):
    def process(
        self, keyed: tuple[str, Iterable[ledger.Line | None]], retried: Iterable[str], tied: Iterable[str]
    ) -> Iterator[tuple[str, Mapping[str, int]]]:
        kind, lines = keyed
        written = (line for line in lines if line is not None)
        counts = dataset_steps.write_ledger(self._job, kind, written, retried=frozenset(retried), tied=frozenset(tied))
        yield kind, counts


class _WriteHashesFn(_StepFn):
    """Writes the hashes of all inputs: one file, so one worker, 16 bytes per input. Output: True."""

    def process(self, keyed: tuple[int, Iterable[np.ndarray]], _: Summary) -> Iterator[bool]:
        old = base_dataset.carried(self._job.settings.base).contents
        dataset_steps.write_input_hashes(self._job, plan.sort_contents([old, *keyed[1]]))
        yield True


class _WriteShardFn(_StepFn):
    """Writes one shard number of every split. Output: corrections of the counts."""

    def process(
        self, keyed_entries: tuple[int, Iterable[tuple[np.ndarray, np.ndarray] | None]]
    ) -> Iterator[SplitCounts]:
        index, several = keyed_entries
        entries, parts = keyed.number_parts(each for each in several if each is not None)
        yield dataset_steps.write_shard(self._job, index, entries, [self._job.path_of_part(key) for key in parts])


class _PublishFn(_StepFn):
    """Writes `dataset_info.json` once everything else is written."""

    def process(
        self,
        _: None,
        summary: Summary,
        ledgers: dataset_steps.LedgerCounts,
        corrections: Iterable[SplitCounts],
        hashes: Sequence[bool],
    ) -> Iterator[Any]:
        info = dataset_steps.publish(self._job, summary, ledgers, corrections)
        if info is not None:
            yield info
