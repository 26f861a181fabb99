"""The headers of all parts, in temporary files: what a plan reads block by block, or a few rows at a time.

Nothing here grows with the corpus, except two numbers per part. On disk it is about 440 bytes per piece.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from beam_pipelines.encoding import part_file
from beam_pipelines.encoding.ledger import Reject, Salvaged
from beam_pipelines.encoding.part_file import Part
from beam_pipelines.encoding.value_counts import ValueCounts
from beam_pipelines.planning import near_duplicates
from job_runtime.spool import ArraySpool, Spool, TextSpool


class PartHeaders:
    """The headers of parts, one after the other.

    Attributes:
      rows: of part_file.ROW: every piece of every part.
      sources, signatures: of the same pieces.
      contents: of all parts.
      value_counts: their sum.
      num_listed: likewise.
      labels: of the pieces of each part that has any: the index of the part's first row, and the labels of its rows.
    """

    def __init__(self, parts: Iterable[Part] = ()):
        self.rows = ArraySpool(part_file.ROW)
        self.sources = TextSpool()
        self.signatures = ArraySpool(near_duplicates.SIGNATURE)
        self.contents = ArraySpool(("<u8", (2,)))
        self.value_counts = ValueCounts()
        self.num_listed = 0
        self.labels: Spool[tuple[int, Sequence[str]]] = Spool()
        self._lengths: list[int] = []
        self._lines: Spool[tuple[Sequence[Reject], Sequence[Salvaged]]] = Spool()
        for part in parts:
            self.add(part)

    def add(self, part: Part) -> None:
        if part.labels:
            self.labels.append((len(self.rows), part.labels))
        self.add_rows(part.rows, part.sources, [len(part.rows)])
        self.signatures.append(part.signatures)
        self.contents.append(part.contents)
        self.value_counts.add_counts(part.counts)
        self.num_listed += part.num_listed
        if part.rejects or part.salvaged:
            self._lines.append((part.rejects, part.salvaged))

    def add_rows(self, rows: np.ndarray, sources: Sequence[str], lengths: Sequence[int]) -> None:
        """Adds only the rows, and their sources, of one or more parts with so many rows each."""
        self.rows.append(rows)
        self.sources.append(sources)
        self._lengths += lengths

    def rejects(self) -> Iterator[Reject]:
        for rejects, _ in self._lines:
            yield from rejects

    def salvaged(self) -> Iterator[Salvaged]:
        for _, salvaged in self._lines:
            yield from salvaged

    def begins(self) -> np.ndarray:
        """`[parts + 1]`, the index of the first row of each part, and at last the number of rows."""
        return np.cumsum([0, *self._lengths], dtype=np.int64)
