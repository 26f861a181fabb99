"""What a dataset holds, for people: from `dataset_info.json`, the ledgers, and the heads of its records."""

from __future__ import annotations

import collections
import contextlib
import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from beam_pipelines.encoding import ledger
from job_runtime.logs.progress import progress
from job_runtime.problem_report import UserError
from midi_codec.dataset import dataset_info, records
from midi_codec.dataset.dataset_info import DUPLICATE_KINDS, SPLITS, DatasetInfo
from midi_codec.dataset.records import Piece

NUM_EXAMPLES = 3  # per reason, level, or kind of duplicates
NUM_GROUPS = 20
MIN_PREFIX = 4  # characters of a piece's id


@dataclasses.dataclass(frozen=True)
class Case:
    """Inputs with one outcome: how many, and (path, message) of a few, those with the smallest paths."""

    name: str
    count: int
    examples: tuple[tuple[str, str], ...]


@dataclasses.dataclass(frozen=True, slots=True)  # a large dataset has a million of them
class Head:
    """What a record says about its piece, and where the record is."""

    piece_id: str
    group_id: str
    source: str
    num_notes: int
    split: str
    shard: int


@dataclasses.dataclass(frozen=True)
class Group:
    """Pieces that were kept together: all their sources, ascending, and their splits."""

    group_id: str
    sources: tuple[str, ...]
    splits: tuple[str, ...]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Contents:
    """`heads` and everything derived from them is None if the shards were not read."""

    path: str
    info: DatasetInfo
    rejects: Sequence[Case]  # most first
    salvaged: Sequence[Case]
    duplicates: Sequence[Case]  # exact, then near
    heads: Sequence[Head] | None
    groups: Sequence[Group] | None  # the largest, at most NUM_GROUPS
    piece: Piece | None
    piece_split: str | None


def read(root: str, *, piece: str | None, with_records: bool, with_piece: bool) -> Contents:
    """Reads a dataset.

    Args:
      piece: the id of the piece to show, its first characters, or its source.
      with_records: whether to read every record, for groups and the notes per piece.
      with_piece: whether to take the first piece if none is named.

    Raises:
      UserError: no complete dataset, no such piece, or a damaged shard.
    """
    info = dataset_info.load(root)
    heads = list(_read_heads(root, info)) if with_records else None
    chosen = _choose_piece(root, info, heads, piece, with_piece)
    return Contents(
        path=root,
        info=info,
        rejects=_cases(info.rejects, _ledger(root, ledger.REJECTS), "reason", "message"),
        salvaged=_cases(info.salvaged, _ledger(root, ledger.SALVAGED), "rung", None),
        duplicates=_cases(info.duplicates, _ledger(root, ledger.DUPLICATES), "kind", "kept", order=DUPLICATE_KINDS),
        heads=heads,
        groups=largest_groups(heads) if heads is not None else None,
        piece=chosen[0] if chosen else None,
        piece_split=chosen[1] if chosen else None,
    )


def _ledger(root: str, kind: str) -> Iterator[Mapping[str, Any]]:
    """The lines of a ledger; a dataset that was not encoded, such as generated music, has none."""
    with contextlib.suppress(FileNotFoundError):
        yield from map(dataclasses.asdict, ledger.read(root, kind))


def _cases(
    counts: Mapping[str, int],
    lines: Iterator[Mapping[str, Any]],
    key: str,
    message_key: str | None,
    order: Sequence[str] | None = None,
) -> list[Case]:
    """The counts with examples from a ledger, which is sorted by path."""
    examples: dict[str, list[tuple[str, str]]] = collections.defaultdict(list)
    for line in lines:
        of_case = examples[str(line.get(key))]
        if len(of_case) < NUM_EXAMPLES:
            of_case.append((str(line.get("path")), str(line.get(message_key)) if message_key else ""))
    names = order or sorted(counts, key=lambda name: (-counts[name], name))
    return [Case(name, counts[name], tuple(examples.get(name, ()))) for name in names]


def _read_heads(root: str, info: DatasetInfo) -> Iterator[Head]:
    """Every record's head, split by split."""
    with progress(total=info.examples, unit="pieces", label="reading") as bar:
        for split in SPLITS:
            for shard, path in enumerate(dataset_info.shard_paths(root, info, split)):
                heads = [_head(features, split, shard) for features in _features_of(path)]
                bar.update(len(heads))
                yield from heads


def _features_of(path: str) -> Iterator[dict[str, bytes]]:
    try:
        for record in records.read_records(records.read_shard(path)):
            yield records.split_features(record)
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read: {error}") from error


def _head(features: Mapping[str, bytes], split: str, shard: int) -> Head:
    return Head(
        piece_id=features["piece_id"].decode(),
        group_id=features["group_id"].decode(),
        source=features["source"].decode("utf-8", "surrogateescape"),
        num_notes=len(features["pitch"]),  # a pitch is below 128: one byte
        split=split,
        shard=shard,
    )


def largest_groups(heads: Sequence[Head]) -> list[Group]:
    """The NUM_GROUPS largest groups of two pieces or more, the largest first."""
    members: dict[str, list[Head]] = collections.defaultdict(list)
    for head in heads:
        members[head.group_id].append(head)
    tied = sorted((-len(pieces), group_id) for group_id, pieces in members.items() if len(pieces) > 1)
    return [
        Group(
            group_id,
            sources=tuple(sorted(head.source for head in members[group_id])),
            splits=tuple(split for split in SPLITS if any(head.split == split for head in members[group_id])),
        )
        for _, group_id in tied[:NUM_GROUPS]
    ]


def _choose_piece(
    root: str, info: DatasetInfo, heads: Sequence[Head] | None, wanted: str | None, with_piece: bool
) -> tuple[Piece, str] | None:
    """The piece that is named, else the dataset's first piece, else None."""
    if wanted is not None:
        head = _find(root, heads if heads is not None else list(_read_heads(root, info)), wanted)
        path = dataset_info.shard_paths(root, info, head.split)[head.shard]
        return next(piece for piece in _pieces(path, info) if piece.piece_id == head.piece_id), head.split
    if not with_piece:
        return None
    for split in SPLITS:
        for path, length in zip(
            dataset_info.shard_paths(root, info, split), info.splits[split].shard_lengths, strict=True
        ):
            if length:
                return next(_pieces(path, info)), split
    return None


def _pieces(path: str, info: DatasetInfo) -> Iterator[Piece]:
    try:
        yield from records.read_pieces(path, time_base=info.time_base)
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read: {error}") from error


def _find(root: str, heads: Sequence[Head], wanted: str) -> Head:
    matches = [head for head in heads if wanted in (head.piece_id, head.source)]
    if not matches and len(wanted) >= MIN_PREFIX:
        matches = [head for head in heads if head.piece_id.startswith(wanted.lower())]
    if len(matches) == 1:
        return matches[0]
    if matches:
        some = ", ".join(head.piece_id for head in matches[:3])
        raise UserError(f"--piece {wanted!r} matches {len(matches)} pieces ({some}), want one")
    raise UserError(f"--piece {wanted!r} is not in {root}, want an id, its first {MIN_PREFIX} digits, or a source")
