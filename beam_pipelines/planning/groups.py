"""Which pieces belong together, and which split each group gets.

Pieces are distinct and numbered by piece_id. A near-duplicate that is dropped passes all its ties to the piece that is
kept instead. Without an older dataset, groups are the components of the graph of ties. With one, none of its pieces
moves: newcomers join the groups they touch, one after the other by source, and one that would tie two splits is
rejected.
"""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Callable, Iterable, Sequence

import numpy as np

from beam_pipelines.planning import digests
from beam_pipelines.planning.near_duplicates import connect
from beam_pipelines.settings.encode_settings import Settings
from beam_pipelines.settings.splits import fill_empty, has_empty
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
    """The groups of pieces. A dropped near-duplicate has those of the piece that is kept instead.

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


def make_pieces(ids: np.ndarray, old_groups: np.ndarray, splits: np.ndarray, sources: Sources) -> Pieces:
    """Pieces from digests, `ids` ascending; `old_groups` are empty for newcomers."""
    is_old = old_groups != b""
    names, own_name, old_group = ids, np.arange(len(ids)), np.full(len(ids), NEWCOMER)
    if is_old.any():
        names = np.union1d(ids, old_groups[is_old])
        own_name = np.searchsorted(names, ids)
        old_group[is_old] = np.searchsorted(names, old_groups[is_old])
    return Pieces(names=names, own_name=own_name, old_group=old_group, splits=splits, sources=sources)


def near_of_pairs(pieces: Pieces, pairs: Iterable[np.ndarray], settings: Settings) -> Near:
    """Near-duplicates from `[m, 2]` arrays of pieces."""
    roots, found = np.arange(len(pieces)), [np.zeros((0, 2), np.int64)]
    for some in pairs:
        connect(roots, some)
        found += [some] if needs_pairs(pieces, settings) else []
    return Near(roots=roots, pairs=np.concatenate(found))


def needs_pairs(pieces: Pieces, settings: Settings) -> bool:
    """Whether `Near.pairs` matter: only where newcomers join old groups one after the other."""
    return settings.near_duplicates == "group" and bool(pieces.is_old.any())


def find_groups(pieces: Pieces, near: Near, ties: np.ndarray, settings: Settings) -> Groups:
    """Groups pieces; splits that are empty stay so. Pieces without near-duplicates and ties may be left out.

    Args:
      ties: `[m, 2]` a piece, and the number of a path: pieces with the same path belong together.
    """
    percents, is_old = settings.split_rule.percents, pieces.is_old
    num, num_paths = len(pieces), int(ties[:, 1].max(initial=-1)) + 1
    stands_for = np.arange(num)
    pairs, root = near.pairs, near.roots
    if settings.near_duplicates == "drop":
        kept = choose(near.roots, num, is_old, pieces.sources)[near.roots]
        pairs, root, stands_for = None, stands_for, np.where(is_old, stands_for, kept)
    ties = np.stack([stands_for[ties[:, 0]], num + ties[:, 1]], axis=1)
    root = np.concatenate([root, np.arange(num, num + num_paths)])  # paths are nodes of the graph, after the pieces
    connect(root, ties)
    splits = pieces.splits if percents is None else pieces.splits[root[:num]]
    names = pieces.own_name[root[:num]]
    groups = Groups(stands_for=stands_for, tied=np.zeros(num, bool), names=names, splits=splits)
    if is_old.any():
        edges = ties if pairs is None else np.concatenate([pairs, ties])
        groups = _join_old_groups(pieces, groups, root, edges, percents)
    if settings.near_duplicates != "drop":
        return groups
    columns = {name: getattr(groups, name)[stands_for] for name in ("tied", "names", "splits")}
    return dataclasses.replace(groups, **columns)


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


def fill_splits(pieces: Pieces, groups: Groups, percents: Sequence[int] | None) -> Groups:
    """Fills splits that would be empty with groups of newcomers, as far as there are any; not if paths decide."""
    splits, kept = groups.splits.copy(), groups.is_kept
    if percents is not None and has_empty(np.bincount(splits[kept], minlength=len(percents)), percents):
        group_ids = digests.unpack(pieces.names[groups.names[kept]])
        splits[kept] = fill_empty(group_ids, splits[kept], ~pieces.is_old[kept], percents)
        splits = splits[groups.stands_for]
    return dataclasses.replace(groups, splits=splits, moved=splits != groups.splits)


@dataclasses.dataclass
class _Newcomers:
    """A growing group of newcomers: the smallest of them, and of the old groups it touches, with that one's split."""

    piece: int
    old: tuple[int, int] | None = None

    def join(self, other: _Newcomers) -> None:
        self.piece = min(self.piece, other.piece)
        self.old = min((old for old in (self.old, other.old) if old is not None), default=None)


