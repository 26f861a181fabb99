"""What happens to each row of the headers, and so what each shard's writer needs to know."""

from __future__ import annotations

import collections
import dataclasses
import functools
from collections.abc import Iterator, Sequence

import numpy as np

from beam_pipelines.encoding.ledger import Duplicate
from beam_pipelines.planning import digests
from beam_pipelines.planning.groups import Groups, Pieces, Sources
from beam_pipelines.planning.part_headers import PartHeaders
from job_runtime.spool import in_blocks
from midi_codec.dataset import labels
from midi_codec.dataset.dataset_info import SPLITS, SplitInfo
from midi_codec.dataset.labels import Counts, LabelCounts

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
class Decisions:
    """What happens to each row.

    Attributes:
      distinct: `[pieces]`, the row of each piece that stands for its equals.
      piece_of: `[rows]`, the piece of each row.
      kept_sources: for dropped pieces, the source of the piece that is kept instead.
    """

    headers: PartHeaders
    pieces: Pieces
    groups: Groups
    distinct: np.ndarray
    piece_of: np.ndarray
    kept_sources: Sources

    @functools.cached_property
    def kept(self) -> np.ndarray:
        """`[rows]` bool."""
        kept = np.zeros(len(self.piece_of), bool)
        kept[self.distinct[self.groups.is_kept]] = True
        return kept

    @functools.cached_property
    def tied_sources(self) -> Sequence[str]:
        """Of rows that are rejected because they tie splits."""
        if not self.groups.tied.any():
            return []
        return self.headers.sources.take(np.flatnonzero(self.groups.tied[self.piece_of]))

    def duplicates(self) -> Iterator[Duplicate]:
        """Rows that are neither kept nor tied."""
        for dropped in in_blocks(np.flatnonzero(~self.kept)):
            rows = dropped[~self.groups.tied[self.piece_of[dropped]]]
            pieces = self.piece_of[rows]
            columns = (
                self.headers.sources.take(rows),
                np.where(self.distinct[pieces] == rows, "near", "exact").tolist(),
                digests.unpack(self.pieces.names[self.pieces.own_name[pieces]]).tolist(),
                self.kept_sources(pieces),
                self.groups.splits[pieces].tolist(),
            )
            for source, kind, piece_id, kept, split in zip(*columns, strict=True):
                yield Duplicate(source, kind, piece_id.decode(), kept, SPLITS[split])

    def moved_groups(self) -> dict[str, str]:
        """The split by id of each group that fills a split that would be empty."""
        moved = np.flatnonzero(self.groups.moved & self.groups.is_kept)
        return moved_splits(self.pieces.names[self.groups.names[moved]], self.groups.splits[moved])

    def count_groups(self) -> np.ndarray:
        """As `count_groups`, of these pieces."""
        kept = self.groups.is_kept
        return count_groups(self.groups.names[kept], self.groups.splits[kept])

    def split_sizes(self, num_shards: int) -> np.ndarray:
        """`[splits, num_shards + 2]` int64, which may be added: pieces of each shard; notes, microseconds."""
        sizes = np.zeros((len(SPLITS), num_shards + 2), np.int64)
        begin = 0
        for block in self.headers.rows.blocks():
            rows = begin + np.flatnonzero(self.kept[begin : begin + len(block)])
            kept, split = block[rows - begin], self.groups.splits[self.piece_of[rows]]
            begin += len(block)
            np.add.at(sizes, (split, kept["shard"]), 1)
            np.add.at(sizes[:, -2], split, kept["num_notes"])
            # Whole microseconds add up to the same sum in any order.
            np.add.at(sizes[:, -1], split, np.rint(kept["seconds"] * 1e6).astype(np.int64))
        return sizes

    def count_labels(self) -> Counts:
        """The pieces of each value, by split."""
        counts = LabelCounts()
        for first, texts in self.headers.labels:
            rows = first + np.flatnonzero(self.kept[first : first + len(texts)])
            splits = self.groups.splits[self.piece_of[rows]].tolist()
            labelled = zip(splits, (texts[row - first] for row in rows.tolist()), strict=True)
            for (split, text), number in collections.Counter(labelled).items():
                counts.add(SPLITS[split], labels.parse(text), number)
        return counts.counts()


def moved_splits(groups: np.ndarray, splits: np.ndarray) -> dict[str, str]:
    """The split by id of groups, which may occur several times."""
    ids = digests.unpack(groups).tolist()
    return {group.decode(): SPLITS[split] for group, split in zip(ids, splits.tolist(), strict=True)}


def count_groups(names: np.ndarray, splits: np.ndarray) -> np.ndarray:
    """`[5]` int64, of kept pieces: all groups; of those with two pieces or more the number, the pieces, those in
    several splits, and the pieces of the largest.

    Args:
      names: `[n]` numbers of groups.
      splits: `[n]` index into SPLITS.
    """
    sizes = np.bincount(names)
    num_splits = np.zeros(len(sizes), np.uint8)
    for split in range(len(SPLITS)):
        num_splits[np.unique(names[splits == split])] += 1
    shared = sizes[sizes > 1]
    counts = [(sizes > 0).sum(), len(shared), shared.sum(), (num_splits > 1).sum(), shared.max(initial=0)]
    return np.array(counts, np.int64)


def describe_groups(counts: np.ndarray) -> dict[str, int]:
    """`DatasetInfo.groups`, from what `count_groups` returned."""
    _, groups, pieces, in_several_splits, largest = counts.tolist()
    return {"groups": groups, "pieces": pieces, "largest": largest, "in_several_splits": in_several_splits}


def describe_splits(sizes: np.ndarray, splits: Sequence[str]) -> dict[str, SplitInfo]:
    """All splits, from what `Decisions.split_sizes` returned; only `splits` get shards."""
    return {
        split: SplitInfo(
            num_pieces=sum(lengths),
            num_notes=num_notes,
            seconds=round(microseconds / 1e6, 3),
            shard_lengths=tuple(lengths) if split in splits else (),
        )
        for split, (*lengths, num_notes, microseconds) in zip(SPLITS, sizes.tolist(), strict=True)
    }


class ShardEntries:
    """For each shard number `[n]` of ENTRY, by (part, offset); made when they are asked for."""

    def __init__(self, decisions: Decisions, num_shards: int):
        shard = decisions.headers.rows.column("shard")
        self._decisions = decisions
        self._begins = decisions.headers.begins()
        self._rows = np.argsort(shard, kind="stable").astype(np.uint32)  # rows are by (part, offset)
        self._bounds = np.concatenate([[0], np.cumsum(np.bincount(shard, minlength=num_shards))])

    def __len__(self) -> int:
        return len(self._bounds) - 1

    def of(self, shard: int) -> np.ndarray:
        """The entries of a shard number."""
        rows = self._rows[self._bounds[shard] : self._bounds[shard + 1]].astype(np.int64)
        heads, decisions = self._decisions.headers.rows.take(rows), self._decisions
        groups, pieces = decisions.groups, decisions.piece_of[rows]
        entries = np.zeros(len(rows), ENTRY)
        for name in ("piece_id", "offset", "length"):
            entries[name] = heads[name]
        entries["part"] = np.searchsorted(self._begins, rows, side="right") - 1
        entries["split"], entries["counted"] = groups.splits[pieces], heads["split"]
        entries["group_id"] = digests.unpack(decisions.pieces.names[groups.names[pieces]])
        entries["kept"] = decisions.kept[rows]
        return entries

    def __iter__(self) -> Iterator[np.ndarray]:
        return map(self.of, range(len(self)))
