"""What a corpus would give, from reading all of it or a sample, without writing a dataset.

Sums over the corpus are estimated by bytes, whose total a listing knows (a file twice as large holds about twice the
notes), and each has the range in which it lies 19 times of 20, from how much files differ. That holds for files
chosen one by one (`survey_counts.is_chosen`), not for whole folders or archives. Nothing here reads a file.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

from beam_pipelines.survey.sample_counts import MEASURES, Counted

NORMAL_95 = 1.959963984540054
DEFAULT_TASKS = (1, 2, 8, 32)


@dataclasses.dataclass(frozen=True)
class Range:
    """An estimate, and where it lies 19 times of 20; all three are equal when everything was read."""

    value: float
    low: float
    high: float

    def to_dict(self) -> dict[str, float]:
        return {name: round(value, 3) for name, value in dataclasses.asdict(self).items()}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Estimate:
    """The whole corpus. `hours` are of music; `dataset_bytes` are shards; duplicates would leave both.

    `duplicates` has no value in between: `value` repeats the low end. `unseen` is how many files a reason that no file
    of the sample had may still have. `wall_seconds` is by number of tasks, each with a core, after the listing.
    """

    counted: Counted
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
        return self.counted.files >= self.num_inputs

    def to_dict(self) -> dict[str, Any]:
        """As JSON keeps it."""
        names = ("examples", "notes", "hours", "dataset_bytes")
        tables = ("rejects", "salvaged", "duplicates")
        return {
            "inputs": self.num_inputs,
            "bytes": self.num_bytes,
            "other_files": self.other_files,
            "read": {
                "files": self.counted.files,
                "bytes": self.counted.bytes,
                "work_seconds": round(self.counted.work_seconds, 3),
                **{name: round(self.counted.measures[name].total, 3) for name in MEASURES},
                **{name: dict(sorted(getattr(self.counted, name).items())) for name in tables},
            },
            **{name: getattr(self, name).to_dict() for name in names},
            **{name: {key: each.to_dict() for key, each in getattr(self, name).items()} for name in tables},
            "reject_examples": {
                reason: [{"path": path, "message": message} for path, message in examples]
                for reason, examples in sorted(self.counted.reject_examples.items())
            },
            "unseen_reason_files": round(self.unseen, 1),
            "wall_seconds": {str(tasks): round(seconds, 1) for tasks, seconds in self.wall_seconds.items()},
        }


def estimate(
    counted: Counted,
    *,
    num_inputs: int,
    num_bytes: int | None = None,
    other_files: int = 0,
    fixed_seconds: float = 0.0,
    tasks: Sequence[int] = DEFAULT_TASKS,
) -> Estimate:
    """What the whole corpus would give.

    Args:
      num_bytes: of all inputs, where the listing knows; without it, sums are estimated by number of files.
      fixed_seconds: what does not shrink with more tasks, such as the last step.

    Raises:
      ValueError: nothing was read, or more than there is.
    """
    if not 1 <= counted.files <= num_inputs:
        raise ValueError(f"{counted.files} files were read, want 1 to {num_inputs}")
    sums = {name: _sum(counted, name, num_inputs, num_bytes) for name in MEASURES}
    share = counted.files / num_inputs
    scale = num_bytes / counted.bytes if num_bytes and counted.bytes else 1 / share
    hours = sums["seconds"]
    rare = 0.0 if share == 1 else min(num_inputs - counted.files, 3 / counted.files * num_inputs)  # rule of three
    return Estimate(
        counted=counted,
        num_inputs=num_inputs,
        num_bytes=num_bytes,
        other_files=other_files,
        examples=_count(int(counted.measures["examples"].total), counted.files, num_inputs),
        notes=sums["notes"],
        hours=Range(hours.value / 3600, hours.low / 3600, hours.high / 3600),
        dataset_bytes=sums["record_bytes"],
        rejects={reason: _count(seen, counted.files, num_inputs) for reason, seen in sorted(counted.rejects.items())},
        salvaged={rung: _count(seen, counted.files, num_inputs) for rung, seen in sorted(counted.salvaged.items())},
        duplicates={
            kind: _duplicates(seen, counted.files, num_inputs) for kind, seen in sorted(counted.duplicates.items())
        },
        unseen=rare,
        wall_seconds={n: fixed_seconds + counted.work_seconds * scale / n for n in tasks},
    )


def _sum(counted: Counted, name: str, num_inputs: int, num_bytes: int | None) -> Range:
    """A sum over the corpus: the ratio estimator by bytes, or the mean a file where bytes are not known."""
    n, moments = counted.files, counted.measures[name]
    if n == num_inputs:
        return Range(moments.total, moments.total, moments.total)
    if num_bytes and counted.bytes:
        ratio = moments.total / counted.bytes
        value = ratio * num_bytes
        squares = moments.squares - 2 * ratio * moments.with_bytes + ratio * ratio * counted.byte_squares
    else:
        value = moments.total * num_inputs / n
        squares = moments.squares - moments.total**2 / n
    variance = max(squares, 0.0) / max(n - 1, 1)
    margin = NORMAL_95 * num_inputs * math.sqrt(variance / n * (1 - n / num_inputs))
    return Range(value, max(value - margin, moments.total), value + margin)


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
    """A copy shows only beside its original: were all of them pairs, one in (num_inputs / n) ** 2 would show."""
    least = seen * num_inputs / n
    return Range(least, least, least * num_inputs / n)
