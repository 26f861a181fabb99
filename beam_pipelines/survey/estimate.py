"""What a corpus would give, estimated from all of it or from a sample.

Sums over the corpus are estimated by bytes, since a file twice as large holds about twice the notes and a listing knows
the bytes of all files. Each has a 95% range, which follows from how much the files differ. That holds for files chosen
one by one (`read_sample.is_chosen`), not for whole folders or archives. Nothing here reads a file.
"""

from __future__ import annotations

import collections
import dataclasses
import math
from collections.abc import Mapping, Sequence

import numpy as np

from beam_pipelines.encoding import ledger
from beam_pipelines.encoding.ledger import Reject, Salvaged

MEASURES = ("examples", "notes", "seconds", "record_bytes")
NORMAL_95 = 1.959963984540054
DEFAULT_TASKS = (1, 2, 8, 32)


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Sample:
    """The files that were read.

    Attributes:
      sizes: `[files]` float64, bytes.
      measures: each `[files]` float64, 0 for a file that gave no example.
      work_seconds: of one core.
      duplicates: how many of each kind.
      labels: a line for each.
    """

    sizes: np.ndarray
    measures: Mapping[str, np.ndarray]
    work_seconds: float = 0.0
    rejects: Sequence[Reject] = ()
    salvaged: Sequence[Salvaged] = ()
    duplicates: Mapping[str, int] = dataclasses.field(default_factory=dict)
    labels: Sequence[str] = ()

    @property
    def num_files(self) -> int:
        return len(self.sizes)

    @property
    def num_bytes(self) -> int:
        return int(self.sizes.sum())

    def total(self, measure: str) -> float:
        return float(self.measures[measure].sum())


@dataclasses.dataclass(frozen=True)
class Range:
    """An estimate and its 95% range; all three are equal if everything was read."""

    value: float
    low: float
    high: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class Estimate:
    """The whole corpus. `hours` are of music; `dataset_bytes` are of shards; both include duplicates.

    The `value` of duplicates repeats their low end. `unseen` is how many files may still have a reason that no file of
    the sample had. `wall_seconds` is by number of tasks, each with one core, after the listing.
    """

    sample: Sample
    num_inputs: int
    num_bytes: int | None
    other_files: int
    examples: Range
    notes: Range
    hours: Range
    dataset_bytes: Range
    rejects: Mapping[str, Range]
    salvaged: Mapping[str, Range]
    duplicates: Mapping[str, Range]
    unseen: float
    wall_seconds: Mapping[int, float]

    @property
    def is_whole(self) -> bool:
        return self.sample.num_files >= self.num_inputs


def estimate(
    sample: Sample,
    *,
    num_inputs: int,
    num_bytes: int | None = None,
    other_files: int = 0,
    fixed_seconds: float = 0.0,
    tasks: Sequence[int] = DEFAULT_TASKS,
) -> Estimate:
    """What the whole corpus would give.

    Args:
      num_bytes: of all inputs, if the listing knows them; otherwise sums are estimated by number of files.
      fixed_seconds: the work that more tasks do not shorten, such as the last step.

    Raises:
      ValueError: nothing was read, or more files than there are.
    """
    n = sample.num_files
    if not 1 <= n <= num_inputs:
        raise ValueError(f"{n} files were read, want 1 to {num_inputs}")
    sums = {name: _sum(sample, name, num_inputs, num_bytes) for name in MEASURES}
    scale = num_bytes / sample.num_bytes if num_bytes and sample.num_bytes else num_inputs / n
    hours = sums["seconds"]
    levels = collections.Counter(line.rung for line in sample.salvaged)
    return Estimate(
        sample=sample,
        num_inputs=num_inputs,
        num_bytes=num_bytes,
        other_files=other_files,
        examples=_count(int(sample.total("examples")), n, num_inputs),
        notes=sums["notes"],
        hours=Range(hours.value / 3600, hours.low / 3600, hours.high / 3600),
        dataset_bytes=sums["record_bytes"],
        rejects={name: _count(seen, n, num_inputs) for name, seen in ledger.count_reasons(sample.rejects).items()},
        salvaged={name: _count(seen, n, num_inputs) for name, seen in sorted(levels.items())},
        duplicates={name: _duplicates(seen, n, num_inputs) for name, seen in sorted(sample.duplicates.items())},
        unseen=0.0 if n == num_inputs else min(num_inputs - n, 3 / n * num_inputs),  # rule of three
        wall_seconds={num: fixed_seconds + sample.work_seconds * scale / num for num in tasks},
    )


def _sum(sample: Sample, name: str, num_inputs: int, num_bytes: int | None) -> Range:
    """A sum over the corpus: the ratio estimator by bytes, or the mean per file if bytes are not known."""
    n, x, y = sample.num_files, sample.sizes, sample.measures[name]
    total = sample.total(name)
    if n == num_inputs:
        return Range(total, total, total)
    if num_bytes and sample.num_bytes:
        ratio = total / sample.num_bytes
        value, residuals = ratio * num_bytes, y - ratio * x
    else:
        value, residuals = total * num_inputs / n, y - y.mean()
    variance = float(residuals @ residuals) / max(n - 1, 1)
    margin = NORMAL_95 * num_inputs * math.sqrt(variance / n * (1 - n / num_inputs))
    return Range(value, max(value - margin, total), value + margin)


def _count(seen: int, n: int, num_inputs: int) -> Range:
    """Files of one kind: Wilson's interval, narrower the more of the corpus was read."""
    if n == num_inputs:
        return Range(seen, seen, seen)
    share, z2 = seen / n, NORMAL_95**2 * (1 - n / num_inputs)
    middle = (share + z2 / (2 * n)) / (1 + z2 / n)
    margin = math.sqrt(z2 * (share * (1 - share) / n + z2 / (4 * n * n))) / (1 + z2 / n)
    low, high = (middle - margin) * num_inputs, (middle + margin) * num_inputs
    return Range(share * num_inputs, max(low, seen), min(high, num_inputs - (n - seen)))


def _duplicates(seen: int, n: int, num_inputs: int) -> Range:
    """A copy is seen only if its original was read too: if all are pairs, (n / num_inputs) ** 2 of them are seen."""
    least = seen * num_inputs / n
    return Range(least, least, least * num_inputs / n)
