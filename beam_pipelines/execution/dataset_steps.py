"""The steps that turn finished parts into a dataset, in this order: plan, ledgers, shards, `dataset_info.json`.

`local_run` calls them in a loop, `beam_pipeline` as transforms on workers. `dataset_info.json` comes last: it makes the
dataset complete.
"""

from __future__ import annotations

import dataclasses
import io
import itertools
from collections.abc import Collection, Iterable, Mapping, Sequence

import numpy as np

from beam_pipelines.encoding import ledger
from beam_pipelines.encoding.value_counts import Counts, ValueCounts
from beam_pipelines.execution import base_dataset
from beam_pipelines.execution.encode_job import EncodeJob, check_complete
from beam_pipelines.output import claim, dataset_files, output_folder, write_shards
from beam_pipelines.planning.part_headers import PartHeaders
from beam_pipelines.planning.plan import Plan, make_plan
from beam_pipelines.settings.splits import too_few
from job_runtime import storage
from job_runtime.command_line.numerals import counted
from job_runtime.problem_report import UserError
from midi_codec.dataset import dataset_info, labels
from midi_codec.dataset.dataset_info import NO_DUPLICATES, SPLITS, DatasetInfo, SplitInfo

SplitCounts = Mapping[str, Mapping[str, Counts]]  # by split and column
LedgerCounts = Mapping[str, Mapping[str, int]]  # by kind of ledger; lines by reason, kind or rung


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Summary:
    """What `dataset_info.json` takes from a plan; `counts` still lack the corrections of the shards' writers."""

    splits: Mapping[str, SplitInfo]
    counts: SplitCounts
    groups: Mapping[str, int]
    moved_groups: Mapping[str, str]
    labels: labels.Counts
    num_groups: int

    @property
    def examples(self) -> int:
        return sum(split.num_pieces for split in self.splits.values())

    @classmethod
    def of(cls, plan: Plan) -> Summary:
        return cls(**{field.name: getattr(plan, field.name) for field in dataclasses.fields(cls)})


def plan_dataset(job: EncodeJob, headers: PartHeaders) -> Plan:
    """Decides on every piece, and writes the hashes of all inputs. This is the first step that writes into the dataset.

    Args:
      headers: of all parts; entries refer to a part by its index here.

    Raises:
      UserError: another encode has taken the folder.
    """
    check_complete(headers.num_listed, job)
    carried = base_dataset.carried(job.settings.base)
    plan = make_plan(headers, job.settings, job.splits, carried=carried)
    check_claim(job)
    write_input_hashes(job, plan.contents())
    return plan


def write_input_hashes(job: EncodeJob, contents: np.ndarray) -> None:
    """`contents`: from `plan.sort_contents`."""
    hashes = io.BytesIO()
    np.save(hashes, contents.astype("<u8", copy=False), allow_pickle=False)
    storage.write_bytes(storage.join(job.output, dataset_files.INPUT_HASHES), hashes.getvalue())


def write_ledgers(job: EncodeJob, plan: Plan, retried: Collection[str]) -> LedgerCounts:
    """Writes all ledgers, and counts their lines; arguments as of `write_ledger`."""
    lines: Mapping[str, Iterable[ledger.Line]] = {
        ledger.REJECTS: plan.rejects(),
        ledger.DUPLICATES: plan.duplicates(),
        ledger.SALVAGED: plan.headers.salvaged(),
    }
    tied = frozenset(plan.decisions.tied_sources)
    return {kind: write_ledger(job, kind, lines[kind], retried=retried, tied=tied) for kind in ledger.KINDS}


def write_ledger(
    job: EncodeJob, kind: str, lines: Iterable[ledger.Line], *, retried: Collection[str], tied: Collection[str]
) -> Mapping[str, int]:
    """Writes one ledger, with the lines of the older dataset; returns the number of lines by reason, kind or rung.

    Args:
      retried: sources that the older dataset could not read, and that this encode examined.
      tied: sources of pieces that are rejected after all, so that they are not salvaged.

    Raises:
      UserError: another encode has taken the folder.
    """
    check_claim(job)
    new = lines if kind != ledger.SALVAGED else (line for line in lines if line.path not in tied)
    counts = ledger.write(job.output, kind, itertools.chain(base_dataset.lines(job.settings.base, kind, retried), new))
    return dict(sorted(counts.items())) if kind != ledger.DUPLICATES else {**NO_DUPLICATES, **counts}


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


