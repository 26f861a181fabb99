"""The settings of an encode from its flags: everything that is wrong with them is said at once."""

from __future__ import annotations

import argparse
from collections.abc import Iterable

from beam_pipelines.corpus.inputs import Corpus
from beam_pipelines.execution import base_dataset
from beam_pipelines.settings import cleaning_flags, splits
from beam_pipelines.settings.encode_settings import (
    NEAR_DUPLICATES,
    Base,
    Settings,
    default_num_shards,
    problems_in_group_regex,
)
from beam_pipelines.settings.splits import SplitRule
from job_runtime.command import UserError
from job_runtime.command_line import numerals
from midi_codec.dataset import dataset_info
from midi_codec.midi.midi_header import Limits
from midi_codec.music.notes import TIME_BASES


def make_settings(args: argparse.Namespace, corpus: Corpus | None, problems: list[str]) -> Settings | None:
    """The settings; None, and sentences added to `problems`, where a flag is wrong or there is no corpus."""
    num_before = len(problems)
    rule = _split_rule(args, corpus.sources() if corpus else (), problems)
    limits = _limits(args, problems)
    rules = cleaning_flags.rules_from_args(args, problems, limits=limits)
    num_shards = default_num_shards(corpus.num_inputs if corpus else 0)
    if args.num_shards is not None:
        num_shards = _whole_number("--num-shards", args.num_shards, problems)
        if num_shards > 99_999:
            problems.append(f"--num-shards is {num_shards}, want at most 99999")
    if args.time_base not in TIME_BASES:
        problems.append(f"--time-base is {args.time_base!r}, want {' or '.join(TIME_BASES)}")
    if args.near_duplicates not in NEAR_DUPLICATES:
        problems.append(f"--near-duplicates is {args.near_duplicates!r}, want {', '.join(NEAR_DUPLICATES)}")
    if args.group_regex is not None:
        problems += problems_in_group_regex(args.group_regex)
    base, info = _base(args, problems)
    if corpus is not None and rule.percents and args.add_to is None:
        num_splits = len(rule.splits_of(()))
        if corpus.num_inputs < num_splits:
            problems.append(splits.too_few(rule.percents, f"--input gives {corpus.num_inputs:,} files"))
    if corpus is None or len(problems) > num_before:
        return None
    settings = Settings(
        inputs_hash=corpus.hash,
        time_base=args.time_base,
        split_rule=rule,
        num_shards=num_shards,
        limits=limits,
        cleaning=rules,
        near_duplicates=args.near_duplicates,
        group_regex=args.group_regex,
        base=base,
    )
    if base and info:
        problems += base_dataset.problems_with(base, info, settings)
    return settings


def _base(args: argparse.Namespace, problems: list[str]) -> tuple[Base | None, dataset_info.DatasetInfo | None]:
    if args.add_to is None:
        return None, None
    try:
        info = dataset_info.load(args.add_to)
    except UserError as error:
        problems += [f"--add-to: {problem}" for problem in error.problems]
        return None, None
    return Base(path=args.add_to, hash=info.hash), info


def _split_rule(args: argparse.Namespace, sources: Iterable[str], problems: list[str]) -> SplitRule:
    if args.split_regex is not None and args.split_percents is not None:
        problems.append("--split-percents and --split-regex are both given, want one of them")
    percents = splits.DEFAULT_PERCENTS
    if args.split_percents is not None:
        try:
            percents = splits.parse_percents(args.split_percents)
        except ValueError as error:
            problems.append(str(error))
    if args.split_regex is None:
        return SplitRule(percents=percents)
    problems += splits.problems_in_regex(args.split_regex, sources)
    return SplitRule(regex=args.split_regex)


def _limits(args: argparse.Namespace, problems: list[str]) -> Limits:
    return Limits(
        max_notes=_whole_number("--max-notes", args.max_notes, problems),
        max_bytes=_whole_number("--max-bytes", args.max_bytes, problems),
        max_seconds=_positive("--max-seconds", args.max_seconds, problems),
    )


def _whole_number(flag: str, text: str, problems: list[str]) -> int:
    if numerals.is_index(text) and int(text) >= 1:
        return int(text)
    problems.append(f"{flag} is {text!r}, want a whole number from 1")
    return 1


def _positive(flag: str, text: str, problems: list[str]) -> float:
    try:
        value = numerals.number(text)
    except ValueError:
        value = 0.0
    if 0 < value < float("inf"):
        return value
    problems.append(f"{flag} is {text!r}, want a number above 0")
    return 1.0
