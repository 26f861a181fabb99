"""A plan as an engine makes it: workers decide on ranges of piece_ids, one on the graph of what belongs together.

Only pieces that have a near-duplicate or share a path are nodes of that graph; `groups.find_groups` decides on them as
in a plan of all pieces. The others are groups of their own, or in their old group.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np

from beam_pipelines.encoding import part_file
from beam_pipelines.encoding.ledger import Duplicate
from beam_pipelines.encoding.part_file import Part
from beam_pipelines.planning import digests
from beam_pipelines.planning.groups import Groups, find_groups, make_pieces, near_of_pairs
from beam_pipelines.planning.near_duplicates import PAIR
from beam_pipelines.planning.part_headers import PartHeaders
from beam_pipelines.planning.path_ties import hash_sources, kept_of_lines, number_paths
from beam_pipelines.planning.plan import find_pieces
from beam_pipelines.planning.shard_entries import ENTRY, Decisions, ShardEntries
from beam_pipelines.settings.encode_settings import Settings
from beam_pipelines.settings.splits import fill_empty
from job_runtime.spool import TextSpool
from midi_codec.dataset.dataset_info import SPLITS

HEAD = np.dtype([("id", digests.DTYPE), ("part", digests.DTYPE), ("row", part_file.ROW)])
TIE = np.dtype([("path", digests.DTYPE), ("id", digests.DTYPE)])  # a piece has a path
OLD = np.dtype([("source", digests.DTYPE), ("id", digests.DTYPE)])  # a hash of the source of a piece
DROPPED = np.dtype([("source", digests.DTYPE), ("path", digests.DTYPE)])  # a hash of the source that was kept instead
NODE = np.dtype([("id", digests.DTYPE), ("old_group", digests.DTYPE), ("split", "u1")])
DECIDED = np.dtype(
    [("id", digests.DTYPE), ("group", digests.DTYPE), ("split", "u1"), ("is_kept", "?"), ("is_tied", "?")]
)
GROUPED = np.dtype([("group", digests.DTYPE), ("split", "u1"), ("is_old", "?")])  # a piece that is kept

_ELSEWHERE = -1  # the piece that is kept instead may be in another range


@dataclasses.dataclass(frozen=True, eq=False)
class Sourced:
    """Rows of HEAD, of NODE, or of DECIDED, each with a source: its own, or of the piece that is kept instead.

    Attributes:
      texts: `[n, 2]` objects: the sources; and of HEAD the labels, as in a part.
    """

    rows: np.ndarray
    texts: np.ndarray

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, chosen: np.ndarray) -> Sourced:
        return Sourced(self.rows[chosen], self.texts[chosen])

    @property
    def sources(self) -> np.ndarray:
        return self.texts[:, 0]

    @classmethod
    def of(cls, rows: np.ndarray, sources: Sequence[str], labels: Sequence[str] = ()) -> Sourced:
        texts = np.full((len(rows), 2), "", object)
        texts[:, 0] = sources
        if labels:
            texts[:, 1] = labels
        return cls(rows, texts)

    @classmethod
    def join(cls, several: Sequence[Sourced]) -> Sourced:
        """At least one."""
        return cls(np.concatenate([each.rows for each in several]), np.concatenate([each.texts for each in several]))


def heads_of(part: Part, key: str) -> Sourced:
    """HEAD of all rows of a part; `key`: its name."""
    heads = np.empty(len(part.rows), HEAD)
    heads["id"], heads["row"] = digests.pack(part.rows["piece_id"]), part.rows
    heads["part"] = digests.pack(np.array([key], "S32"))
    return Sourced.of(heads, part.sources, part.labels)


def own_ties(heads: Sourced) -> np.ndarray:
    """`[m]` of TIE: the rows that have a path group."""
    rows = heads.rows[heads.rows["row"]["path_group"] != b""]
    return _pairs(TIE, digests.pack(rows["row"]["path_group"]), rows["id"])


def old_sources(heads: Sourced) -> np.ndarray:
    """`[m]` of OLD: the pieces of an older dataset."""
    old = heads[heads.rows["row"]["group_id"] != b""]
    return _pairs(OLD, hash_sources([old.sources]), old.rows["id"])


def dropped_lines(lines: Iterable[Duplicate], settings: Settings) -> Iterator[np.ndarray]:
    """`[m]` of DROPPED, some at a time: an older dataset's duplicates with a path group."""
    for path_groups, kept in kept_of_lines(lines, settings):
        some = path_groups != b""
        yield _pairs(DROPPED, kept[some], path_groups[some])


