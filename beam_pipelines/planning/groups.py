"""Which pieces belong together, and which split each group gets.

Pieces are distinct and numbered by piece_id. A near-duplicate that is dropped passes all its ties to the piece that is
kept instead. Without an older dataset, groups are the components of the graph of ties. With one, none of its pieces
moves: newcomers join the groups they touch, one after the other by source, and one that would tie two splits is
rejected.
"""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Callable, Sequence

import numpy as np

from beam_pipelines.planning import digests
from beam_pipelines.planning.near_duplicates import connect
from beam_pipelines.settings.encode_settings import Settings
from beam_pipelines.settings.splits import fill_empty
from job_runtime.spool import in_blocks

NEWCOMER = -1

Sources = Callable[[np.ndarray], Sequence[str]]  # those of some pieces


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Pieces:
    """Distinct pieces by piece_id.

    Attributes:
      names: `[k]` digests, ascending: the ids of all pieces, and of the older dataset's groups.
      own_name: `[n]` index into names, the piece's own id.
      old_group: `[n]` index into names; NEWCOMER for a piece that the older dataset does not have.
      splits: `[n]` index into SPLITS: an old piece's own; else the split that the piece alone would get.
    """

    names: np.ndarray
    own_name: np.ndarray
    old_group: np.ndarray
    splits: np.ndarray
    sources: Sources

    def __len__(self) -> int:
        return len(self.own_name)

    @property
    def is_old(self) -> np.ndarray:
        """`[n]` bool."""
        return self.old_group != NEWCOMER


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Near:
    """Which pieces are near-duplicates.

    Attributes:
      roots: `[n]`, the smallest number in the component of each.
      pairs: `[m, 2]`; None where only the components matter.
    """

    roots: np.ndarray
    pairs: np.ndarray | None = None


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Groups:
    """The groups of pieces; `names` and `splits` are meaningful only for kept ones.

    Attributes:
      stands_for: `[n]` the piece that is kept instead of each; itself unless it is a dropped near-duplicate.
      tied: `[n]` bool, newcomers that are rejected because they tie splits.
      names: `[n]` index into `Pieces.names`, the id of the group.
      splits: `[n]` index into SPLITS.
      moved: `[n]` bool, those that fill a split that would be empty.
    """

    stands_for: np.ndarray
    tied: np.ndarray
    names: np.ndarray
    splits: np.ndarray
    moved: np.ndarray = dataclasses.field(default_factory=lambda: np.zeros(0, bool))

    @property
    def is_kept(self) -> np.ndarray:
        """`[n]` bool."""
        return (self.stands_for == np.arange(len(self.stands_for))) & ~self.tied


def needs_pairs(pieces: Pieces, settings: Settings) -> bool:
    """Whether `Near.pairs` matter: only where newcomers join old groups one after the other."""
    return settings.near_duplicates == "group" and bool(pieces.is_old.any())


def find_groups(pieces: Pieces, near: Near, ties: np.ndarray, settings: Settings) -> Groups:
    """Groups pieces.

    Args:
      ties: `[m, 2]` pieces that belong together for another reason than `near`.
    """
    percents, is_old = settings.split_rule.percents, pieces.is_old
    stands_for = np.arange(len(pieces))
    pairs, root = near.pairs, near.roots.copy()
    if settings.near_duplicates == "drop":
        kept = choose(near.roots, len(pieces), is_old, pieces.sources)[near.roots]
        pairs, root, stands_for = None, stands_for, np.where(is_old, stands_for, kept)
    ties = stands_for[ties]
    connect(root, ties)
    splits = pieces.splits if percents is None else pieces.splits[root]
    groups = Groups(stands_for=stands_for, tied=np.zeros(len(pieces), bool), names=pieces.own_name[root], splits=splits)
    if is_old.any():
        edges = ties if pairs is None else np.concatenate([pairs, ties])
        groups = _join_old_groups(pieces, groups, root, edges, percents)
    return _fill_splits(pieces, groups, percents)


