"""The steps that turn finished parts into a dataset, in this order: plan, ledgers, shards, `dataset_info.json`.

`local_run` calls them in a loop, `beam_pipeline` as transforms on workers. `dataset_info.json` comes last: it makes the
dataset complete.
"""

from __future__ import annotations

import collections
import dataclasses
import io
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from beam_pipelines.encoding import ledger
from beam_pipelines.encoding.value_counts import Counts, ValueCounts
from beam_pipelines.execution import base_dataset
from beam_pipelines.execution.encode_job import EncodeJob, check_complete
from beam_pipelines.output import claim, dataset_files, output_folder, write_shards
from beam_pipelines.planning.plan import PartHeaders, Plan, make_plan
from beam_pipelines.settings.encode_settings import Settings
from beam_pipelines.settings.splits import too_few
from job_runtime import storage
from job_runtime.command_line.numerals import counted
from job_runtime.problem_report import UserError
from midi_codec.dataset import dataset_info
from midi_codec.dataset.dataset_info import NO_DUPLICATES, SPLITS, DatasetInfo, SplitInfo

SplitCounts = Mapping[str, Mapping[str, Counts]]  # by split and column


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Summary:
    """What `dataset_info.json` takes from a plan; `counts` still lack the corrections of the shards' writers."""

    splits: Mapping[str, SplitInfo]
    counts: SplitCounts
    rejects: Mapping[str, int]
    duplicates: Mapping[str, int]
    salvaged: Mapping[str, int]
    groups: Mapping[str, int]
    moved_groups: Mapping[str, str]
    num_groups: int

    @property
    def examples(self) -> int:
        return sum(split.num_pieces for split in self.splits.values())

    @property
    def inputs(self) -> int:
        return self.examples + sum(self.rejects.values()) + sum(self.duplicates.values())


def plan_dataset(
    job: EncodeJob, headers: PartHeaders, *, pairs: Iterable[tuple[str, str]] | None = None
) -> tuple[Summary, Sequence[np.ndarray]]:
    """Decides on every piece, and writes the ledgers.

    Args:
      headers: of all parts; entries refer to a part by its index here.
      pairs: near-duplicates, if the engine has already found them.

    Returns:
      The summary for `publish`, and the entries of each shard number for `write_shard`.

    Raises:
      UserError: another encode has taken the folder.
    """
    check_complete(headers.parts, job)
    carried = base_dataset.carried(job.settings.base, headers.parts)
    plan = make_plan(headers, job.settings, job.splits, carried=carried, pairs=pairs)
    return write_ledgers(job, plan), plan.entries


def write_ledgers(job: EncodeJob, plan: Plan) -> Summary:
    """Writes the ledgers and the hashes of all inputs. This is the first step that writes into the dataset.

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
    levels = collections.Counter(line.rung for line in plan.salvaged)
    return Summary(
        splits=plan.splits,
        counts=plan.counts,
        rejects=ledger.count_reasons(plan.rejects),
        duplicates={**NO_DUPLICATES, **kinds},
        salvaged=dict(sorted(levels.items())),
        groups=plan.groups,
        moved_groups=plan.moved_groups,
        num_groups=plan.num_groups,
    )


def write_shard(job: EncodeJob, index: int, entries: np.ndarray, part_paths: Sequence[str]) -> SplitCounts:
    """Writes one shard number of every split; returns the corrections of the counts."""
    return write_shards.write_shard(
        index,
        entries,
        part_paths=part_paths,
        output=job.output,
        splits=job.splits,
        num_shards=job.settings.num_shards,
        time_base=job.settings.time_base,
    )


def publish(job: EncodeJob, summary: Summary, corrections: Iterable[SplitCounts]) -> DatasetInfo | None:
    """Writes `dataset_info.json` once everything else is in place.

    If too little was kept for a dataset, writes a file that says so instead, and returns None.

    Args:
      corrections: what `write_shard` returned for each shard number.

    Raises:
      UserError: another encode has taken the folder; its files are not declared complete.
    """
    info = _dataset_info(job, summary, corrections)
    if problems := _problems_of_too_few(job.output, summary, job.settings):
        output_folder.mark_too_few(job.output, problems)
        return None
    dataset_files.write_sizes(job.output, info)
    _save(job, info)
    return info


def _dataset_info(job: EncodeJob, summary: Summary, corrections: Iterable[SplitCounts]) -> DatasetInfo:
    value_counts = ValueCounts()
    value_counts.add_counts(summary.counts)
    for counts in corrections:
        value_counts.add_counts(counts)
    histograms = value_counts.histograms()
    return DatasetInfo(
        time_base=job.settings.time_base,
        programs=tuple(sorted({value for split in SPLITS for value in histograms[split]["program"].values})),
        splits=summary.splits,
        inputs=summary.inputs,
        other_files=job.other_files,
        examples=summary.examples,
        rejects=summary.rejects,
        duplicates=summary.duplicates,
        salvaged=summary.salvaged,
        groups=summary.groups,
        moved_groups=summary.moved_groups,
        histograms=histograms,
        settings=job.settings.as_dict(),
    )


def _save(job: EncodeJob, info: DatasetInfo) -> None:
    """Writes `dataset_info.json`, and takes it back if the claim was lost at that moment."""
    _check_claim(job)
    is_first = dataset_info.save(job.output, info, only_if_absent=True)
    if not is_first and dataset_info.load(job.output).hash != info.hash:
        raise UserError(f"--output {job.output}: another encode has finished there meanwhile; want another --output")
    try:
        _check_claim(job)
    except UserError:
        storage.delete(storage.join(job.output, dataset_info.FILE_NAME))
        raise


def _check_claim(job: EncodeJob) -> None:
    if job.claim:
        claim.check(job.output, job.claim)


def _problems_of_too_few(output: str, summary: Summary, settings: Settings) -> list[str]:
    """Sentences for a dataset without pieces, or with fewer groups than splits (an older dataset has its splits)."""
    if not summary.examples:
        return ledger.nothing_kept(output, ledger.read(output, ledger.REJECTS))
    percents = settings.split_rule.percents
    if percents is None or settings.base:
        return []
    if all(summary.splits[split].num_pieces for split, percent in zip(SPLITS, percents, strict=True) if percent):
        return []
    inputs, pieces = counted(summary.inputs, "input"), counted(summary.examples, "piece")
    outcome = f"{inputs} gave {pieces} in {counted(summary.num_groups, 'group')}"
    if summary.num_groups < summary.examples:
        outcome += " of what belongs together (see --near-duplicates and --group-regex)"
    problems = [too_few(percents, outcome)]
    dropped = {**summary.rejects, **summary.duplicates}
    if any(dropped.values()):
        counts = ", ".join(f"{name} {count:,}" for name, count in dropped.items() if count)
        num_dropped = summary.inputs - summary.examples
        problems.append(f"{counted(num_dropped, 'input')} gave no piece ({counts}); see the ledgers in {output}")
    return problems
