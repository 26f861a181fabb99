"""Which pieces are kept, and in which group and split: decided once all parts exist, from their headers alone.

1. Of equal pieces one is kept: the older dataset's, or else the one with the smallest source.
2. Near-duplicates, and pieces that `--group-regex` ties, form groups: the components of a graph. A group's id is
   the smallest piece_id in it. With `--near-duplicates drop`, one piece of each near-duplicate component is kept.
3. A group's id decides its split, or each path does; a split that would be empty gets a group of another one. Old
   pieces keep their group and split; a newcomer joins the group it touches, and one that touches groups of several
   splits is rejected (`ties_splits`).

Pieces are compared in the order of their piece_ids, so nothing depends on the order of the parts. Headers stay in
temporary files; in memory are some numbers per piece, about 100 bytes. `keyed.py` decides the same on an engine.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np

from beam_pipelines.encoding.ledger import Duplicate, Reject
from beam_pipelines.encoding.value_counts import Counts
from beam_pipelines.planning import digests
from beam_pipelines.planning.groups import (
    Near,
    Pieces,
    Sources,
    choose,
    fill_splits,
    find_groups,
    make_pieces,
    near_of_pairs,
    needs_pairs,
)
from beam_pipelines.planning.near_duplicates import Search
from beam_pipelines.planning.part_headers import PartHeaders
from beam_pipelines.planning.path_ties import find_path_ties
from beam_pipelines.planning.shard_entries import Decisions, ShardEntries, describe_groups, describe_splits
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
        """As `sort_contents`, of the inputs that the dataset accounts for."""
        return sort_contents([self.carried.contents, *self.headers.contents.blocks()])


def sort_contents(blocks: Iterable[np.ndarray]) -> np.ndarray:
    """`[m, 2]` uint64, ascending: the hashes of all inputs, from arrays of some."""
    table = np.concatenate([np.zeros((0, 2), np.uint64), *blocks])
    keys = np.ascontiguousarray(table, ">u8").view(digests.DTYPE)[:, 0]
    keys.sort()
    return keys.view(">u8").reshape(-1, 2).astype(np.uint64)


def make_plan(
    headers: PartHeaders, settings: Settings, splits: Sequence[str], *, carried: Carried | None = None
) -> Plan:
    """Decides on every piece.

    Args:
      headers: in any order; entries refer to a part by its index here.
      splits: those that get shards.
      carried: what the ledgers of the older dataset add.
    """
    carried = carried or Carried()
    distinct, piece_of, pieces = find_pieces(headers)
    near = _find_near(headers, distinct, pieces, settings)
    ties = find_path_ties(headers, piece_of, pieces.is_old, carried.duplicates, settings)
    groups = fill_splits(pieces, find_groups(pieces, near, ties, settings), settings.split_rule.percents)
    decisions = Decisions(
        headers=headers,
        pieces=pieces,
        groups=groups,
        distinct=distinct,
        piece_of=piece_of,
        kept_sources=lambda chosen: headers.sources.take(distinct[groups.stands_for[chosen]]),
    )
    counts = decisions.count_groups()
    return Plan(
        headers=headers,
        carried=carried,
        decisions=decisions,
        entries=ShardEntries(decisions, settings.num_shards),
        splits=describe_splits(decisions.split_sizes(settings.num_shards), splits),
        counts=headers.value_counts.counts(),
        groups=describe_groups(counts),
        num_groups=int(counts[0]),
        moved_groups={**carried.moved_groups, **decisions.moved_groups()},
        labels=decisions.count_labels(),
    )


def tied_reject(source: str) -> Reject:
    """The line of a newcomer that ties splits."""
    message = "it is the same music as pieces of the older dataset that are in different splits"
    return Reject(source, None, "group", "ties_splits", message)


def find_pieces(headers: PartHeaders) -> tuple[np.ndarray, np.ndarray, Pieces]:
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
    distinct = choose(piece_of, len(ids), old_groups != b"", headers.sources.take)
    sources: Sources = lambda chosen: headers.sources.take(distinct[chosen])  # noqa: E731
    return distinct, piece_of, make_pieces(ids, old_groups[distinct], splits[distinct], sources)


def _find_near(headers: PartHeaders, distinct: np.ndarray, pieces: Pieces, settings: Settings) -> Near:
    if settings.near_duplicates == "keep":
        return near_of_pairs(pieces, (), settings)
    search = Search(headers.signatures, distinct)
    if needs_pairs(pieces, settings):
        return near_of_pairs(pieces, [search.places[search.pairs()]], settings)
    roots = np.arange(len(distinct))
    roots[search.places] = search.places[search.components()]
    return Near(roots=roots)