def _join_old_groups(
    pieces: Pieces, groups: Groups, root: np.ndarray, edges: np.ndarray, percents: Sequence[int] | None
) -> Groups:
    """`groups` with the old ones, and with the newcomers of components that have an old piece.

    A path joins nothing by itself: it is a growing group from the beginning, which newcomers with that path touch.

    Args:
      root: the smallest number in the component of each piece and path, by all `edges`.
      percents: None if paths decide the split; then no piece can be tied.
    """
    num, num_paths = len(pieces), len(root) - len(pieces)
    names = np.where(pieces.is_old, pieces.old_group, groups.names)
    splits = np.where(pieces.is_old, pieces.splits, groups.splits)
    tied = groups.tied.copy()
    is_old = np.concatenate([pieces.is_old, np.zeros(num_paths, bool)])
    touches = np.zeros(len(root), bool)
    touches[root[is_old]] = True
    touches = touches[root]
    joining = np.flatnonzero(touches[:num] & ~pieces.is_old & (groups.stands_for == np.arange(num)))
    joining = joining[np.array(sorted(range(len(joining)), key=pieces.sources(joining).__getitem__), np.int64)]
    neighbours: dict[int, list[int]] = collections.defaultdict(list)
    for left, right in edges[touches[edges[:, 0]] & (edges[:, 0] != edges[:, 1])].tolist():
        neighbours[left].append(right)
        neighbours[right].append(left)
    parents: dict[int, int] = {}  # union-find over the newcomers that have joined, and the paths
    joined: dict[int, _Newcomers] = {}  # by root

    def root_of(piece: int) -> int:
        while parents[piece] != piece:
            parents[piece] = parents[parents[piece]]
            piece = parents[piece]
        return piece

    def old_neighbours(node: int) -> list[_Newcomers]:
        old = [near for near in neighbours[node] if is_old[near]]
        return [_Newcomers(node, (int(pieces.old_group[near]), int(splits[near]))) for near in old]

    def join(node: int, parts: Sequence[_Newcomers], touched: Sequence[int]) -> None:
        newcomers = _Newcomers(node)
        for part in parts:
            newcomers.join(part)
        for each in touched:
            del joined[each]
        parents.update(dict.fromkeys([*touched, node], node))
        joined[node] = newcomers

    for path in (num + np.flatnonzero(touches[num:])).tolist():
        join(path, old_neighbours(path), ())
    for piece in joining.tolist():
        touched = sorted({root_of(near) for near in neighbours[piece] if near in parents})
        parts = [joined[each] for each in touched] + old_neighbours(piece)
        if percents is not None and len({part.old[1] for part in parts if part.old is not None}) > 1:
            tied[piece] = True
        else:
            join(piece, parts, touched)
    for piece in parents:
        group = joined[root_of(piece)]
        if piece < num:
            names[piece] = pieces.own_name[group.piece] if group.old is None else group.old[0]
            if percents is not None:
                splits[piece] = pieces.splits[group.piece] if group.old is None else group.old[1]
    return dataclasses.replace(groups, tied=tied, names=names, splits=splits)
