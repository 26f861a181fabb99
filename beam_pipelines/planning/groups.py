"""Which pieces belong together, and which split each group gets.

Rows are distinct pieces by piece_id. A near-duplicate that is dropped passes all its ties to the piece that is kept
instead. Without an older dataset, groups are the components of the graph of ties. With one, none of its pieces moves:
newcomers join the groups they touch, one after the other by source, and one that would tie two splits is rejected.
"""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Sequence

import numpy as np

from beam_pipelines.planning import near_duplicates
from beam_pipelines.settings.encode_settings import Settings
from beam_pipelines.settings.splits import fill_empty, split_of_group
from midi_codec.dataset.dataset_info import SPLITS


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Groups:
    """The groups of rows; `group_ids` and `splits` are meaningful only for kept rows.

    Attributes:
      stands_for: `[n]` the row that is kept instead of each; the row itself unless it is a dropped near-duplicate.
      tied: `[n]` bool, newcomers that are rejected because they tie splits.
      group_ids: `[n]` S32.
      splits: `[n]` index into SPLITS.
      moved: `[n]` bool, those that fill a split that would be empty.
    """

    stands_for: np.ndarray
    tied: np.ndarray
    group_ids: np.ndarray
    splits: np.ndarray
    moved: np.ndarray = dataclasses.field(default_factory=lambda: np.zeros(0, bool))

    @property
    def is_kept(self) -> np.ndarray:
        """`[n]` bool."""
        return (self.stands_for == np.arange(len(self.stands_for))) & ~self.tied


def find_groups(
    rows: np.ndarray, sources: Sequence[str], near: np.ndarray, ties: np.ndarray, settings: Settings
) -> Groups:
    """Groups rows.

    Args:
      rows: `[n]` of part_file.ROW by piece_id; those with a group_id are old.
      near, ties: `[m, 2]` rows that are near-duplicates; rows that belong together for another reason.
    """
    is_old = rows["group_id"] != b""
    stands_for = np.arange(len(rows))
    if settings.near_duplicates == "drop":
        stands_for = _drop_near(near, is_old, sources)
    edges = stands_for[np.concatenate([near, ties])]
    edges = edges[edges[:, 0] != edges[:, 1]]
    percents = settings.split_rule.percents
    if is_old.any():
        joining = ~is_old & (stands_for == np.arange(len(rows)))
        groups = Groups(stands_for=stands_for, **_join_newcomers(rows, sources, edges, joining, percents))
        return _fill_splits(groups, is_old, percents)
    group_ids = rows["piece_id"][near_duplicates.components(len(rows), edges)]
    splits = rows["split"].copy()
    if percents is not None:
        moved = np.flatnonzero(group_ids != rows["piece_id"])
        splits[moved] = [_split(group_id, percents) for group_id in group_ids[moved]]
    groups = Groups(stands_for=stands_for, tied=np.zeros(len(rows), bool), group_ids=group_ids, splits=splits)
    return _fill_splits(groups, is_old, percents)


def _fill_splits(groups: Groups, is_old: np.ndarray, percents: Sequence[int] | None) -> Groups:
    """Fills splits that would be empty with groups of newcomers, as far as there are any; not if paths decide."""
    splits, kept = groups.splits.copy(), groups.is_kept
    if percents is not None:
        splits[kept] = fill_empty(groups.group_ids[kept], splits[kept], ~is_old[kept], percents)
    return dataclasses.replace(groups, splits=splits, moved=splits != groups.splits)


def _split(group_id: bytes, percents: Sequence[int]) -> int:
    return SPLITS.index(split_of_group(group_id.decode(), percents))


def _drop_near(near: np.ndarray, is_old: np.ndarray, sources: Sequence[str]) -> np.ndarray:
    """`[n]` as `Groups.stands_for`: each component keeps its old pieces, or else the one with the smallest source."""
    members: dict[int, list[int]] = collections.defaultdict(list)
    roots = near_duplicates.components(len(is_old), near)
    for row in np.unique(near).tolist():
        members[int(roots[row])].append(row)
    stands_for = np.arange(len(is_old))
    for component in members.values():
        component.sort(key=lambda row: (not is_old[row], sources[row]))
        stands_for[[row for row in component[1:] if not is_old[row]]] = component[0]
    return stands_for


@dataclasses.dataclass
class _Newcomers:
    """A growing group of newcomers: its smallest piece_id, and the smallest id of the old groups it touches."""

    piece_id: bytes
    old_group: bytes | None = None
    split: int | None = None  # of the old groups

    def join(self, other: _Newcomers) -> None:
        self.piece_id = min(self.piece_id, other.piece_id)
        if other.old_group is not None:
            self.old_group = min(self.old_group or other.old_group, other.old_group)
            self.split = other.split


def _join_newcomers(
    rows: np.ndarray, sources: Sequence[str], edges: np.ndarray, joining: np.ndarray, percents: Sequence[int] | None
) -> dict[str, np.ndarray]:
    """`tied`, `group_ids` and `splits`. If `percents` is None, paths decide the split and no piece can be tied."""
    group_ids, splits, tied = rows["group_id"].copy(), rows["split"].copy(), np.zeros(len(rows), bool)
    is_old = rows["group_id"] != b""
    neighbours: dict[int, list[int]] = collections.defaultdict(list)
    for left, right in edges.tolist():
        neighbours[left].append(right)
        neighbours[right].append(left)
    parents: dict[int, int] = {}  # union-find over the newcomers that have joined
    groups: dict[int, _Newcomers] = {}  # by root

    def root_of(row: int) -> int:
        while parents[row] != row:
            parents[row] = parents[parents[row]]
            row = parents[row]
        return row

    for row in sorted(np.flatnonzero(joining).tolist(), key=lambda row: sources[row]):
        touched = sorted({root_of(near) for near in neighbours[row] if near in parents})
        parts = [groups[root] for root in touched]
        parts += [
            _Newcomers(rows["piece_id"][row], rows["group_id"][near], int(splits[near]))
            for near in neighbours[row]
            if is_old[near]
        ]
        if percents is not None and len({part.split for part in parts if part.split is not None}) > 1:
            tied[row] = True
            continue
        newcomers = _Newcomers(rows["piece_id"][row])
        for part in parts:
            newcomers.join(part)
        parents[row] = row
        groups[row] = newcomers
        for root in touched:
            parents[root] = row
            del groups[root]
    for row in parents:
        group = groups[root_of(row)]
        group_ids[row] = group.old_group or group.piece_id
        if percents is not None:
            splits[row] = _split(group_ids[row], percents) if group.split is None else group.split
    return {"tied": tied, "group_ids": group_ids, "splits": splits}