def ties_of_dropped(old: Sequence[np.ndarray], dropped: Sequence[np.ndarray]) -> np.ndarray:
    """`[m]` of TIE: paths of dropped duplicates, and the pieces that were kept instead. Both: all of a range."""
    known = np.unique(np.concatenate([np.zeros(0, OLD), *old]).view("S32")).view(OLD)
    lines = np.concatenate([np.zeros(0, DROPPED), *dropped])
    at, is_there = digests.find(known["source"], lines["source"])
    return _pairs(TIE, lines["path"][is_there], known["id"][at[is_there]])


def _pairs(dtype: np.dtype, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    pairs = np.empty(len(first), dtype)
    names = dtype.names or ()
    pairs[names[0]], pairs[names[1]] = first, second
    return pairs


def shared_ties(ties: np.ndarray) -> np.ndarray:
    """Each once, without paths that only one piece has."""
    ties = np.unique(ties.view("S32")).view(TIE)
    _, of_tie, sizes = np.unique(ties["path"], return_inverse=True, return_counts=True)
    return ties[sizes[of_tie] > 1]


def find_nodes(heads: Sourced, ids: np.ndarray) -> tuple[Sourced, np.ndarray]:
    """The nodes of the graph in a range, and how many other pieces each split gets.

    Args:
      heads: all of the range.
      ids: `[n]` digests of pieces in the range, which may occur several times.

    Raises:
      RuntimeError: a piece is missing: parts have changed during the run.
    """
    _, _, pieces = find_pieces(_headers_of(heads)[0])
    numbers = numbers_of(pieces.names[pieces.own_name], np.unique(ids))
    nodes = np.empty(len(numbers), NODE)
    nodes["id"], nodes["split"] = pieces.names[pieces.own_name[numbers]], pieces.splits[numbers]
    nodes["old_group"] = np.where(pieces.is_old[numbers], pieces.names[pieces.old_group[numbers]], b"")
    others = np.bincount(np.delete(pieces.splits, numbers), minlength=len(SPLITS))
    return Sourced.of(nodes, pieces.sources(numbers)), others


def decide_graph(
    nodes: Iterable[Sourced], pairs: Iterable[np.ndarray], ties: Iterable[np.ndarray], settings: Settings
) -> Iterator[Sourced]:
    """DECIDED of all nodes, in blocks.

    Args:
      pairs: arrays of PAIR. ties: arrays of TIE, as from `shared_ties`.
    """
    sources, tables = TextSpool(), [np.zeros(0, NODE)]
    for some in nodes:
        sources.append(some.sources.tolist())
        tables.append(some.rows)
    table = np.concatenate(tables)
    order = np.argsort(table["id"])
    table = table[order]
    own = np.ascontiguousarray(table["id"])
    pieces = make_pieces(own, table["old_group"], table["split"], lambda chosen: sources.take(order[chosen]))
    near = near_of_pairs(pieces, (numbers_of_pairs(own, some) for some in pairs), settings)
    tied = np.concatenate([np.zeros(0, TIE), *ties])
    groups = find_groups(pieces, near, number_paths(tied["path"], numbers_of(own, tied["id"])), settings)
    for begin in range(0, len(own), part := 1 << 13):
        chosen = np.arange(begin, min(begin + part, len(own)))
        decided = np.empty(len(chosen), DECIDED)
        decided["id"], decided["group"] = own[chosen], pieces.names[groups.names[chosen]]
        decided["split"], decided["is_tied"] = groups.splits[chosen], groups.tied[chosen]
        decided["is_kept"] = groups.is_kept[chosen]
        yield Sourced.of(decided, pieces.sources(groups.stands_for[chosen]))


@dataclasses.dataclass(frozen=True, eq=False)
class Range:
    """What happens to the rows of a range of piece_ids."""

    decisions: Decisions
    _parts: np.ndarray  # digests

    def grouped(self) -> np.ndarray:
        """`[n]` of GROUPED."""
        pieces, groups = self.decisions.pieces, self.decisions.groups
        kept = np.flatnonzero(groups.is_kept)
        rows = np.empty(len(kept), GROUPED)
        rows["group"], rows["split"] = pieces.names[groups.names[kept]], groups.splits[kept]
        rows["is_old"] = pieces.is_old[kept]
        return rows

    def entries(self, num_shards: int) -> Iterator[tuple[int, tuple[np.ndarray, np.ndarray]]]:
        """By shard number: entries, and the part of each, which `number_parts` numbers."""
        for shard, entries in enumerate(ShardEntries(self.decisions, num_shards)):
            if len(entries):
                yield shard, (entries, self._parts[entries["part"]])


def decide_range(heads: Sourced, decided: Sequence[Sourced], moved: Mapping[bytes, int]) -> Range:
    """Decides on the rows of a range.

    Args:
      heads: all of the range.
      decided: what `decide_graph` says of its pieces.
      moved: the new splits of groups that fill an empty one.
    """
    headers, parts = _headers_of(heads)
    distinct, piece_of, pieces = find_pieces(headers)
    own = pieces.names[pieces.own_name]
    group = np.where(pieces.is_old, pieces.names[pieces.old_group], own)
    splits, is_kept, tied = pieces.splits.copy(), np.ones(len(own), bool), np.zeros(len(own), bool)
    kept_sources = np.empty(len(own), object)
    for some in decided:
        at = numbers_of(own, some.rows["id"])
        group[at], splits[at] = some.rows["group"], some.rows["split"]
        is_kept[at], tied[at], kept_sources[at] = some.rows["is_kept"], some.rows["is_tied"], some.sources
    for each, split in moved.items():
        splits[group == each] = split
    names = np.union1d(own, group)
    groups = Groups(
        stands_for=np.where(is_kept | tied, np.arange(len(own)), _ELSEWHERE),
        tied=tied,
        names=np.searchsorted(names, group),
        splits=splits,
    )

    def sources(chosen: np.ndarray) -> list[str]:
        own_sources = headers.sources.take(distinct[chosen])
        return [own if kept is None else kept for own, kept in zip(own_sources, kept_sources[chosen], strict=True)]

    decisions = Decisions(
        headers=headers,
        pieces=dataclasses.replace(pieces, names=names, own_name=np.searchsorted(names, own)),
        groups=groups,
        distinct=distinct,
        piece_of=piece_of,
        kept_sources=sources,
    )
    return Range(decisions, parts)


def fill(grouped: Sequence[np.ndarray], percents: Sequence[int]) -> dict[bytes, int]:
    """The groups that fill an empty split, with that split; from arrays of GROUPED of all pieces that are kept."""
    rows = np.concatenate(grouped)
    splits = fill_empty(digests.unpack(rows["group"]), rows["split"], ~rows["is_old"], percents)
    is_moved = splits != rows["split"]
    return dict(zip(rows["group"][is_moved].tolist(), splits[is_moved].tolist(), strict=True))


def number_parts(several: Iterable[tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, list[str]]:
    """The entries of a shard by (part, offset), and the names of the parts that they are numbered by."""
    tables, parts = [np.zeros(0, ENTRY)], [np.zeros(0, digests.DTYPE)]
    for table, some in several:
        tables.append(table)
        parts.append(some)
    entries = np.concatenate(tables)
    distinct, entries["part"] = np.unique(np.concatenate(parts), return_inverse=True)
    order = np.lexsort([entries["offset"], entries["part"]])
    return entries[order], [key.decode() for key in digests.unpack(distinct).tolist()]


def numbers_of(own: np.ndarray, ids: np.ndarray) -> np.ndarray:
    """The index of each id in `own`, which ascends.

    Raises:
      RuntimeError: one is missing: parts have changed during the run.
    """
    numbers, is_there = digests.find(own, ids)
    if not is_there.all():
        raise RuntimeError("near-duplicates name a piece that no part has; start the same command again")
    return numbers


def numbers_of_pairs(own: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """`[m, 2]`, as `numbers_of`, from an array of PAIR."""
    return np.stack([numbers_of(own, pairs[name]) for name in PAIR.names or ()], axis=1)


def _headers_of(heads: Sourced) -> tuple[PartHeaders, np.ndarray]:
    """The heads by (part, offset), and the parts."""
    order = np.lexsort([heads.rows["row"]["offset"], heads.rows["part"]])
    parts, lengths = np.unique(heads.rows["part"], return_counts=True)
    headers = PartHeaders()
    sources, labels = heads.texts[order].T.tolist()
    headers.add_rows(heads.rows["row"][order], sources, lengths.tolist())
    if any(labels):
        headers.labels.append((0, labels))
    return headers, parts
