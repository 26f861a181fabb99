"""What a survey has read so far: who reads fills a `Counted`, a batch at a time, and parts are added up.

A sample is files chosen one by one by a hash of their names, so that it is the same on every day and grows with its
share.
"""

from __future__ import annotations

import collections
import dataclasses
import hashlib
from collections.abc import Sequence

import numpy as np

MEASURES = ("examples", "notes", "seconds", "record_bytes")
FRAMING_BYTES = 16  # of a record in a TFRecord file: its length and two checksums
MAX_EXAMPLES = 3  # of a reason, named with their messages
_SALT = b"survey "  # another hash than that of splits and shards


def is_chosen(source: str, share: float) -> bool:
    """Whether a file is in the sample of this share (0 to 1); a larger share only adds files."""
    digest = hashlib.sha256(_SALT + source.encode("utf-8", "surrogateescape")).digest()
    return int.from_bytes(digest[:8], "big") < share * 2**64


@dataclasses.dataclass
class Moments:
    """Sums over files of a measure, its square, and its product with the file's bytes."""

    total: float = 0.0
    squares: float = 0.0
    with_bytes: float = 0.0


@dataclasses.dataclass
class Counted:
    """What was read so far. Every input counts, rejects with 0 examples and notes; `work_seconds` is of one core.

    `reject_examples` holds (source, message) of the smallest sources of each reason, whatever order they came in.
    """

    files: int = 0
    bytes: int = 0
    byte_squares: float = 0.0
    work_seconds: float = 0.0
    measures: dict[str, Moments] = dataclasses.field(default_factory=lambda: {name: Moments() for name in MEASURES})
    rejects: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)
    reject_examples: dict[str, list[tuple[str, str]]] = dataclasses.field(default_factory=dict)
    salvaged: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)
    duplicates: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)

    def add_files(
        self,
        sizes: Sequence[int] | np.ndarray,
        *,
        notes: Sequence[int] | np.ndarray,
        seconds: Sequence[float] | np.ndarray,
        record_bytes: Sequence[int] | np.ndarray,
    ) -> None:
        """Adds inputs, kept or not.

        Args:
          sizes: `[files]`, bytes of each file.
          notes, seconds, record_bytes: `[files]`, of the piece it gave; 0 where it gave none.
        """
        x = np.asarray(sizes, np.float64)
        columns = {"notes": notes, "seconds": seconds, "record_bytes": record_bytes}
        values = {name: np.asarray(column, np.float64) for name, column in columns.items()}
        values["examples"] = (values["notes"] > 0).astype(np.float64)
        values["record_bytes"] = values["record_bytes"] + FRAMING_BYTES * values["examples"]
        self.files += len(x)
        self.bytes += int(x.sum())
        self.byte_squares += float(x @ x)
        for name, y in values.items():
            moments = self.measures[name]
            moments.total += float(y.sum())
            moments.squares += float(y @ y)
            moments.with_bytes += float(x @ y)

    def add_reject(self, reason: str, source: str, message: str) -> None:
        """Counts a reject; its file goes to `add_files` too, with 0 notes."""
        self.rejects[reason] += 1
        self._keep_examples(reason, [(source, message)])

    def add(self, other: Counted) -> None:
        """Adds what another part counted."""
        self.files += other.files
        self.bytes += other.bytes
        self.byte_squares += other.byte_squares
        self.work_seconds += other.work_seconds
        for name, moments in other.measures.items():
            mine = self.measures[name]
            mine.total += moments.total
            mine.squares += moments.squares
            mine.with_bytes += moments.with_bytes
        self.rejects.update(other.rejects)
        self.salvaged.update(other.salvaged)
        self.duplicates.update(other.duplicates)
        for reason, examples in other.reject_examples.items():
            self._keep_examples(reason, examples)

    def _keep_examples(self, reason: str, examples: Sequence[tuple[str, str]]) -> None:
        kept = self.reject_examples.setdefault(reason, [])
        kept[:] = sorted([*kept, *examples])[:MAX_EXAMPLES]
