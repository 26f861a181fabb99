"""Which pieces are kept, in which group and split, decided by keyed transforms: `planning.keyed` as a Beam transform.

    heads ---> by range of piece_ids -> nodes ------------------------------------------╮
          \\-> by range of paths     -> ties, each path with the pieces that share it ---+-> Graph -> decided
    fingerprints -> NearDuplicatePairs -> pairs ----------------------------------------╯
    heads, decided -> by range of piece_ids -> Movable -> Fill -> moved, only if a split would be empty
    heads, decided, moved -> Assign -> examples, duplicates, rejects, and what is counted

A worker holds a range of piece_ids or paths. Graph is one worker: the components of a graph are not a keyed decision.
It holds only pieces that have a near-duplicate or share a path.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import apache_beam as beam
import numpy as np

from beam_pipelines.execution import base_dataset
from beam_pipelines.execution.beam_encode import Totals
from beam_pipelines.execution.beam_near_duplicates import NearDuplicatePairs
from beam_pipelines.execution.beam_ranges import PackFn, by_digest, by_name
from beam_pipelines.execution.dataset_steps import Summary
from beam_pipelines.execution.encode_job import EncodeJob
from beam_pipelines.planning import digests, keyed, shard_entries
from beam_pipelines.planning.keyed import Sourced
from beam_pipelines.planning.plan import tied_reject
from beam_pipelines.settings.encode_settings import Settings
from beam_pipelines.settings.splits import has_empty
from midi_codec.dataset.dataset_info import SPLITS
from midi_codec.dataset.labels import Counts, LabelCounts

IDS_PER_RANGE = 200_000  # pieces that a worker holds, some 500 bytes each
_ONE = 0  # the key of what one worker gets

KeyedRows = tuple[int, Mapping[str, Iterable[Sourced]]]  # `heads` and `decided` of a range


class Decide(beam.PTransform):
    """Which pieces are kept, in which group and split.

    Input: a dict of `heads`, Sourced; `fingerprints`, arrays; `totals`, one.
    Outputs: a dict of `examples`, (shard number, what `keyed.number_parts` takes); `duplicates`; `rejects`, of
    newcomers that tie splits; `summary`.
    """

    def __init__(self, job: EncodeJob):
        super().__init__()
        self._job = job
        self._ranges = 1 + job.num_inputs // IDS_PER_RANGE

    def expand(self, inputs: Mapping[str, beam.PCollection]) -> dict[str, beam.PCollection]:
        settings, ranges, totals = self._job.settings, self._ranges, inputs["totals"]
        heads = inputs["heads"] | "Pack" >> beam.ParDo(PackFn(Sourced.join))
        by_piece = heads | "ByPiece" >> beam.FlatMap(_by_id, ranges)
        decided, sizes = self._decide_graph(heads, by_piece, inputs["fingerprints"])
        grouped = {"heads": by_piece, "decided": decided} | "Grouped" >> beam.CoGroupByKey()
        sizes = beam.pvalue.AsSingleton(sizes | "SplitSizes" >> beam.CombineGlobally(_add, np.zeros(len(SPLITS), int)))
        moved = (
            grouped
            | "Movable" >> beam.FlatMap(_movable, sizes, settings)
            | "ToOne" >> beam.WithKeys(_ONE)
            | "AllMovable" >> beam.GroupByKey()
            | "Fill" >> beam.FlatMap(_fill, settings)
        )
        assign = beam.ParDo(_AssignFn(settings), beam.pvalue.AsDict(moved), beam.pvalue.AsSingleton(totals))
        rows = grouped | "Assign" >> assign.with_outputs(
            "duplicates", "rejects", "groups", "sizes", "labels", main="examples"
        )
        groups = (
            rows.groups
            | "ByGroup" >> beam.FlatMap(by_name, "group", ranges)
            | "SameGroup" >> beam.GroupByKey()
            | "CountGroups" >> beam.MapTuple(_count_groups)
            | "GroupCounts" >> beam.CombineGlobally(_add_counts)
        )
        table = np.zeros((len(SPLITS), settings.num_shards + 2), np.int64)
        sizes_and_labels = (
            rows.sizes | "Sizes" >> beam.CombineGlobally(_add, table),
            rows.labels | "Labels" >> beam.CombineGlobally(_add_labels),
        )
        views = (totals, *sizes_and_labels, groups)
        once = totals.pipeline | "Once" >> beam.Create([None])
        summary = once | "Summarize" >> beam.Map(
            _summarize, self._job, *map(beam.pvalue.AsSingleton, views), beam.pvalue.AsDict(moved)
        )
        kinds = {name: getattr(rows, name) for name in ("examples", "duplicates", "rejects")}
        return {**kinds, "summary": summary}

    def _decide_graph(
        self, heads: beam.PCollection, by_piece: beam.PCollection, fingerprints: beam.PCollection
    ) -> tuple[beam.PCollection, beam.PCollection]:
        """DECIDED by range of piece_ids; arrays whose sum is the number of pieces that each split gets."""
        settings, pipeline = self._job.settings, heads.pipeline
        pairs = pipeline | "NoPairs" >> beam.Create([])
        if settings.near_duplicates != "keep":
            pairs = fingerprints | "NearDuplicatePairs" >> NearDuplicatePairs(self._job.num_inputs)
        ties = pipeline | "NoTies" >> beam.Create([])
        if settings.group_regex is not None:
            ties = heads | "PathTies" >> PathTies(settings, self._ranges)
        ids = [pairs | "PairIds" >> beam.FlatMap(_ids_of_pairs), ties | "TieIds" >> beam.Map(lambda some: some["id"])]
        by_id = beam.FlatMap(lambda some, num_ranges: by_digest(some, some, num_ranges), self._ranges)
        wanted = ids | "Ids" >> beam.Flatten() | "ById" >> by_id
        found = (
            {"heads": by_piece, "ids": wanted}
            | "WithTied" >> beam.CoGroupByKey()
            | "Nodes" >> beam.FlatMapTuple(_find_nodes).with_outputs("sizes", main="nodes")
        )
        parts = {"nodes": found.nodes, "pairs": pairs, "ties": ties}
        decided = (
            {name: part | f"One_{name}" >> beam.WithKeys(_ONE) for name, part in parts.items()}
            | "WholeGraph" >> beam.CoGroupByKey()
            | "Graph" >> beam.FlatMap(_decide_graph, settings)
        )
        sizes = (found.sizes, decided | "DecidedSizes" >> beam.Map(_sizes_of_decided)) | "AllSizes" >> beam.Flatten()
        return decided | "ByDecided" >> beam.FlatMap(_by_id, self._ranges), sizes

    def display_data(self) -> dict[str, Any]:
        settings = self._job.settings
        shown: dict[str, Any] = {"near_duplicates": settings.near_duplicates, "group_regex": settings.group_regex}
        shown |= {"splits": ", ".join(self._job.splits), "id_ranges": self._ranges}
        return {name: value for name, value in shown.items() if value is not None}


class PathTies(beam.PTransform):
    """Which pieces `--group-regex` ties, those of an older dataset's dropped duplicates too.

    Input: Sourced of HEAD. Output: arrays of TIE, each once, of paths that several pieces have.
    """

    def __init__(self, settings: Settings, num_ranges: int):
        super().__init__()
        self._settings, self._ranges = settings, num_ranges

    def expand(self, heads: beam.PCollection) -> beam.PCollection:
        ties = [heads | "Own" >> beam.Map(keyed.own_ties)]
        if self._settings.base:
            lines = heads.pipeline | "Base" >> beam.Create([None]) | "Lines" >> beam.FlatMap(_lines_of, self._settings)
            kept = {"old": heads | "Old" >> beam.Map(keyed.old_sources), "lines": lines}
            by_source = {
                name: each | f"BySource_{name}" >> beam.FlatMap(by_name, "source", self._ranges)
                for name, each in kept.items()
            }
            ties.append(by_source | "WithLines" >> beam.CoGroupByKey() | "Kept" >> beam.MapTuple(_ties_of_lines))
        return (
            ties
            | beam.Flatten()
            | "ByPath" >> beam.FlatMap(by_name, "path", self._ranges)
            | "SamePath" >> beam.GroupByKey()
            | "Shared" >> beam.MapTuple(lambda _, arrays: keyed.shared_ties(np.concatenate(list(arrays))))
        )


class _AssignFn(beam.DoFn):
    """Main output: (shard number, entries and their parts)."""

    def __init__(self, settings: Settings):
        self._settings = settings

    def process(self, keyed_rows: KeyedRows, moved: Mapping[bytes, int], _: Totals) -> Iterator[Any]:
        for decided in _ranges_of(keyed_rows, moved):
            for line in decided.decisions.duplicates():
                yield beam.pvalue.TaggedOutput("duplicates", line)
            for source in decided.decisions.tied_sources:
                yield beam.pvalue.TaggedOutput("rejects", tied_reject(source))
            yield beam.pvalue.TaggedOutput("groups", decided.grouped())
            yield beam.pvalue.TaggedOutput("sizes", decided.decisions.split_sizes(self._settings.num_shards))
            yield beam.pvalue.TaggedOutput("labels", decided.decisions.count_labels())
            yield from decided.entries(self._settings.num_shards)


def _ranges_of(keyed_rows: KeyedRows, moved: Mapping[bytes, int]) -> Iterator[keyed.Range]:
    """One, or none for a range without pieces."""
    grouped = keyed_rows[1]
    if heads := list(grouped["heads"]):
        yield keyed.decide_range(Sourced.join(heads), list(grouped["decided"]), moved)


def _by_id(table: Sourced, num_ranges: int) -> Iterator[tuple[int, Sourced]]:
    return by_digest(table, table.rows["id"], num_ranges)


def _ids_of_pairs(pairs: np.ndarray) -> Iterator[np.ndarray]:
    yield from (pairs["first"], pairs["second"])


def _find_nodes(_: int, grouped: Mapping[str, Iterable[Any]]) -> Iterator[Any]:
    """Sourced of NODE; by tag, the number of other pieces of each split."""
    if heads := list(grouped["heads"]):
        ids = np.concatenate([np.zeros(0, digests.DTYPE), *grouped["ids"]])
        nodes, others = keyed.find_nodes(Sourced.join(heads), ids)
        yield beam.pvalue.TaggedOutput("sizes", others)
        yield nodes


def _decide_graph(keyed_parts: tuple[int, Mapping[str, Iterable[Any]]], settings: Settings) -> Iterator[Sourced]:
    parts = keyed_parts[1]
    return keyed.decide_graph(parts["nodes"], parts["pairs"], parts["ties"], settings)


def _sizes_of_decided(decided: Sourced) -> np.ndarray:
    return np.bincount(decided.rows["split"][decided.rows["is_kept"]], minlength=len(SPLITS))


def _movable(keyed_rows: KeyedRows, sizes: np.ndarray, settings: Settings) -> Iterator[np.ndarray]:
    """GROUPED of all pieces that are kept, if a split would be empty; nothing otherwise, and if paths decide."""
    percents = settings.split_rule.percents
    if percents is not None and has_empty(sizes, percents):
        yield from (decided.grouped() for decided in _ranges_of(keyed_rows, {}))


def _fill(keyed_arrays: tuple[int, Iterable[np.ndarray]], settings: Settings) -> Iterator[tuple[bytes, int]]:
    """The groups that move, and their new splits."""
    percents = settings.split_rule.percents
    assert percents is not None
    yield from keyed.fill(list(keyed_arrays[1]), percents).items()


def _count_groups(_: int, arrays: Iterable[np.ndarray]) -> np.ndarray:
    rows = np.concatenate(list(arrays))
    return shard_entries.count_groups(np.unique(rows["group"], return_inverse=True)[1], rows["split"])


def _add(arrays: Iterable[np.ndarray], zero: np.ndarray) -> np.ndarray:
    return sum(arrays, zero)


def _add_labels(several: Iterable[Counts]) -> Counts:
    counts = LabelCounts()
    for each in several:
        counts.add_counts(each)
    return counts.counts()


def _add_counts(several: Iterable[np.ndarray]) -> np.ndarray:
    """Sums; of the largest group the largest."""
    table = np.stack([np.zeros(5, np.int64), *several])
    return np.append(table[:, :-1].sum(axis=0), table[:, -1].max())


def _lines_of(_: None, settings: Settings) -> Iterator[np.ndarray]:
    return keyed.dropped_lines(base_dataset.carried(settings.base).duplicates, settings)


def _ties_of_lines(_: int, grouped: Mapping[str, Iterable[np.ndarray]]) -> np.ndarray:
    return keyed.ties_of_dropped(list(grouped["old"]), list(grouped["lines"]))


def _summarize(
    _: None,
    job: EncodeJob,
    totals: Totals,
    sizes: np.ndarray,
    labels: Counts,
    groups: np.ndarray,
    moved: Mapping[bytes, int],
) -> Summary:
    ids = np.array([*moved], digests.DTYPE)
    splits = np.array([*moved.values()], np.int64)
    return Summary(
        splits=shard_entries.describe_splits(sizes, job.splits),
        counts=totals.counts,
        groups=shard_entries.describe_groups(groups),
        moved_groups={
            **base_dataset.carried(job.settings.base).moved_groups,
            **shard_entries.moved_splits(ids, splits),
        },
        labels=labels,
        num_groups=int(groups[0]),
    )
