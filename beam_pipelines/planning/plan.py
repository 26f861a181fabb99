"""Which pieces are kept, and in which group and split: decided once all parts exist, from their headers alone.

1. Of equal pieces one is kept: the older dataset's, or else the one with the smallest source.
2. Near-duplicates, and pieces that `--group-regex` ties, form groups: the components of a graph. A group's id is
   the smallest piece_id in it. With `--near-duplicates drop`, one piece of each near-duplicate component is kept.
3. A group's id decides its split, or each path does; a split that would be empty gets a group of another one. Old
   pieces keep their group and split; a newcomer joins the group it touches, and one that touches groups of several
   splits is rejected (`ties_splits`).

Pieces are compared in the order of their piece_ids, so nothing depends on the order of the parts. Headers stay in
temporary files; in memory are some numbers per piece, about 100 bytes.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np

from beam_pipelines.encoding.ledger import Duplicate, Reject
from beam_pipelines.encoding.value_counts import Counts
from beam_pipelines.planning import digests
from beam_pipelines.planning.groups import NEWCOMER, Near, Pieces, choose, find_groups, needs_pairs
from beam_pipelines.planning.near_duplicates import Search, connect
from beam_pipelines.planning.part_headers import PartHeaders
from beam_pipelines.planning.path_ties import find_path_ties
from beam_pipelines.planning.shard_entries import Decisions, ShardEntries
from beam_pipelines.settings.encode_settings import Settings
from midi_codec.dataset import labels
from midi_codec.dataset.dataset_info import SplitInfo


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Carried:
    """What an older dataset says besides its pieces: its inputs, those that gave no piece, and its moved groups."""

    duplicates: Sequence[Duplicate] = ()
    moved_groups: Mapping[str, str] = dataclasses.field(default_factory=dict)
    contents: np.ndarray = dataclasses.field(default_factory=lambda: np.zeros((0, 2), np.uint64))


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Plan:
    """What the dataset will hold. `counts` still include pieces that are dropped or moved.

    Attributes:
      entries: for each shard number, `[n]` of ENTRY by (part, offset).
    """

    headers: PartHeaders
    carried: Carried
    decisions: Decisions
    entries: ShardEntries
    splits: Mapping[str, SplitInfo]
    counts: Mapping[str, Mapping[str, Counts]]
    groups: Mapping[str, int]
    num_groups: int  # groups of one piece included
    moved_groups: Mapping[str, str]  # as in DatasetInfo
    labels: labels.Counts

    def rejects(self) -> Iterator[Reject]:
        yield from self.headers.rejects()
        yield from map(tied_reject, self.decisions.tied_sources)

    def duplicates(self) -> Iterator[Duplicate]:
        return self.decisions.duplicates()

    def contents(self) -> np.ndarray:
        """`[m, 2]` uint64, ascending: the inputs that the dataset accounts for."""
        table = np.concatenate([self.carried.contents, *self.headers.contents.blocks()])
        keys = np.ascontiguousarray(table, ">u8").view(digests.DTYPE)[:, 0]
        keys.sort()
        return keys.view(">u8").reshape(-1, 2).astype(np.uint64)


def make_plan(
    headers: PartHeaders,
    settings: Settings,
    splits: Sequence[str],
    *,
    carried: Carried | None = None,
    pairs: Iterable[np.ndarray] | None = None,
) -> Plan:
    """Decides on every piece.

    Args:
      headers: in any order; entries refer to a part by its index here.
      splits: those that get shards.
      carried: what the ledgers of the older dataset add.
      pairs: near-duplicates as arrays of near_duplicates.PAIR, if an engine has found them; else they are found here.
    """
    carried = carried or Carried()
    distinct, piece_of, pieces = _find_pieces(headers)
    near = _find_near(headers, distinct, pieces, pairs, settings)
    ties = find_path_ties(headers, piece_of, pieces.is_old, carried.duplicates, settings)
    decisions = Decisions(headers, pieces, find_groups(pieces, near, ties, settings), distinct, piece_of)
    groups, num_groups = decisions.describe_groups()
    return Plan(
        headers=headers,
        carried=carried,
        decisions=decisions,
        entries=ShardEntries(decisions, settings.num_shards),
        splits=decisions.describe_splits(splits, settings.num_shards),
        counts=headers.value_counts.counts(),
        groups=groups,
        num_groups=num_groups,
        moved_groups={**carried.moved_groups, **decisions.moved_groups()},
        labels=decisions.count_labels(),
    )


def tied_reject(source: str) -> Reject:
    """The line of a newcomer that ties splits."""
    message = "it is the same music as pieces of the older dataset that are in different splits"
    return Reject(source, None, "group", "ties_splits", message)


def _find_pieces(headers: PartHeaders) -> tuple[np.ndarray, np.ndarray, Pieces]:
    """The row of each distinct piece, by piece_id; the piece of every row; and the pieces."""
    num_rows = len(headers.rows)
    ids, old_groups = np.empty(num_rows, digests.DTYPE), np.empty(num_rows, digests.DTYPE)
    splits = np.empty(num_rows, np.uint8)
    begin = 0
    for block in headers.rows.blocks():
        rows = slice(begin, begin := begin + len(block))
        ids[rows], old_groups[rows] = digests.pack(block["piece_id"]), digests.pack(block["group_id"])
        splits[rows] = block["split"]
    order = np.argsort(ids, kind="stable")
    is_first = np.ones(num_rows, bool)
    is_first[1:] = ids[order[1:]] != ids[order[:-1]]
    piece_of = np.empty(num_rows, np.int64)
    piece_of[order] = np.cumsum(is_first) - 1
    ids = ids[order[is_first]]
    del order
    is_old = old_groups != b""
    distinct = choose(piece_of, len(ids), is_old, headers.sources.take)
    old_groups, is_old = old_groups[distinct], is_old[distinct]
    names, own_name = ids, np.arange(len(ids))
    old_group = np.full(len(ids), NEWCOMER)
    if is_old.any():
        names = np.union1d(ids, old_groups[is_old])
        own_name = np.searchsorted(names, ids)
        old_group[is_old] = np.searchsorted(names, old_groups[is_old])
    pieces = Pieces(
        names=names,
        own_name=own_name,
        old_group=old_group,
        splits=splits[distinct],
        sources=lambda chosen: headers.sources.take(distinct[chosen]),
    )
    return distinct, piece_of, pieces


def _find_near(
    headers: PartHeaders,
    distinct: np.ndarray,
    pieces: Pieces,
    pairs: Iterable[np.ndarray] | None,
    settings: Settings,
) -> Near:
    roots = np.arange(len(distinct))
    if settings.near_duplicates == "keep":
        return Near(roots=roots, pairs=np.zeros((0, 2), np.int64))
    if pairs is None:
        search = Search(headers.signatures, distinct)
        if not needs_pairs(pieces, settings):
            roots[search.places] = search.places[search.components()]
            return Near(roots=roots)
        numbered = iter([search.places[search.pairs()]])
    else:
        own = pieces.names[pieces.own_name]
        numbered = (np.stack([_numbers_of(own, some[name]) for name in ("first", "second")], axis=1) for some in pairs)
    found = [np.zeros((0, 2), np.int64)]
    for some in numbered:
        connect(roots, some)
        found += [some] if needs_pairs(pieces, settings) else []
    return Near(roots=roots, pairs=np.concatenate(found))


def _numbers_of(own: np.ndarray, ids: np.ndarray) -> np.ndarray:
    """The index of each id in `own`, which ascends.

    Raises:
      RuntimeError: one is missing: parts have changed during the run.
    """
    numbers = np.minimum(np.searchsorted(own, ids), max(len(own) - 1, 0))
    if len(ids) and not (len(own) and np.array_equal(own[numbers], ids)):
        raise RuntimeError("near-duplicates name a piece that no part has; start the same command again")
    return numbers
