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
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from job_runtime import json_text, storage

REJECTS = "rejects"
DUPLICATES = "duplicates"
SALVAGED = "salvaged"
KINDS = (REJECTS, DUPLICATES, SALVAGED)
NUM_REASONS = 5  # named in a message


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
_LINES: Mapping[str, type] = {REJECTS: Reject, DUPLICATES: Duplicate, SALVAGED: Salvaged}


def file_name(kind: str) -> str:
    """One file holds the whole ledger of a kind; the name leaves room for several."""
    return f"{kind}-00000-of-00001.jsonl"


def write(root: str, kind: str, lines: Iterable[Line]) -> None:
    """Writes a ledger, empty or not."""
    ordered = sorted(lines, key=lambda line: (line.path, str(line)))
    text = "".join(json.dumps(dataclasses.asdict(line)) + "\n" for line in ordered)
    storage.write_bytes(storage.join(root, file_name(kind)), text.encode())


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
