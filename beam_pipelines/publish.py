"""The last step of an encode: the ledgers, then `dataset_info.json`, which makes the dataset complete."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import apache_beam as beam

from beam_pipelines import ledger, statistics
from beam_pipelines.ledger import Reject
from beam_pipelines.settings import Settings
from beam_pipelines.write_shards import ShardResult
from midi_codec import dataset_info
from midi_codec.dataset_info import SPLITS, DatasetInfo


class Publish(beam.PTransform):
    """Writes what describes the dataset, once all shards are in place.

    Input: (ShardResults, Rejects), two PCollections. Output: the DatasetInfo, or nothing when no piece
    was kept: then only the ledgers are written, and the dataset never becomes complete.
    """

    def __init__(self, output: str, settings: Settings, *, num_inputs: int, other_files: int):
        super().__init__()
        self._fn = _PublishFn(output, settings, num_inputs, other_files)

    def expand(self, results_and_rejects):
        return (
            results_and_rejects
            | beam.Flatten()
            | "OneKey" >> beam.Map(lambda part: (0, part))
            | beam.GroupByKey()
            | "Describe" >> beam.ParDo(self._fn)
        )


class _PublishFn(beam.DoFn):
    def __init__(self, output: str, settings: Settings, num_inputs: int, other_files: int):
        self._output = output
        self._settings = settings
        self._num_inputs = num_inputs
        self._other_files = other_files

    def process(self, keyed: tuple[int, Iterable[ShardResult | Reject]]) -> Iterable[DatasetInfo]:
        parts = list(keyed[1])
        rejects = [part for part in parts if isinstance(part, Reject)]
        results = sorted((part for part in parts if isinstance(part, ShardResult)), key=lambda result: result.index)
        ledger.write(self._output, ledger.REJECTS, rejects)
        ledger.write(self._output, ledger.DUPLICATES, (line for result in results for line in result.duplicates))
        info = self._describe(results, rejects)
        if info.examples:
            dataset_info.save(self._output, info)
            yield info

    def _describe(self, results: Sequence[ShardResult], rejects: Sequence[Reject]) -> DatasetInfo:
        splits, histograms = {}, {}
        for split in SPLITS:
            shards = [result.statistics[split] for result in results if split in result.statistics]
            splits[split], histograms[split] = statistics.add_up(shards)
        return DatasetInfo(
            time_base=self._settings.time_base,
            programs=tuple(sorted({value for split in SPLITS for value in histograms[split]["program"].values})),
            splits=splits,
            inputs=self._num_inputs,
            other_files=self._other_files,
            examples=sum(split.num_pieces for split in splits.values()),
            rejects=ledger.count_reasons(rejects),
            duplicates={**dataset_info.NO_DUPLICATES, "exact": sum(len(result.duplicates) for result in results)},
            salvaged={},
            groups=dataset_info.NO_GROUPS,
            histograms=histograms,
            settings=self._settings.as_dict(),
        )
