"""The end of an encode: the ledgers, then `dataset_info.json`, which makes the dataset complete."""

from __future__ import annotations

import collections
import dataclasses
import io
from collections.abc import Iterable, Mapping

import numpy as np

from beam_pipelines import ledger, output_folder
from beam_pipelines.plan import Plan
from beam_pipelines.settings import Settings
from beam_pipelines.tally import Counts, Tally
from midi_codec import dataset_info, storage
from midi_codec.dataset_info import NO_DUPLICATES, SPLITS, DatasetInfo, SplitInfo

INPUT_HASHES = "input_hashes.npy"  # [m, 2] uint64, ascending: which inputs a dataset accounts for


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Summary:
    """What `dataset_info.json` takes from a plan; `counts` are still to be corrected."""

    splits: Mapping[str, SplitInfo]
    counts: Mapping[str, Mapping[str, Counts]]
    rejects: Mapping[str, int]
    duplicates: Mapping[str, int]
    salvaged: Mapping[str, int]
    groups: Mapping[str, int]


def write_ledgers(output: str, plan: Plan) -> Summary:
    """Writes what became of every input that gave no example, of the salvaged ones, and the hashes of all."""
    ledger.write(output, ledger.REJECTS, plan.rejects)
    ledger.write(output, ledger.DUPLICATES, plan.duplicates)
    ledger.write(output, ledger.SALVAGED, plan.salvaged)
    hashes = io.BytesIO()
    np.save(hashes, plan.contents.astype("<u8"), allow_pickle=False)
    storage.write_bytes(storage.join(output, INPUT_HASHES), hashes.getvalue())
    kinds = collections.Counter(line.kind for line in plan.duplicates)
    rungs = collections.Counter(line.rung for line in plan.salvaged)
    return Summary(
        splits=plan.splits,
        counts=plan.counts,
        rejects=ledger.count_reasons(plan.rejects),
        duplicates={**NO_DUPLICATES, **kinds},
        salvaged=dict(sorted(rungs.items())),
        groups=plan.groups,
    )


def publish(
    output: str,
    summary: Summary,
    corrections: Iterable[Mapping[str, Mapping[str, Counts]]],
    settings: Settings,
    *,
    other_files: int,
) -> DatasetInfo | None:
    """Writes `dataset_info.json`, once all else is in place; nothing, and None, where no piece was kept.

    Args:
      corrections: what the writer of each shard returned.
    """
    tally = Tally()
    tally.add_counts(summary.counts)
    for counts in corrections:
        tally.add_counts(counts)
    histograms = tally.histograms()
    examples = sum(split.num_pieces for split in summary.splits.values())
    info = DatasetInfo(
        time_base=settings.time_base,
        programs=tuple(sorted({value for split in SPLITS for value in histograms[split]["program"].values})),
        splits=summary.splits,
        inputs=examples + sum(summary.rejects.values()) + sum(summary.duplicates.values()),
        other_files=other_files,
        examples=examples,
        rejects=summary.rejects,
        duplicates=summary.duplicates,
        salvaged=summary.salvaged,
        groups=summary.groups,
        histograms=histograms,
        settings=settings.as_dict(),
    )
    if not examples:
        storage.write_bytes(output_folder.nothing_kept_mark(output), b"")
        return None
    dataset_info.save(output, info)
    return info
