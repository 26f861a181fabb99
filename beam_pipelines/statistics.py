"""Counts of a dataset, taken from packed records, shard by shard, and added up.

Everything is exact and independent of the order in which parts arrive: whole numbers, and a sum of
seconds that is rounded once a shard and once a split.
"""

from __future__ import annotations

import dataclasses
import math
import struct
from collections.abc import Mapping, Sequence

import numpy as np

from midi_codec import records
from midi_codec.dataset_info import COLUMNS, Histogram, SplitInfo
from midi_codec.notes import MILLISECONDS, TICKS_PER_BEAT, TICKS_PER_SECOND

Counts = tuple[np.ndarray, np.ndarray]  # values ascending, and how many notes have each
_NO_COUNTS: Counts = (np.zeros(0, np.int64), np.zeros(0, np.int64))
_DENSE_VALUES = 1 << 16  # below it counting beats sorting


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class ShardStatistics:
    """One shard of one split."""

    num_pieces: int
    num_notes: int
    seconds: float
    counts: Mapping[str, Counts]


def of_records(features: Sequence[Mapping[str, bytes]], *, time_base: str) -> ShardStatistics:
    """Counts the notes of a shard, all pieces of a column in one go.

    Args:
      features: of each record, what `records.split_features` gives; no piece is empty.
    """
    if not features:
        return ShardStatistics(num_pieces=0, num_notes=0, seconds=0.0, counts={name: _NO_COUNTS for name in COLUMNS})
    columns = {name: records.decode_column(name, b"".join(each[name] for each in features)) for name in COLUMNS}
    lengths = [len(each["pitch"]) for each in features]  # a pitch is below 128: one byte
    tempos = np.array([struct.unpack("<f", each["tempo"])[0] for each in features])
    return ShardStatistics(
        num_pieces=len(features),
        num_notes=len(columns["pitch"]),
        seconds=_seconds(columns, lengths, tempos, time_base),
        counts={name: count(values) for name, values in columns.items()},
    )


def _seconds(columns: Mapping[str, np.ndarray], lengths: list[int], tempos: np.ndarray, time_base: str) -> float:
    first = np.cumsum([0, *lengths[:-1]])
    start = np.cumsum(columns["step"])  # of all pieces, one behind the other: step[0] of a piece is 0
    before = np.repeat(start[first], lengths)
    ticks = np.maximum.reduceat(start - before + columns["duration"], first)
    if time_base == MILLISECONDS:
        return int(ticks.sum()) / TICKS_PER_SECOND
    return round(math.fsum(ticks * 60.0 / tempos / TICKS_PER_BEAT), 3)


def count(values: np.ndarray) -> Counts:
    """Distinct values, ascending, and how often each occurs; values are 0 or more."""
    if not values.size:
        return _NO_COUNTS
    lowest, highest = values.min(), values.max()
    if lowest == highest:  # a program, as a rule
        return np.array([lowest]), np.array([values.size])
    dense = np.bincount(np.minimum(values, _DENSE_VALUES), minlength=_DENSE_VALUES + 1)[:_DENSE_VALUES]
    small = np.flatnonzero(dense)
    large, large_counts = np.unique(values.take(np.flatnonzero(values >= _DENSE_VALUES)), return_counts=True)
    return np.concatenate([small, large]), np.concatenate([dense[small], large_counts])


def add_up(shards: Sequence[ShardStatistics]) -> tuple[SplitInfo, dict[str, Histogram]]:
    """The statistics of a split from those of its shards, in the order of shards."""
    info = SplitInfo(
        num_pieces=sum(shard.num_pieces for shard in shards),
        num_notes=sum(shard.num_notes for shard in shards),
        seconds=round(math.fsum(shard.seconds for shard in shards), 3),
        shard_lengths=tuple(shard.num_pieces for shard in shards),
    )
    return info, {name: _add_counts([shard.counts[name] for shard in shards]) for name in COLUMNS}


def _add_counts(parts: Sequence[Counts]) -> Histogram:
    values = np.concatenate([_NO_COUNTS[0], *(part[0] for part in parts)])
    weights = np.concatenate([_NO_COUNTS[1], *(part[1] for part in parts)])
    distinct, place = np.unique(values, return_inverse=True)
    totals = np.zeros(len(distinct), np.int64)
    np.add.at(totals, place, weights)
    return Histogram(values=tuple(distinct.tolist()), counts=tuple(totals.tolist()))
