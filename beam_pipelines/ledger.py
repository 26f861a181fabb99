"""The ledgers: one JSON line for every input that gave no example, sorted by path.

    rejects-00000-of-00001.jsonl      path, sha256, stage, reason, message
    duplicates-00000-of-00001.jsonl   path, piece_id, kept: the path that survived, split: where that one went

Paths are sources, below the input root. `sha256` is null where the file was not read.
"""

from __future__ import annotations

import collections
import dataclasses
import json
from collections.abc import Iterable, Mapping, Sequence

from midi_codec import storage
from midi_codec.command import UserError

REJECTS = "rejects"
DUPLICATES = "duplicates"
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
    """An input whose notes another input has too; `kept` is the smallest path of them all."""

    path: str
    piece_id: str
    kept: str
    split: str


def file_name(kind: str) -> str:
    """One file holds the whole ledger of a kind; the form leaves room for more."""
    return f"{kind}-00000-of-00001.jsonl"


def write(root: str, kind: str, lines: Iterable[Reject | Duplicate]) -> None:
    """Writes a ledger, empty or not."""
    ordered = sorted(lines, key=lambda line: line.path)
    text = "".join(json.dumps(dataclasses.asdict(line)) + "\n" for line in ordered)
    storage.write_bytes(storage.join(root, file_name(kind)), text.encode())


def read_rejects(root: str) -> list[Reject]:
    """The rejects of a dataset, or of a run that kept nothing."""
    text = storage.read_text(storage.join(root, file_name(REJECTS)))
    return [Reject(**json.loads(line)) for line in text.splitlines()]


def count_reasons(rejects: Iterable[Reject]) -> dict[str, int]:
    """Rejects by reason, sorted by reason."""
    return dict(sorted(collections.Counter(reject.reason for reject in rejects).items()))


def nothing_kept(root: str, rejects: Sequence[Reject]) -> UserError:
    """What to say when no input became an example."""
    counts = count_reasons(rejects)
    first: Mapping[str, Reject] = {reject.reason: reject for reject in reversed(rejects)}
    top = sorted(counts, key=lambda reason: (-counts[reason], reason))[:NUM_REASONS]
    path = storage.join(root, file_name(REJECTS))
    problems = [f"nothing to keep: all {len(rejects)} inputs were rejected; see {path}"]
    problems += [f"{reason}: {counts[reason]}, such as {first[reason].path}: {first[reason].message}" for reason in top]
    return UserError(problems)
