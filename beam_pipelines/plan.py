"""Which pieces are kept, in which group and split: decided once all parts are there, from their heads alone.

1. Of equal pieces one is kept: that of the older dataset, else the one with the smallest source.
2. Near-duplicates, and pieces that `--group-regex` ties, form groups: the components of a graph. A group's id is
   the smallest piece_id in it. With `--near-duplicates drop`, one piece of each near-duplicate component is kept.
3. A group's id decides its split, or each path does. Old pieces keep group and split; a newcomer joins the group it
   touches, and one that touches groups of several splits is rejected (`ties_splits`).

All rows stand in the order of piece_id, so nothing depends on the order in which parts come.
"""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from beam_pipelines import near_duplicates
from beam_pipelines.groups import Groups, join_newcomers
from beam_pipelines.ledger import Duplicate, Reject, Salvaged
from beam_pipelines.parts import Part
from beam_pipelines.settings import Settings
from beam_pipelines.splits import split_of_group
from beam_pipelines.tally import Counts, Tally
from midi_codec.dataset_info import SPLITS, SplitInfo

ENTRY = np.dtype(
    [
        ("piece_id", "S32"),
        ("group_id", "S32"),
        ("part", "u4"),
        ("offset", "u8"),
        ("length", "u4"),
        ("split", "u1"),  # where it goes
        ("counted", "u1"),  # the split that its part counted it in
        ("kept", "?"),
    ]
)
"""What the writer of a shard needs to know of a record; `part` is a place in the list of parts."""


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Plan:
    """What will be in the dataset; only the counts of what is dropped or moved are still to be corrected.

    Attributes:
      entries: of each shard number, `[n]` of ENTRY by (part, offset).
    """

    entries: Sequence[np.ndarray]
    splits: Mapping[str, SplitInfo]
    counts: Mapping[str, Mapping[str, Counts]]
    rejects: Sequence[Reject]
    duplicates: Sequence[Duplicate]
    salvaged: Sequence[Salvaged]
    groups: Mapping[str, int]
    contents: np.ndarray  # [m, 2] uint64, ascending


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Carried:
    """What an older dataset says of its inputs that gave no piece; no line of an input that is tried again."""

    rejects: Sequence[Reject] = ()
    duplicates: Sequence[Duplicate] = ()
    salvaged: Sequence[Salvaged] = ()
    contents: np.ndarray = dataclasses.field(default_factory=lambda: np.zeros((0, 2), np.uint64))


class Heads:
    """The heads of all parts. Counts are added up as they come: held part by part, they would take most of the room."""

    def __init__(self, parts: Iterable[Part] = ()):
        self.parts: list[Part] = []
        self.tally = Tally()
        for part in parts:
            self.add(part)

    def add(self, part: Part) -> None:
        self.tally.add_counts(part.counts)
        self.parts.append(dataclasses.replace(part, counts={}))


def make_plan(
    heads: Heads,
    settings: Settings,
    splits: Sequence[str],
    *,
    carried: Carried | None = None,
    pairs: Iterable[tuple[str, str]] | None = None,
) -> Plan:
    """Decides on every piece.

    Args:
      heads: in any order that the caller keeps: entries name a part by its place.
      splits: those that get shards.
      carried: what the ledgers of the older dataset add.
      pairs: near-duplicates by piece_id, where an engine has found them; else they are found here.
    """
    carried, parts = carried or Carried(), heads.parts
    rows = np.concatenate([head.rows for head in parts])
    part_of = np.repeat(np.arange(len(parts), dtype=np.uint32), [len(head.rows) for head in parts])
    sources = [source for head in parts for source in head.sources]
    order, exact = _drop_equal(rows, sources)
    ids = rows["piece_id"][order]
    near = np.zeros((0, 2), np.int64)
    if settings.near_duplicates != "keep":
        if pairs is None:
            near = near_duplicates.find_pairs(np.concatenate([head.signatures for head in parts])[order], ids)
        else:
            named = np.array([[one.encode(), other.encode()] for one, other in pairs], "S32").reshape(-1, 2)
            near = np.searchsorted(ids, named)
    groups = _group(rows[order], [sources[row] for row in order], near, settings)
    kept = np.zeros(len(rows), bool)
    kept[order[groups.kept]] = True
    final = rows["split"].copy()
    group_ids = rows["piece_id"].copy()
    final[order], group_ids[order] = groups.splits, groups.group_ids
    rejects = [reject for head in parts for reject in head.rejects]
    rejects += [_ties(sources[order[place]]) for place in groups.tied.tolist()]
    names = {row: SPLITS[final[row]] for row in {kept_row for _, kept_row in exact}}
    duplicates = [
        Duplicate(sources[row], "exact", rows["piece_id"][row].decode(), sources[by], names[by]) for row, by in exact
    ]
    duplicates += [
        Duplicate(sources[row], "near", rows["piece_id"][row].decode(), sources[by], SPLITS[final[by]])
        for row, by in ((order[place], order[by]) for place, by in groups.dropped)
    ]
    entries = np.zeros(len(rows), ENTRY)
    for name in ("piece_id", "offset", "length"):
        entries[name] = rows[name]
    entries["part"], entries["split"], entries["counted"] = part_of, final, rows["split"]
    entries["group_id"], entries["kept"] = group_ids, kept
    return Plan(
        entries=_by_shard(entries, rows["shard"], settings.num_shards),
        splits=_describe_splits(rows, kept, final, splits, settings.num_shards),
        counts=heads.tally.counts(),
        rejects=[*carried.rejects, *rejects],
        duplicates=[*carried.duplicates, *duplicates],
        salvaged=[*carried.salvaged, *(line for head in parts for line in head.salvaged)],
        groups=_describe_groups(group_ids[kept], final[kept]),
        contents=_sorted_rows(np.concatenate([carried.contents, *(head.contents for head in parts)])),
    )


