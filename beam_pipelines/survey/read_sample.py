"""Reads all of a corpus, or a sample of it, for a survey: what an encode does, but nothing is written."""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np

from beam_pipelines.corpus import chunks
from beam_pipelines.corpus.chunks import Input
from beam_pipelines.corpus.inputs import Corpus
from beam_pipelines.encoding.encode_chunk import encode_chunk
from beam_pipelines.encoding.part_file import Part
from beam_pipelines.planning import near_duplicates
from beam_pipelines.settings.encode_settings import Settings
from beam_pipelines.survey import estimate
from beam_pipelines.survey.estimate import Estimate
from beam_pipelines.survey.sample_counts import FRAMING_BYTES, Counted, is_chosen
from job_runtime.command import Interrupted, StopSignal
from job_runtime.logs.progress import progress

SAMPLE_FILES = 5000  # seconds of work, and ranges of a few percent
LAST_STEP_SHARE = 0.1  # of the work, which the last step adds on one core, whatever the number of tasks


def run(corpus: Corpus, settings: Settings, *, stop: StopSignal) -> Estimate:
    """Reads up to about SAMPLE_FILES files, chosen by a hash of their names.

    Raises:
      Interrupted: a signal asked to stop.
    """
    share = min(1.0, SAMPLE_FILES / corpus.num_inputs)
    counted = Counted()
    seen: list[Part] = []
    num_bytes = 0
    with progress(total=round(corpus.num_inputs * share), unit="files", label="surveying") as bar:

        def on_files(count: int) -> None:
            bar.update(count)
            if stop.requested:
                raise Interrupted("nothing was written")

        for chunk in corpus.chunks:
            inputs = list(chunks.unpack(chunk))
            sizes = [row.size for _, row in inputs]
            num_bytes += sum(sizes) if min(sizes) >= 0 else -(2**63)  # an unknown size makes the sum unknown
            chosen = [each for each in inputs if share == 1 or is_chosen(chunks.source_of(*each), share)]
            if chosen:
                began = time.perf_counter()
                part, _ = encode_chunk(chunks.pack(chosen), settings, on_files=on_files)
                counted.work_seconds += time.perf_counter() - began
                _count(part, chosen, counted)
                seen.append(part)
    _count_duplicates(seen, counted)
    known_bytes = num_bytes if num_bytes >= 0 else None
    scale = corpus.num_inputs / max(counted.files, 1)
    return estimate.estimate(
        counted,
        num_inputs=corpus.num_inputs,
        num_bytes=known_bytes,
        other_files=corpus.other_files,
        fixed_seconds=LAST_STEP_SHARE * counted.work_seconds * scale,
    )


def _count(part: Part, chosen: Sequence[Input], counted: Counted) -> None:
    rows = {source: row for source, row in zip(part.sources, part.rows, strict=True)}
    table = np.zeros((len(chosen), 3))
    for place, each in enumerate(chosen):
        row = rows.get(chunks.source_of(*each))
        if row is not None:
            table[place] = row["num_notes"], row["seconds"], row["length"] - FRAMING_BYTES
    sizes = [max(row.size, 0) for _, row in chosen]
    counted.add_files(sizes, notes=table[:, 0], seconds=table[:, 1], record_bytes=table[:, 2])
    for reject in part.rejects:
        counted.add_reject(reject.reason, reject.path, reject.message)
    counted.salvaged.update(line.rung for line in part.salvaged)


def _count_duplicates(parts: Sequence[Part], counted: Counted) -> None:
    """Among what was read."""
    if not parts:
        return
    ids = np.concatenate([part.rows["piece_id"] for part in parts])
    unique, first = np.unique(ids, return_index=True)
    counted.duplicates["exact"] = len(ids) - len(unique)
    pairs = near_duplicates.find_pairs(np.concatenate([part.signatures for part in parts])[first], unique)
    roots = near_duplicates.components(len(unique), pairs)
    counted.duplicates["near"] = len(unique) - len(np.unique(roots))
