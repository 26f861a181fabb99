"""Which pieces are kept, and in which group and split: decided once all parts exist, from their headers alone.

1. Of equal pieces one is kept: the older dataset's, or else the one with the smallest source.
2. Near-duplicates, and pieces that `--group-regex` ties, form groups: the components of a graph. A group's id is
   the smallest piece_id in it. With `--near-duplicates drop`, one piece of each near-duplicate component is kept.
3. A group's id decides its split, or each path does; a split that would be empty gets a group of another one. Old
   pieces keep their group and split; a newcomer joins the group it touches, and one that touches groups of several
   splits is rejected (`ties_splits`).

Pieces are compared in the order of their piece_ids, so nothing depends on the order of the parts.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from beam_pipelines.encoding.ledger import Duplicate, Reject, Salvaged
from beam_pipelines.encoding.part_file import Part
from beam_pipelines.encoding.value_counts import Counts, ValueCounts
from beam_pipelines.planning import near_duplicates
from beam_pipelines.planning.groups import Groups, find_groups
from beam_pipelines.settings.encode_settings import Settings
from midi_codec.dataset.dataset_info import SPLITS, SplitInfo

ENTRY = np.dtype(
    [
        ("piece_id", "S32"),
        ("group_id", "S32"),
        ("part", "u4"),
        ("offset", "u8"),
        ("length", "u4"),
        ("split", "u1"),  # the final split
        ("counted", "u1"),  # the split in which its part counted it
        ("kept", "?"),
    ]
)
"""What the writer of a shard needs to know of a record; `part` is an index into the list of parts."""


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Plan:
    """What the dataset will hold. `counts` still include pieces that are dropped or moved.

    Attributes:
      entries: for each shard number, `[n]` of ENTRY by (part, offset).
    """

    entries: Sequence[np.ndarray]
    splits: Mapping[str, SplitInfo]
    counts: Mapping[str, Mapping[str, Counts]]
    rejects: Sequence[Reject]
    duplicates: Sequence[Duplicate]
    salvaged: Sequence[Salvaged]
    groups: Mapping[str, int]
    num_groups: int  # groups of one piece included
    moved_groups: Mapping[str, str]  # as in DatasetInfo
    contents: np.ndarray  # [m, 2] uint64, ascending


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Carried:
    """What an older dataset says about its inputs that gave no piece, except those that are tried again."""

    rejects: Sequence[Reject] = ()
    duplicates: Sequence[Duplicate] = ()
    salvaged: Sequence[Salvaged] = ()
    moved_groups: Mapping[str, str] = dataclasses.field(default_factory=dict)
    contents: np.ndarray = dataclasses.field(default_factory=lambda: np.zeros((0, 2), np.uint64))


class PartHeaders:
    """The headers of all parts. Counts are added up as they arrive: kept per part, they would take most memory."""

    def __init__(self, parts: Iterable[Part] = ()):
        self.parts: list[Part] = []
        self.value_counts = ValueCounts()
        for part in parts:
            self.add(part)

    def add(self, part: Part) -> None:
        self.value_counts.add_counts(part.counts)
        self.parts.append(dataclasses.replace(part, counts={}))

    def rows(self) -> np.ndarray:
        """`[n]` of part_file.ROW: every piece of every part."""
        return np.concatenate([part.rows for part in self.parts])

    def sources(self) -> list[str]:
        """The sources of `rows`."""
        return [source for part in self.parts for source in part.sources]

    def signatures(self) -> np.ndarray:
        """The fingerprints of `rows`."""
        return np.concatenate([part.signatures for part in self.parts])

    def part_indexes(self) -> np.ndarray:
        """The index of the part of each of `rows`."""
        return np.repeat(np.arange(len(self.parts), dtype=np.uint32), [len(part.rows) for part in self.parts])


def make_plan(
    headers: PartHeaders,
    settings: Settings,
    splits: Sequence[str],
    *,
    carried: Carried | None = None,
    pairs: Iterable[tuple[str, str]] | None = None,
) -> Plan:
    """Decides on every piece.

    Args:
      headers: in any order; entries refer to a part by its index here.
      splits: those that get shards.
      carried: what the ledgers of the older dataset add.
      pairs: near-duplicates by piece_id, if an engine has found them; else they are found here.
    """
    carried = carried or Carried()
    rows, sources = headers.rows(), headers.sources()
    distinct, distinct_of = _drop_equal(rows, sources)
    ids = rows["piece_id"][distinct]
    near = _near_pairs(headers, distinct, ids, pairs, settings)
    ties = _path_ties(rows, sources, distinct_of, carried, settings)
    groups = find_groups(rows[distinct], [sources[row] for row in distinct], near, ties, settings)

    decisions = _Decisions.of(rows, sources, distinct, distinct_of, groups)
    tied = [_tied_reject(source) for source in decisions.tied_sources]
    return Plan(
        entries=_entries_by_shard(rows, headers.part_indexes(), decisions, settings.num_shards),
        splits=_describe_splits(rows, decisions, splits, settings.num_shards),
        counts=headers.value_counts.counts(),
        rejects=[*carried.rejects, *(reject for part in headers.parts for reject in part.rejects), *tied],
        duplicates=[*carried.duplicates, *decisions.duplicates],
        salvaged=[*carried.salvaged, *_salvaged(headers, decisions)],
        groups=_describe_groups(decisions.group_ids[decisions.kept], decisions.splits[decisions.kept]),
        num_groups=len(np.unique(decisions.group_ids[decisions.kept])),
        moved_groups={**carried.moved_groups, **decisions.moved_groups},
        contents=_sorted_rows(np.concatenate([carried.contents, *(part.contents for part in headers.parts)])),
    )


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class _Decisions:
    """What happens to each row, equal pieces and near-duplicates included.

    Attributes:
      kept: `[n]` bool.
      splits: `[n]` index into SPLITS, of the row's piece or of the one that is kept instead of it.
      group_ids: `[n]` S32, likewise.
      tied_sources: of rows that are rejected because they tie splits.
      moved_groups: the split by id of each group that fills a split that would be empty.
    """

    kept: np.ndarray
    splits: np.ndarray
    group_ids: np.ndarray
    tied_sources: Sequence[str]
    duplicates: Sequence[Duplicate]
    moved_groups: Mapping[str, str]

    @classmethod
    def of(
        cls, rows: np.ndarray, sources: Sequence[str], distinct: np.ndarray, distinct_of: np.ndarray, groups: Groups
    ) -> _Decisions:
        """The decisions on `rows`, from the groups of the distinct ones; arguments as `_drop_equal` returns them."""
        survivor = groups.stands_for[distinct_of]  # among the distinct rows; as a rule the row itself
        splits, group_ids, is_tied = groups.splits[survivor], groups.group_ids[survivor], groups.tied[survivor]
        kept = np.zeros(len(rows), bool)
        kept[distinct[groups.is_kept]] = True
        is_equal = np.ones(len(rows), bool)
        is_equal[distinct] = False
        duplicates = [
            Duplicate(
                sources[row],
                "exact" if is_equal[row] else "near",
                rows["piece_id"][row].decode(),
                sources[distinct[survivor[row]]],
                SPLITS[splits[row]],
            )
            for row in np.flatnonzero(~kept & ~is_tied).tolist()
        ]
        moved = np.flatnonzero(kept & groups.moved[survivor])
        return cls(
            kept=kept,
            splits=splits,
            group_ids=group_ids,
            tied_sources=[sources[row] for row in np.flatnonzero(is_tied).tolist()],
            duplicates=duplicates,
            moved_groups={group_ids[row].decode(): SPLITS[splits[row]] for row in moved.tolist()},
        )


def _drop_equal(rows: np.ndarray, sources: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """One row of each distinct piece, by piece_id; and for every row, the index there of the row equal to it."""
    order = np.argsort(rows["piece_id"], kind="stable")
    ids = rows["piece_id"][order]
    is_first = np.ones(len(ids), bool)
    is_first[1:] = ids[1:] != ids[:-1]
    distinct_of = np.empty(len(rows), np.int64)
    distinct_of[order] = np.cumsum(is_first) - 1
    begins = np.flatnonzero(is_first)
    ends = np.append(begins[1:], len(ids))
    distinct = order[begins]
    for index in np.flatnonzero(ends - begins > 1).tolist():
        equal = order[begins[index] : ends[index]].tolist()
        distinct[index] = min(equal, key=lambda row: (not rows["group_id"][row], sources[row]))
    return distinct, distinct_of


def _near_pairs(
    headers: PartHeaders,
    distinct: np.ndarray,
    ids: np.ndarray,
    pairs: Iterable[tuple[str, str]] | None,
    settings: Settings,
) -> np.ndarray:
    """`[m, 2]` indexes of distinct pieces that are near-duplicates."""
    if settings.near_duplicates == "keep":
        return np.zeros((0, 2), np.int64)
    if pairs is None:
        return near_duplicates.find_pairs(headers.signatures()[distinct], ids)
    return _indexes_of(ids, [piece_id.encode() for pair in pairs for piece_id in pair]).reshape(-1, 2)


def _indexes_of(ids: np.ndarray, wanted: Sequence[bytes]) -> np.ndarray:
    """The index of each wanted id in the sorted ids.

    Raises:
      RuntimeError: one is missing: parts have changed during the run.
    """
    names = np.array(wanted, "S32")
    indexes = np.searchsorted(ids, names)
    if len(names) and not (len(ids) and np.array_equal(ids[np.minimum(indexes, len(ids) - 1)], names)):
        raise RuntimeError("near-duplicates name a piece that no part has; start the same command again")
    return indexes


def _path_ties(
    rows: np.ndarray, sources: Sequence[str], distinct_of: np.ndarray, carried: Carried, settings: Settings
) -> np.ndarray:
    """`[m, 2]` indexes of distinct pieces that `--group-regex` ties.

    The paths of their equals count too, and so do those of duplicates that the older dataset dropped.
    """
    if settings.group_regex is None:
        return np.zeros((0, 2), np.int64)
    paths, indexes = rows["path_group"], distinct_of
    if carried.duplicates:
        old = {sources[row]: int(distinct_of[row]) for row in np.flatnonzero(rows["group_id"] != b"").tolist()}
        lines = [line for line in carried.duplicates if line.kept in old]
        paths = np.concatenate([paths, np.array([settings.path_group(line.path) for line in lines], "S32")])
        indexes = np.concatenate([indexes, np.array([old[line.kept] for line in lines], np.int64)])
    by_path = np.argsort(paths, kind="stable")
    by_path = by_path[np.searchsorted(paths[by_path], b"", side="right") :]
    same = paths[by_path[1:]] == paths[by_path[:-1]]
    return np.stack([indexes[by_path[:-1][same]], indexes[by_path[1:][same]]], axis=1)


def _tied_reject(source: str) -> Reject:
    message = "it is the same music as pieces of the older dataset that are in different splits"
    return Reject(source, None, "group", "ties_splits", message)


def _salvaged(headers: PartHeaders, decisions: _Decisions) -> list[Salvaged]:
    """The salvaged inputs that became an example or a duplicate."""
    rejected = set(decisions.tied_sources)
    return [line for part in headers.parts for line in part.salvaged if line.path not in rejected]


def _entries_by_shard(
    rows: np.ndarray, part_indexes: np.ndarray, decisions: _Decisions, num_shards: int
) -> list[np.ndarray]:
    """For each shard number `[n]` of ENTRY, by (part, offset)."""
    entries = np.zeros(len(rows), ENTRY)
    for name in ("piece_id", "offset", "length"):
        entries[name] = rows[name]
    entries["part"], entries["split"], entries["counted"] = part_indexes, decisions.splits, rows["split"]
    entries["group_id"], entries["kept"] = decisions.group_ids, decisions.kept
    order = np.lexsort([entries["offset"], entries["part"], rows["shard"]])
    bounds = np.searchsorted(rows["shard"][order], np.arange(num_shards + 1))
    entries = entries[order]
    return [entries[begin:end] for begin, end in zip(bounds[:-1], bounds[1:], strict=True)]


def _describe_splits(
    rows: np.ndarray, decisions: _Decisions, splits: Sequence[str], num_shards: int
) -> dict[str, SplitInfo]:
    described = {}
    for index, split in enumerate(SPLITS):
        kept_rows = rows[decisions.kept & (decisions.splits == index)]
        lengths = tuple(np.bincount(kept_rows["shard"], minlength=num_shards).tolist()) if split in splits else ()
        described[split] = SplitInfo(
            num_pieces=len(kept_rows),
            num_notes=int(kept_rows["num_notes"].sum()),
            seconds=_sum_exactly(kept_rows["seconds"]),
            shard_lengths=lengths,
        )
    return described


def _sum_exactly(seconds: np.ndarray) -> float:
    """The sum, rounded to milliseconds. Whole microseconds add up to the same sum in any order."""
    return round(int(np.rint(seconds * 1e6).astype(np.int64).sum()) / 1e6, 3)


def _describe_groups(group_ids: np.ndarray, splits: np.ndarray) -> dict[str, int]:
    """The counts of `DatasetInfo.groups`: only groups of two pieces or more."""
    _, group, sizes = np.unique(group_ids, return_inverse=True, return_counts=True)
    pairs = np.unique(group.astype(np.int64) * len(SPLITS) + splits)
    splits_of_group = np.bincount(pairs // len(SPLITS), minlength=len(sizes))
    shared = sizes[sizes > 1]
    return {
        "groups": len(shared),
        "pieces": int(shared.sum()),
        "largest": int(shared.max(initial=0)),
        "in_several_splits": int((splits_of_group > 1).sum()),
    }


def _sorted_rows(table: np.ndarray) -> np.ndarray:
    return table[np.lexsort([table[:, 1], table[:, 0]])]