def choose(labels: np.ndarray, num_labels: int, is_old: np.ndarray, sources: Sources) -> np.ndarray:
    """`[num_labels]`, of the rows with each label the one that is kept: an old one, or that of the smallest source.

    Args:
      labels: `[n]` from 0 to num_labels - 1, not necessarily all of them.
    """
    chosen = np.zeros(num_labels, np.int64)
    chosen[labels[::-1]] = np.arange(len(labels))[::-1]
    several = np.flatnonzero(np.bincount(labels, minlength=num_labels)[labels] > 1)
    several = several[np.argsort(labels[several], kind="stable")]
    last, best = -1, (False, "")
    for rows in in_blocks(several):
        columns = rows.tolist(), labels[rows].tolist(), is_old[rows].tolist(), sources(rows)
        for row, label, old, source in zip(*columns, strict=True):
            if label != last or (not old, source) < best:
                last, best, chosen[label] = label, (not old, source), row
    return chosen


def _fill_splits(pieces: Pieces, groups: Groups, percents: Sequence[int] | None) -> Groups:
    """Fills splits that would be empty with groups of newcomers, as far as there are any; not if paths decide."""
    splits, kept = groups.splits.copy(), groups.is_kept
    sizes = np.bincount(splits[kept], minlength=len(percents or ()))
    if percents is not None and any(percent and not size for percent, size in zip(percents, sizes, strict=True)):
        group_ids = digests.unpack(pieces.names[groups.names[kept]])
        splits[kept] = fill_empty(group_ids, splits[kept], ~pieces.is_old[kept], percents)
    return dataclasses.replace(groups, splits=splits, moved=splits != groups.splits)


@dataclasses.dataclass
class _Newcomers:
    """A growing group of newcomers: the smallest of them, and the smallest of the old groups it touches."""

    piece: int
    old_group: int | None = None
    split: int | None = None  # of the old groups

    def join(self, other: _Newcomers) -> None:
        self.piece = min(self.piece, other.piece)
        if other.old_group is not None:
            self.old_group = other.old_group if self.old_group is None else min(self.old_group, other.old_group)
            self.split = other.split


def _join_old_groups(
    pieces: Pieces, groups: Groups, root: np.ndarray, edges: np.ndarray, percents: Sequence[int] | None
) -> Groups:
    """`groups` with the old ones, and with the newcomers of components that have an old piece.

    Args:
      root: the smallest piece in the component of each, by all `edges`.
      percents: None if paths decide the split; then no piece can be tied.
    """
    is_old = pieces.is_old
    names = np.where(is_old, pieces.old_group, groups.names)
    splits = np.where(is_old, pieces.splits, groups.splits)
    tied = groups.tied.copy()
    touches = np.zeros(len(pieces), bool)
    touches[root[is_old]] = True
    touches = touches[root]
    joining = np.flatnonzero(touches & ~is_old & (groups.stands_for == np.arange(len(pieces))))
    joining = joining[np.array(sorted(range(len(joining)), key=pieces.sources(joining).__getitem__), np.int64)]
    neighbours: dict[int, list[int]] = collections.defaultdict(list)
    for left, right in edges[touches[edges[:, 0]] & (edges[:, 0] != edges[:, 1])].tolist():
        neighbours[left].append(right)
        neighbours[right].append(left)
    parents: dict[int, int] = {}  # union-find over the newcomers that have joined
    joined: dict[int, _Newcomers] = {}  # by root

    def root_of(piece: int) -> int:
        while parents[piece] != piece:
            parents[piece] = parents[parents[piece]]
            piece = parents[piece]
        return piece

    for piece in joining.tolist():
        touched = sorted({root_of(near) for near in neighbours[piece] if near in parents})
        parts = [joined[each] for each in touched]
        parts += [
            _Newcomers(piece, int(pieces.old_group[near]), int(splits[near]))
            for near in neighbours[piece]
            if is_old[near]
        ]
        if percents is not None and len({part.split for part in parts if part.split is not None}) > 1:
            tied[piece] = True
            continue
        newcomers = _Newcomers(piece)
        for part in parts:
            newcomers.join(part)
        parents[piece] = piece
        joined[piece] = newcomers
        for each in touched:
            parents[each] = piece
            del joined[each]
    for piece in parents:
        group = joined[root_of(piece)]
        names[piece] = pieces.own_name[group.piece] if group.old_group is None else group.old_group
        if percents is not None:
            splits[piece] = pieces.splits[group.piece] if group.split is None else group.split
    return dataclasses.replace(groups, tied=tied, names=names, splits=splits)
