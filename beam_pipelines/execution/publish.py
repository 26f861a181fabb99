"""The end of an encode: the ledgers, then `dataset_info.json`, which makes the dataset complete."""

from __future__ import annotations

import collections
import dataclasses
import io
from collections.abc import Iterable, Mapping

import numpy as np

from beam_pipelines.encoding import ledger
from beam_pipelines.encoding.value_counts import Counts, Tally
from beam_pipelines.execution.encode_job import Job
from beam_pipelines.output import claim, dataset_files, output_folder
from beam_pipelines.planning.plan import Plan
from beam_pipelines.settings.encode_settings import Settings
from beam_pipelines.settings.splits import too_few
from job_runtime import storage
from job_runtime.command import UserError
from midi_codec.dataset import dataset_info
from midi_codec.dataset.dataset_info import NO_DUPLICATES, SPLITS, DatasetInfo, SplitInfo


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Summary:
    """What `dataset_info.json` takes from a plan; `counts` are still to be corrected."""

    splits: Mapping[str, SplitInfo]
    counts: Mapping[str, Mapping[str, Counts]]
    rejects: Mapping[str, int]
    duplicates: Mapping[str, int]
    salvaged: Mapping[str, int]
    groups: Mapping[str, int]
    moved_groups: Mapping[str, str]
    num_groups: int


def write_ledgers(job: Job, plan: Plan) -> Summary:
    """Writes what became of every input that gave no example, of the salvaged ones, and the hashes of all.

    It is the first step that writes into the dataset; shards follow.

    Raises:
      UserError: another encode has taken the folder.
    """
    output = job.output
    _check_claim(job)
    ledger.write(output, ledger.REJECTS, plan.rejects)
    ledger.write(output, ledger.DUPLICATES, plan.duplicates)
    ledger.write(output, ledger.SALVAGED, plan.salvaged)
    hashes = io.BytesIO()
    np.save(hashes, plan.contents.astype("<u8"), allow_pickle=False)
    storage.write_bytes(storage.join(output, dataset_files.INPUT_HASHES), hashes.getvalue())
    kinds = collections.Counter(line.kind for line in plan.duplicates)
    rungs = collections.Counter(line.rung for line in plan.salvaged)
    return Summary(
        splits=plan.splits,
        counts=plan.counts,
        rejects=ledger.count_reasons(plan.rejects),
        duplicates={**NO_DUPLICATES, **kinds},
        salvaged=dict(sorted(rungs.items())),
        groups=plan.groups,
        moved_groups=plan.moved_groups,
        num_groups=plan.num_groups,
    )


def _check_claim(job: Job) -> None:
    if job.claim:
        claim.check(job.output, job.claim)


def publish(
    job: Job, summary: Summary, corrections: Iterable[Mapping[str, Mapping[str, Counts]]]
) -> DatasetInfo | None:
    """Writes `dataset_info.json`, once all else is in place; None where too little was kept, and a file that says so.

    Args:
      corrections: what the writer of each shard returned.

    Raises:
      UserError: another encode has taken the folder; what it finds there is not called complete.
    """
    output, settings = job.output, job.settings
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
        other_files=job.other_files,
        examples=examples,
        rejects=summary.rejects,
        duplicates=summary.duplicates,
        salvaged=summary.salvaged,
        groups=summary.groups,
        moved_groups=summary.moved_groups,
        histograms=histograms,
        settings=settings.as_dict(),
    )
    if problems := _problems_of_few(output, summary, settings):
        output_folder.mark_too_little(output, problems)
        return None
    dataset_files.write_sizes(output, info)
    _check_claim(job)
    is_first = dataset_info.save(output, info, only_if_absent=True)
    if not is_first and dataset_info.load(output).hash != info.hash:
        raise UserError(f"--output {output}: another encode has finished there meanwhile; want another --output")
    try:
        _check_claim(job)
    except UserError:
        storage.delete(storage.join(output, dataset_info.FILE_NAME))
        raise
    return info


def _problems_of_few(output: str, summary: Summary, settings: Settings) -> list[str]:
    """Sentences where nothing was kept, or too few groups for the splits; an older dataset has its splits already."""
    examples = sum(split.num_pieces for split in summary.splits.values())
    if not examples:
        return ledger.nothing_kept(output, ledger.read(output, ledger.REJECTS))
    percents = settings.split_rule.percents
    if percents is None or settings.base:
        return []
    if all(summary.splits[split].num_pieces for split, percent in zip(SPLITS, percents, strict=True) if percent):
        return []
    inputs = examples + sum(summary.rejects.values()) + sum(summary.duplicates.values())
    found = f"{inputs:,} inputs gave {examples:,} pieces in {summary.num_groups:,} groups"
    if summary.num_groups < examples:
        found += " of what belongs together (see --near-duplicates and --group-regex)"
    problems = [too_few(percents, found)]
    dropped = {**summary.rejects, **summary.duplicates}
    if any(dropped.values()):
        counts = ", ".join(f"{name} {count:,}" for name, count in dropped.items() if count)
        problems.append(f"no pieces came of {inputs - examples:,} inputs ({counts}); see the ledgers in {output}")
    return problems
