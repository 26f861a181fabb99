"""The second half of an encode: of equal pieces keep one, split, sort, write shards, take statistics.

A piece's shard follows from its piece_id alone, so exact duplicates meet in one group, whatever splits their
paths name, and the records cross between workers once.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping

import apache_beam as beam
from apache_beam.metrics import Metrics

from beam_pipelines import statistics
from beam_pipelines.ledger import Duplicate
from beam_pipelines.parse_pieces import METRICS
from beam_pipelines.settings import Settings
from beam_pipelines.statistics import ShardStatistics
from midi_codec import records, storage
from midi_codec.dataset_info import shard_name


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class ShardResult:
    """What became of one shard number, in every split."""

    index: int
    statistics: Mapping[str, ShardStatistics]
    duplicates: tuple[Duplicate, ...]


class WriteShards(beam.PTransform):
    """Writes `<split>-<shard>-of-<num>.tfrecord` for every split that gets shards, empty ones included.

    Input: (shard, record). Output: a ShardResult for each shard number, even for one without a piece.
    Counters: `duplicates`, `examples_<split>`.
    """

    def __init__(self, output: str, settings: Settings, splits: tuple[str, ...]):
        super().__init__()
        self._settings = settings
        self._fn = _WriteShardFn(output, settings, splits)

    def expand(self, pieces):
        numbers = pieces.pipeline | "EveryShard" >> beam.Create([(i, b"") for i in range(self._settings.num_shards)])
        return (pieces, numbers) | beam.Flatten() | beam.GroupByKey() | "Write" >> beam.ParDo(self._fn)


class _WriteShardFn(beam.DoFn):
    def __init__(self, output: str, settings: Settings, splits: tuple[str, ...]):
        self._output = output
        self._settings = settings
        self._splits = splits

    def process(self, shard: tuple[int, Iterable[bytes]]) -> Iterator[ShardResult]:
        index, grouped = shard
        packed = [_Packed.of(record) for record in grouped if record]
        packed.sort(key=lambda one: (one.piece_id, one.source))
        kept: dict[str, list[_Packed]] = {split: [] for split in self._splits}
        duplicates: list[Duplicate] = []
        survivor, split = None, ""
        for one in packed:
            if survivor is not None and one.piece_id == survivor.piece_id:
                duplicates.append(Duplicate(one.source, one.piece_id, survivor.source, split))
                continue
            survivor, split = one, self._settings.split_rule.assign(group_id=one.group_id, source=one.source)
            kept[split].append(one)
        Metrics.counter(METRICS, "duplicates").inc(len(duplicates))
        yield ShardResult(
            index=index,
            statistics={split: self._write(split, index, kept[split]) for split in self._splits},
            duplicates=tuple(duplicates),
        )

    def _write(self, split: str, index: int, pieces: list[_Packed]) -> ShardStatistics:
        name = shard_name(split, index, self._settings.num_shards)
        data = records.write_records(one.record for one in pieces)
        storage.write_bytes(storage.join(self._output, name), data)
        Metrics.counter(METRICS, f"examples_{split}").inc(len(pieces))
        return statistics.of_records([one.features for one in pieces], time_base=self._settings.time_base)


@dataclasses.dataclass(frozen=True)
class _Packed:
    """A record and the features in it, still packed."""

    piece_id: str
    group_id: str
    source: str
    record: bytes
    features: Mapping[str, bytes]

    @classmethod
    def of(cls, record: bytes) -> _Packed:
        features = records.split_features(record)
        texts = {name: features[name].decode("utf-8", "surrogateescape") for name in records.BYTES_FEATURES}
        return cls(**texts, record=record, features=features)
