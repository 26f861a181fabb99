"""The ledgers: one JSON line per input that gave no example, sorted by path.

    rejects-00000-of-00001.jsonl      path, sha256, stage, reason, message
    duplicates-00000-of-00001.jsonl   path, kind (exact or near), piece_id, kept (the path that survived), its split
    salvaged-00000-of-00001.jsonl     path, sha256, rung: the level of lenient reading that gave notes

Paths are sources, below the input root. `sha256` is null if the file was not read. A salvaged input became an example
or a duplicate; rejects and duplicates did not become examples.
"""

from __future__ import annotations

import collections
import dataclasses
import itertools
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from job_runtime import json_text, storage
from job_runtime.storage.sorted_runs import sort_strings

REJECTS = "rejects"
DUPLICATES = "duplicates"
SALVAGED = "salvaged"
KINDS = (REJECTS, DUPLICATES, SALVAGED)
NUM_REASONS = 5  # named in a message
LINES_AT_ONCE = 1_000


@dataclasses.dataclass(frozen=True, order=True)
class Reject:
    """An input that cannot be used. `reason` is a fixed slug, `message` a sentence for people."""

    path: str
    sha256: str | None
    stage: str
    reason: str
    message: str


@dataclasses.dataclass(frozen=True, order=True)
class Duplicate:
    """An input with the same music as another, exactly or nearly; `kept` is the one that survived."""

    path: str
    kind: str
    piece_id: str
    kept: str
    split: str


@dataclasses.dataclass(frozen=True, order=True)
class Salvaged:
    """An input that strict reading refuses, and the level of lenient reading that gave its notes."""

    path: str
    sha256: str
    rung: str


Line = Reject | Duplicate | Salvaged
_CASES = {REJECTS: "reason", DUPLICATES: "kind", SALVAGED: "rung"}
_END = "\1\1"  # below any character of `_sortable`
_LINES: Mapping[str, type] = {REJECTS: Reject, DUPLICATES: Duplicate, SALVAGED: Salvaged}


def file_name(kind: str) -> str:
    """One file holds the whole ledger of a kind; the name leaves room for several."""
    return f"{kind}-00000-of-00001.jsonl"


def write(root: str, kind: str, lines: Iterable[Line]) -> collections.Counter[str]:
    """Writes a ledger, empty or not, without holding its lines in memory.

    Returns:
      how many lines there are of each reason, kind or rung.
    """
    counts: collections.Counter[str] = collections.Counter()
    case = _CASES[kind]

    def keyed() -> Iterator[str]:
        for line in lines:
            counts[getattr(line, case)] += 1
            yield f"{_sortable(line.path)}{_END}{line}{_END}{json.dumps(dataclasses.asdict(line))}"

    texts = (key.rpartition(_END)[2] + "\n" for key in sort_strings(keyed()))
    blocks = iter(lambda: "".join(itertools.islice(texts, LINES_AT_ONCE)).encode(), b"")
    storage.write_parts(storage.join(root, file_name(kind)), blocks)
    return counts


def _sortable(path: str) -> str:
    """The path in characters above _END's, in the same order; NUL and the next character are escaped."""
    return path.replace("\1", "\1\3").replace("\0", "\1\2")


def read(root: str, kind: str) -> list[Any]:
    """The lines of a ledger, of a dataset or of a run that kept nothing."""
    lines = json_text.load_lines(storage.join(root, file_name(kind)), _LINES[kind])
    return [_LINES[kind](**line) for line in lines]


def count_reasons(rejects: Iterable[Reject]) -> dict[str, int]:
    """Rejects by reason, sorted by reason."""
    return dict(sorted(collections.Counter(reject.reason for reject in rejects).items()))


def nothing_kept(root: str, rejects: Sequence[Reject]) -> list[str]:
    """The sentences for a run in which no input became an example."""
    counts = count_reasons(rejects)
    first: Mapping[str, Reject] = {reject.reason: reject for reject in reversed(rejects)}
    top = sorted(counts, key=lambda reason: (-counts[reason], reason))[:NUM_REASONS]
    path = storage.join(root, file_name(REJECTS))
    problems = [f"nothing to keep: all {len(rejects)} inputs were rejected; see {path}"]
    problems += [f"{reason}: {counts[reason]}, such as {first[reason].path}: {first[reason].message}" for reason in top]
    return problems