def publish(
    job: EncodeJob, summary: Summary, ledgers: LedgerCounts, corrections: Iterable[SplitCounts]
) -> DatasetInfo | None:
    """Writes `dataset_info.json` once everything else is in place.

    If too little was kept for a dataset, writes a file that says so instead, and returns None.

    Args:
      corrections: what `write_shard` returned for each shard number.

    Raises:
      UserError: another encode has taken the folder; its files are not declared complete.
    """
    info = _dataset_info(job, summary, ledgers, corrections)
    if problems := _problems_of_too_few(job, info, summary.num_groups):
        output_folder.mark_too_few(job.output, problems)
        return None
    dataset_files.write_sizes(job.output, info)
    _save(job, info)
    return info


def _dataset_info(
    job: EncodeJob, summary: Summary, ledgers: LedgerCounts, corrections: Iterable[SplitCounts]
) -> DatasetInfo:
    value_counts = ValueCounts()
    value_counts.add_counts(summary.counts)
    for counts in corrections:
        value_counts.add_counts(counts)
    histograms = value_counts.histograms()
    rejects, duplicates, salvaged = (ledgers[kind] for kind in ledger.KINDS)
    return DatasetInfo(
        time_base=job.settings.time_base,
        programs=tuple(sorted({value for split in SPLITS for value in histograms[split]["program"].values})),
        splits=summary.splits,
        inputs=summary.examples + sum(rejects.values()) + sum(duplicates.values()),
        other_files=job.other_files,
        examples=summary.examples,
        rejects=rejects,
        duplicates=duplicates,
        salvaged=salvaged,
        groups=summary.groups,
        moved_groups=summary.moved_groups,
        labels=summary.labels,
        histograms=histograms,
        settings=job.settings.as_dict(),
    )


def _save(job: EncodeJob, info: DatasetInfo) -> None:
    """Writes `dataset_info.json`, and takes it back if the claim was lost at that moment."""
    check_claim(job)
    is_first = dataset_info.save(job.output, info, only_if_absent=True)
    if not is_first and dataset_info.load(job.output).hash != info.hash:
        raise UserError(f"--output {job.output}: another encode has finished there meanwhile; want another --output")
    try:
        check_claim(job)
    except UserError:
        storage.delete(storage.join(job.output, dataset_info.FILE_NAME))
        raise


def check_claim(job: EncodeJob) -> None:
    if job.claim:
        claim.check(job.output, job.claim)


def _problems_of_too_few(job: EncodeJob, info: DatasetInfo, num_groups: int) -> list[str]:
    """Sentences for a dataset without pieces, or with fewer groups than splits (an older dataset has its splits)."""
    output, settings = job.output, job.settings
    if not info.examples:
        return ledger.nothing_kept(output, ledger.read(output, ledger.REJECTS))
    percents = settings.split_rule.percents
    if percents is None or settings.base:
        return []
    if all(info.splits[split].num_pieces for split, percent in zip(SPLITS, percents, strict=True) if percent):
        return []
    inputs, pieces = counted(info.inputs, "input"), counted(info.examples, "piece")
    outcome = f"{inputs} gave {pieces} in {counted(num_groups, 'group')}"
    if num_groups < info.examples:
        outcome += " of what belongs together (see --near-duplicates and --group-regex)"
    problems = [too_few(percents, outcome)]
    dropped = {**info.rejects, **info.duplicates}
    if any(dropped.values()):
        counts = ", ".join(f"{name} {count:,}" for name, count in dropped.items() if count)
        num_dropped = info.inputs - info.examples
        problems.append(f"{counted(num_dropped, 'input')} gave no piece ({counts}); see the ledgers in {output}")
    return problems
