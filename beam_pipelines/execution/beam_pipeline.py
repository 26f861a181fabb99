"""The encode as an Apache Beam pipeline.

    List -> ReadParseClean -> heads, fingerprints -> DedupeGroupAssign -> examples, duplicates, rejects -> Write
                           -> contents, rejects, salvaged, retried -------------------------------------╯

Records stay in the parts, in the work folder: only a row of a few hundred bytes per piece crosses between workers.
"""

from __future__ import annotations

from collections.abc import Sequence

import apache_beam as beam

from beam_pipelines.encoding import ledger
from beam_pipelines.execution.beam_decide import Decide
from beam_pipelines.execution.beam_encode import ListInputs, ReadParseClean
from beam_pipelines.execution.beam_write import WriteDataset
from beam_pipelines.execution.encode_job import EncodeJob, WorkItem


def build(
    pipeline: beam.Pipeline, job: EncodeJob, items: Sequence[WorkItem], *, progress_path: str | None = None
) -> None:
    """Adds every step; running the pipeline then writes the dataset."""
    listed = pipeline | "List" >> ListInputs(job, items)
    encoded = listed | "ReadParseClean" >> ReadParseClean(job, progress_path)
    decided = encoded | "DedupeGroupAssign" >> Decide(job)
    rejects = decided[ledger.REJECTS]
    written = {
        **encoded,
        **decided,
        ledger.REJECTS: (encoded[ledger.REJECTS], rejects) | "AllRejects" >> beam.Flatten(),
        "tied": rejects | "Tied" >> beam.Map(lambda reject: reject.path),
    }
    _ = written | "Write" >> WriteDataset(job)
