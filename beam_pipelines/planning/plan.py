"""Which pieces are kept, in which group and split: decided once all parts are there, from their heads alone.

1. Of equal pieces one is kept: that of the older dataset, else the one with the smallest source.
2. Near-duplicates, and pieces that `--group-regex` ties, form groups: the components of a graph. A group's id is
   the smallest piece_id in it. With `--near-duplicates drop`, one piece of each near-duplicate component is kept.
3. A group's id decides its split, or each path does; a split that would be empty gets a group of another one. Old
   pieces keep group and split; a newcomer joins the group it touches, and one that touches groups of several splits
   is rejected (`ties_splits`).

All rows stand in the order of piece_id, so nothing depends on the order in which parts come.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from beam_pipelines.encoding.ledger import Duplicate, Reject, Salvaged
from beam_pipelines.encoding.part_file import Part
from beam_pipelines.encoding.value_counts import Counts, Tally
from beam_pipelines.planning import near_duplicates
from beam_pipelines.planning.groups import find_groups
from beam_pipelines.settings.encode_settings import Settings
from midi_codec.dataset.dataset_info import SPLITS, SplitInfo

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
    num_groups: int  # those of one piece included
    moved_groups: Mapping[str, str]  # as DatasetInfo has them
    contents: np.ndarray  # [m, 2] uint64, ascending


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Carried:
    """What an older dataset says of its inputs that gave no piece; no line of an input that is tried again."""

    rejects: Sequence[Reject] = ()
    duplicates: Sequence[Duplicate] = ()
    salvaged: Sequence[Salvaged] = ()
    moved_groups: Mapping[str, str] = dataclasses.field(default_factory=dict)
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
    sources = [source for head in parts for source in head.sources]
    order, place_of = _drop_equal(rows, sources)
    ids = rows["piece_id"][order]
    near = np.zeros((0, 2), np.int64)
    if settings.near_duplicates != "keep":
        if pairs is None:
            near = near_duplicates.find_pairs(np.concatenate([head.signatures for head in parts])[order], ids)
        else:
            near = _places(ids, [piece_id.encode() for pair in pairs for piece_id in pair]).reshape(-1, 2)
    ties = _path_ties(rows, sources, ids, place_of, carried, settings)
    groups = find_groups(rows[order], [sources[row] for row in order], near, ties, settings)
    stays = groups.stands_for[place_of]  # of each row, the place of the piece that stays instead, itself as a rule
    is_tied = groups.tied[stays]
    kept = np.zeros(len(rows), bool)
    kept[order[groups.is_kept]] = True
    final, group_ids = groups.splits[stays], groups.group_ids[stays]
    is_equal = np.ones(len(rows), bool)
    is_equal[order] = False
    tied = [_ties(sources[row]) for row in np.flatnonzero(is_tied).tolist()]
    duplicates = [
        Duplicate(
            sources[row],
            "exact" if is_equal[row] else "near",
            rows["piece_id"][row].decode(),
            sources[order[stays[row]]],
            SPLITS[final[row]],
        )
        for row in np.flatnonzero(~kept & ~is_tied).tolist()
    ]
    moved = np.flatnonzero(kept & groups.moved[stays])
    moved_groups = {group_ids[row].decode(): SPLITS[final[row]] for row in moved.tolist()}
    part_of = np.repeat(np.arange(len(parts), dtype=np.uint32), [len(head.rows) for head in parts])
    entries = np.zeros(len(rows), ENTRY)
    for name in ("piece_id", "offset", "length"):
        entries[name] = rows[name]
    entries["part"], entries["split"], entries["counted"] = part_of, final, rows["split"]
    entries["group_id"], entries["kept"] = group_ids, kept
    left_out = {reject.path for reject in tied}
    salvaged = [line for head in parts for line in head.salvaged if line.path not in left_out]
    return Plan(
        entries=_by_shard(entries, rows["shard"], settings.num_shards),
        splits=_describe_splits(rows, kept, final, splits, settings.num_shards),
        counts=heads.tally.counts(),
        rejects=[*carried.rejects, *(reject for head in parts for reject in head.rejects), *tied],
        duplicates=[*carried.duplicates, *duplicates],
        salvaged=[*carried.salvaged, *salvaged],
        groups=_describe_groups(group_ids[kept], final[kept]),
        num_groups=len(np.unique(group_ids[kept])),
        moved_groups={**carried.moved_groups, **moved_groups},
        contents=_sorted_rows(np.concatenate([carried.contents, *(head.contents for head in parts)])),
    )


def _places(ids: np.ndarray, wanted: Sequence[bytes]) -> np.ndarray:
    """Where each wanted id stands in the sorted ids.

    Raises:
      RuntimeError: one is not there: parts have changed under a run.
    """
    named = np.array(wanted, "S32")
    places = np.searchsorted(ids, named)
    if len(named) and not (len(ids) and np.array_equal(ids[np.minimum(places, len(ids) - 1)], named)):
        raise RuntimeError("near-duplicates name a piece that no part has; start the same command again")
    return places


def _path_ties(
    rows: np.ndarray,
    sources: Sequence[str],
    ids: np.ndarray,
    place_of: np.ndarray,
    carried: Carried,
    settings: Settings,
) -> np.ndarray:
    """`[m, 2]` places of pieces that `--group-regex` ties, also through the paths of their equals and older drops."""
    if settings.group_regex is None:
        return np.zeros((0, 2), np.int64)
    paths, places = rows["path_group"], place_of
    if carried.duplicates:
        old = {sources[row]: int(place_of[row]) for row in np.flatnonzero(rows["group_id"] != b"").tolist()}
        lines = [line for line in carried.duplicates if line.kept in old]
        paths = np.concatenate([paths, np.array([settings.path_group(line.path) for line in lines], "S32")])
        places = np.concatenate([places, np.array([old[line.kept] for line in lines], np.int64)])
    by_path = np.argsort(paths, kind="stable")
    by_path = by_path[np.searchsorted(paths[by_path], b"", side="right") :]
    same = paths[by_path[1:]] == paths[by_path[:-1]]
    return np.stack([places[by_path[:-1][same]], places[by_path[1:][same]]], axis=1)


def _drop_equal(rows: np.ndarray, sources: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Rows of pieces that differ, by piece_id; and of every row the place of its equal there, which may be itself."""
    order = np.argsort(rows["piece_id"], kind="stable")
    ids = rows["piece_id"][order]
    is_first = np.ones(len(ids), bool)
    is_first[1:] = ids[1:] != ids[:-1]
    place_of = np.empty(len(rows), np.int64)
    place_of[order] = np.cumsum(is_first) - 1
    begins = np.flatnonzero(is_first)
    ends = np.append(begins[1:], len(ids))
    chosen = order[begins]
    for place in np.flatnonzero(ends - begins > 1).tolist():
        equal = order[begins[place] : ends[place]].tolist()
        chosen[place] = min(equal, key=lambda row: (not rows["group_id"][row], sources[row]))
    return chosen, place_of


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
