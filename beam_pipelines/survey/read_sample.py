"""Reads all of a corpus, or a sample of it, for a survey: it encodes chunks and plans a dataset, but writes nothing.

A sample is chosen file by file, by a hash of the names. So it is the same every day, and a larger share only adds
files.
"""

from __future__ import annotations

import collections
import dataclasses
import hashlib
import time
from collections.abc import Sequence

import numpy as np

from beam_pipelines.corpus import chunks
from beam_pipelines.corpus.chunks import Input
from beam_pipelines.corpus.inputs import Corpus
from beam_pipelines.encoding.encode_chunk import encode_chunk
from beam_pipelines.planning.part_headers import PartHeaders
from beam_pipelines.planning.plan import make_plan
from beam_pipelines.settings.encode_settings import Settings
from beam_pipelines.survey import estimate
from beam_pipelines.survey.estimate import MEASURES, Estimate, Sample
from job_runtime.command import Interrupted, StopSignal
from job_runtime.logs.progress import progress
from midi_codec.dataset import labels
from midi_codec.dataset.dataset_info import NO_DUPLICATES, SPLITS

SAMPLE_FILES = 5000  # seconds of work, and ranges of a few percent
LAST_STEP_SHARE = 0.1  # of the work: what the last step adds on one core, whatever the number of tasks
_SALT = b"survey "  # so that the hash differs from that of splits and shards


def run(corpus: Corpus, settings: Settings, *, stop: StopSignal) -> Estimate:
    """Reads up to about SAMPLE_FILES files, and estimates what the whole corpus would give.

    Raises:
      Interrupted: a signal asked to stop.
    """
    share = min(1.0, SAMPLE_FILES / corpus.num_inputs)
    headers, sizes = PartHeaders(), dict[str, int]()
    num_bytes: int | None = 0
    work_seconds = 0.0
    with progress(total=round(corpus.num_inputs * share), unit="files", label="surveying") as bar:

        def on_files(count: int) -> None:
            bar.update(count)
            if stop.requested:
                raise Interrupted("nothing was written")

        for chunk in corpus.chunks:
            inputs = list(chunks.unpack(chunk))
            num_bytes = _add_sizes(num_bytes, inputs)
            chosen = [each for each in inputs if is_chosen(chunks.source_of(*each), share)]
            if chosen:
                began = time.perf_counter()
                part, _ = encode_chunk(chunks.pack(chosen), settings, on_files=on_files)
                work_seconds += time.perf_counter() - began
                headers.add(part)
                sizes |= {chunks.source_of(container, row): max(row.size, 0) for container, row in chosen}
    sample = _describe(headers, sizes, settings, work_seconds)
    return estimate.estimate(
        sample,
        num_inputs=corpus.num_inputs,
        num_bytes=num_bytes,
        other_files=corpus.other_files,
        fixed_seconds=LAST_STEP_SHARE * work_seconds * corpus.num_inputs / max(len(sizes), 1),
    )


def is_chosen(source: str, share: float) -> bool:
    """Whether a file is in the sample of this share (0 to 1); a larger share only adds files."""
    digest = hashlib.sha256(_SALT + source.encode("utf-8", "surrogateescape")).digest()
    return int.from_bytes(digest[:8], "big") < share * 2**64


def _add_sizes(num_bytes: int | None, inputs: Sequence[Input]) -> int | None:
    """The sum with the sizes of these inputs; None once a size is not known."""
    sizes = [row.size for _, row in inputs]
    return None if num_bytes is None or min(sizes) < 0 else num_bytes + sum(sizes)


def _describe(headers: PartHeaders, sizes: dict[str, int], settings: Settings, work_seconds: float) -> Sample:
    """What the sample holds; duplicates are those that `--near-duplicates drop` would leave out."""
    index_of = {source: index for index, source in enumerate(sizes)}
    measures = {name: np.zeros(len(sizes)) for name in MEASURES}
    indexes = [index_of[source] for source in headers.sources]
    measures["examples"][indexes] = 1
    for name, column in (("notes", "num_notes"), ("seconds", "seconds"), ("record_bytes", "length")):
        measures[name][indexes] = headers.rows.column(column)
    plan = make_plan(headers, dataclasses.replace(settings, near_duplicates="drop"), SPLITS)
    return Sample(
        sizes=np.array(list(sizes.values()), np.float64),
        measures=measures,
        work_seconds=work_seconds,
        rejects=list(plan.rejects()),
        salvaged=list(headers.salvaged()),
        duplicates={**NO_DUPLICATES, **collections.Counter(line.kind for line in plan.duplicates())},
        labels=list(labels.describe(plan.labels, sum(split.num_pieces for split in plan.splits.values()))),
    )
