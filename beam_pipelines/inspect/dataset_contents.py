"""What a dataset holds, for people: from `dataset_info.json`, the ledgers, and the heads of its records."""

from __future__ import annotations

import array
import collections
import contextlib
import dataclasses
import heapq
import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from beam_pipelines.encoding import ledger
from job_runtime.logs.progress import progress
from job_runtime.problem_report import UserError
from job_runtime.storage.sorted_runs import sort_strings
from midi_codec.dataset import dataset_info, records
from midi_codec.dataset.dataset_info import DUPLICATE_KINDS, SPLITS, DatasetInfo
from midi_codec.dataset.records import Piece

NUM_EXAMPLES = 3  # per reason, level, or kind of duplicates
NUM_GROUPS = 20
MIN_PREFIX = 4  # characters of a piece's id
_SEPARATOR = "\x01"  # in the rows that are sorted; no group id has it


@dataclasses.dataclass(frozen=True)
class Case:
    """Inputs with one outcome: how many, and (path, message) of a few, those with the smallest paths."""

    name: str
    count: int
    examples: tuple[tuple[str, str], ...]


@dataclasses.dataclass(frozen=True, slots=True)
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
    """`num_notes` and `groups` are None if the shards were not read."""

    path: str
    info: DatasetInfo
    rejects: Sequence[Case]  # most first
    salvaged: Sequence[Case]
    duplicates: Sequence[Case]  # exact, then near
    num_notes: Mapping[str, Sequence[int]] | None  # of each piece, by split
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
    lengths: dict[str, array.array[int]] | None = None
    groups = None
    matches = _Matches(piece)
    if with_records:
        lengths = {split: array.array("q") for split in SPLITS}
        groups = largest_groups(_watched(_read_heads(root, info), lengths, matches))
    elif piece is not None:
        for head in _read_heads(root, info):
            matches.add(head)
    chosen = _choose_piece(root, info, matches, with_piece)
    return Contents(
        path=root,
        info=info,
        rejects=_cases(info.rejects, _ledger(root, ledger.REJECTS), "reason", "message"),
        salvaged=_cases(info.salvaged, _ledger(root, ledger.SALVAGED), "rung", None),
        duplicates=_cases(info.duplicates, _ledger(root, ledger.DUPLICATES), "kind", "kept", order=DUPLICATE_KINDS),
        num_notes=lengths,
        groups=groups,
        piece=chosen[0] if chosen else None,
        piece_split=chosen[1] if chosen else None,
    )


def _watched(heads: Iterable[Head], lengths: Mapping[str, array.array], matches: _Matches) -> Iterator[Head]:
    for head in heads:
        lengths[head.split].append(head.num_notes)
        matches.add(head)
        yield head


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


def largest_groups(heads: Iterable[Head]) -> list[Group]:
    """The NUM_GROUPS largest groups of two pieces or more, the largest first; sorts the heads in compressed runs."""
    rows = (_SEPARATOR.join((head.group_id, head.split, head.source)) for head in heads)
    members = (row.split(_SEPARATOR, 2) for row in sort_strings(rows))
    by_group = itertools.groupby(members, key=lambda member: member[0])
    groups = (_group(group_id, list(pieces)) for group_id, pieces in by_group)
    tied = (group for group in groups if len(group.sources) > 1)
    return heapq.nsmallest(NUM_GROUPS, tied, key=lambda group: (-len(group.sources), group.group_id))


def _group(group_id: str, pieces: Sequence[Sequence[str]]) -> Group:
    used = {split for _, split, _ in pieces}
    sources = sorted(source for _, _, source in pieces)
    return Group(group_id, tuple(sources), tuple(split for split in SPLITS if split in used))


def _choose_piece(root: str, info: DatasetInfo, matches: _Matches, with_piece: bool) -> tuple[Piece, str] | None:
    """The piece that is named, else the dataset's first piece, else None."""
    if matches.wanted is not None:
        head = matches.only(root)
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


class _Matches:
    """Collects the pieces with this id or source, and apart those whose ids begin so."""

    def __init__(self, wanted: str | None) -> None:
        self.wanted = wanted
        self._exact: list[Head] = []
        self._others: list[Head] = []

    def add(self, head: Head) -> None:
        if self.wanted is None:
            return
        if self.wanted in (head.piece_id, head.source):
            self._exact.append(head)
        elif len(self.wanted) >= MIN_PREFIX and head.piece_id.startswith(self.wanted.lower()):
            self._others.append(head)

    def only(self, root: str) -> Head:
        """Raises UserError unless it is one piece."""
        matches = self._exact or self._others
        if len(matches) == 1:
            return matches[0]
        if matches:
            some = ", ".join(head.piece_id for head in matches[:3])
            raise UserError(f"--piece {self.wanted!r} matches {len(matches)} pieces ({some}), want one")
        raise UserError(
            f"--piece {self.wanted!r} is not in {root}, want an id, its first {MIN_PREFIX} digits, or a source"
        )
