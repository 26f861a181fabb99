"""Groups of pieces when an older dataset is added to: nobody moves, and nobody ties two splits together."""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Sequence

import numpy as np

from beam_pipelines.splits import split_of_group
from midi_codec.dataset_info import SPLITS


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Groups:
    """What became of rows; all but `kept`, `dropped` and `tied` are meaningful for kept rows only.

    Attributes:
      kept: `[k]` rows that stay, ascending.
      group_ids: `[n]` S32.
      splits: `[n]` place in SPLITS.
      dropped: near-duplicates that do not stay, with the row that stays instead.
      tied: newcomers that do not stay because they tie splits together.
    """

    kept: np.ndarray
    group_ids: np.ndarray
    splits: np.ndarray
    dropped: Sequence[tuple[int, int]]
    tied: np.ndarray


def join_newcomers(
    rows: np.ndarray,
    sources: Sequence[str],
    edges: np.ndarray,
    is_kept: np.ndarray,
    percents: Sequence[int] | None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Lets newcomers join the groups they touch, one after the other by source.

    Args:
      rows: `[n]` of parts.ROW by piece_id; those with a group_id are old.
      edges: `[m, 2]` rows that belong together.
      percents: of the split rule; None where paths decide, and nothing can be tied.

    Returns:
      `[n]` S32 group ids; `[n]` splits; newcomers that would tie splits together.
    """
    group_ids, splits = rows["group_id"].copy(), rows["split"].copy()
    neighbours: dict[int, list[int]] = collections.defaultdict(list)
    for one, other in edges.tolist():
        neighbours[one].append(other)
        neighbours[other].append(one)
    is_old = rows["group_id"] != b""
    group_of: dict[int, int] = {}  # a row of a new group, and the place of that group in `members`
    members: dict[int, list[int]] = {}
    tied: list[int] = []
    for row in sorted(np.flatnonzero(~is_old & is_kept).tolist(), key=lambda place: sources[place]):
        touched = sorted({group_of[near] for near in neighbours[row] if near in group_of})
        olds = [near for near in neighbours[row] if is_old[near]]
        olds += [near for group in touched for member in members[group] for near in neighbours[member] if is_old[near]]
        if percents is not None and len({int(splits[near]) for near in olds}) > 1:
            tied.append(row)
            continue
        joined = [row, *(member for group in touched for member in members.pop(group))]
        members[row] = joined
        group_of.update(dict.fromkeys(joined, row))
        group_id = min(rows["group_id"][olds]) if olds else min(rows["piece_id"][joined])
        group_ids[joined] = group_id
        if percents is not None:
            splits[joined] = splits[olds[0]] if olds else SPLITS.index(split_of_group(group_id.decode(), percents))
    return group_ids, splits, np.array(sorted(tied), np.int64)