def _drop_equal(rows: np.ndarray, sources: Sequence[str]) -> tuple[np.ndarray, list[tuple[int, int]]]:
    """Rows to keep, by piece_id, and (dropped, kept instead) of the others."""
    order = np.argsort(rows["piece_id"], kind="stable")
    ids = rows["piece_id"][order]
    is_first = np.ones(len(ids), bool)
    is_first[1:] = ids[1:] != ids[:-1]
    begins = np.flatnonzero(is_first)
    ends = np.append(begins[1:], len(ids))
    dropped: list[tuple[int, int]] = []
    for begin, end in zip(begins, ends, strict=True) if len(begins) < len(ids) else ():
        if end - begin > 1:
            equal = sorted(order[begin:end].tolist(), key=lambda row: (not rows["group_id"][row], sources[row]))
            order[begin:end] = equal
            dropped += [(row, equal[0]) for row in equal[1:]]
    return order[begins], dropped


def _group(rows: np.ndarray, sources: Sequence[str], near: np.ndarray, settings: Settings) -> Groups:
    """Groups of rows that stand in the order of piece_id."""
    paths = rows["path_group"]
    by_path = np.argsort(paths, kind="stable")
    by_path = by_path[np.searchsorted(paths[by_path], b"", side="right") :]
    same = paths[by_path[1:]] == paths[by_path[:-1]]
    ties = np.stack([by_path[:-1][same], by_path[1:][same]], axis=1)
    is_old = rows["group_id"] != b""
    dropped: list[tuple[int, int]] = []
    if settings.near_duplicates == "drop":
        dropped = _drop_near(near, is_old, sources)
    is_kept = np.ones(len(rows), bool)
    is_kept[[place for place, _ in dropped]] = False
    edges = np.concatenate([near, ties])
    by_regex = settings.split_rule.percents is None
    tied = np.zeros(0, np.int64)
    if is_old.any():
        group_ids, splits, tied = join_newcomers(rows, sources, edges, is_kept, settings.split_rule.percents)
        is_kept[tied] = False
    else:
        roots = near_duplicates.components(len(rows), edges)
        smallest = np.full(len(rows), len(rows))
        np.minimum.at(smallest, roots[is_kept], np.flatnonzero(is_kept))
        group_ids = rows["piece_id"][np.where(is_kept, np.minimum(smallest[roots], len(rows) - 1), 0)]
        splits = rows["split"].copy()
        if not by_regex:
            moved = np.flatnonzero(group_ids != rows["piece_id"])
            splits[moved] = [SPLITS.index(_split(group_id, settings)) for group_id in group_ids[moved]]
    return Groups(kept=np.flatnonzero(is_kept), group_ids=group_ids, splits=splits, dropped=dropped, tied=tied)


def _split(group_id: bytes, settings: Settings) -> str:
    assert settings.split_rule.percents is not None
    return split_of_group(group_id.decode(), settings.split_rule.percents)


def _drop_near(near: np.ndarray, is_old: np.ndarray, sources: Sequence[str]) -> list[tuple[int, int]]:
    """(dropped, kept instead): of each component all old pieces stay, else the smallest source."""
    members: dict[int, list[int]] = collections.defaultdict(list)
    roots = near_duplicates.components(len(is_old), near)
    for place in np.unique(near).tolist():
        members[int(roots[place])].append(place)
    dropped = []
    for component in members.values():
        component.sort(key=lambda place: (not is_old[place], sources[place]))
        dropped += [(place, component[0]) for place in component[1:] if not is_old[place]]
    return dropped


def _ties(source: str) -> Reject:
    message = "it is the same music as pieces of the older dataset that lie in different splits"
    return Reject(source, None, "group", "ties_splits", message)


def _by_shard(entries: np.ndarray, shards: np.ndarray, num_shards: int) -> list[np.ndarray]:
    order = np.lexsort([entries["offset"], entries["part"], shards])
    bounds = np.searchsorted(shards[order], np.arange(num_shards + 1))
    entries = entries[order]
    return [entries[begin:end] for begin, end in zip(bounds[:-1], bounds[1:], strict=True)]


def _describe_splits(
    rows: np.ndarray, kept: np.ndarray, final: np.ndarray, splits: Sequence[str], num_shards: int
) -> dict[str, SplitInfo]:
    described = {}
    for place, split in enumerate(SPLITS):
        mine = rows[kept & (final == place)]
        lengths = tuple(np.bincount(mine["shard"], minlength=num_shards).tolist()) if split in splits else ()
        described[split] = SplitInfo(
            num_pieces=len(mine),
            num_notes=int(mine["num_notes"].sum()),
            seconds=_sum_exactly(mine["seconds"]),
            shard_lengths=lengths,
        )
    return described


def _sum_exactly(seconds: np.ndarray) -> float:
    """To a thousandth; whole microseconds add up to the same in any order."""
    return round(int(np.rint(seconds * 1e6).astype(np.int64).sum()) / 1e6, 3)


def _describe_groups(group_ids: np.ndarray, splits: np.ndarray) -> dict[str, int]:
    """The counts of `DatasetInfo.groups`: only groups of two pieces or more."""
    _, place, sizes = np.unique(group_ids, return_inverse=True, return_counts=True)
    pairs = np.unique(place.astype(np.int64) * len(SPLITS) + splits)
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
