"""The settings of an encode from its flags. All mistakes in them are reported at once."""

from __future__ import annotations

import argparse
import re
from typing import Any

from beam_pipelines.corpus.inputs import Corpus
from beam_pipelines.execution import base_dataset
from beam_pipelines.settings import splits
from beam_pipelines.settings.encode_settings import AUTO, Base, Settings, default_num_shards
from beam_pipelines.settings.labels import LabelRule
from beam_pipelines.settings.splits import SplitRule
from job_runtime import command
from job_runtime.command_line import settings as settings_lib
from job_runtime.command_line.flags import group_of
from job_runtime.command_line.numerals import counted
from job_runtime.command_line.settings import flag
from job_runtime.problem_report import UserError
from midi_codec.cleaning.cleaning_rules import CLEANING, CleaningRules
from midi_codec.dataset import dataset_info
from midi_codec.dataset.dataset_info import DatasetInfo
from midi_codec.midi.midi_header import Limits


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Adds the flags of all settings; each is defined by the field it sets."""
    group_of(parser, CLEANING, "each is off unless given; see docs/cleaning.md")
    for cls in (Settings, SplitRule, LabelRule, CleaningRules, Limits):
        settings_lib.add_flags(parser, cls)


def make_settings(args: argparse.Namespace, corpus: Corpus | None, problems: list[str]) -> Settings | None:
    """The settings; None, with sentences added to `problems`, if a flag is wrong or there is no corpus."""
    num_before = len(problems)
    rule = _split_rule(args, corpus, problems)
    values = settings_lib.read_flags(Settings, args, problems)
    limits = Limits(**settings_lib.read_flags(Limits, args, problems))
    rules = read_cleaning_rules(args, limits, problems)
    label_rule = _label_rule(args, corpus, problems)
    base, info = _base(args, problems)
    if corpus is None or len(problems) > num_before:
        return None
    if info is not None and values.get("time_base", AUTO) == AUTO:
        values["time_base"] = info.time_base
    settings = Settings(
        inputs_hash=corpus.hash,
        split_rule=rule,
        limits=limits,
        cleaning=rules,
        base=base,
        labels=label_rule,
        **{"num_shards": default_num_shards(corpus.num_inputs), **values},
    )
    if base and info:
        problems += base_dataset.problems_with(base, info, settings)
    return settings


def _split_rule(args: argparse.Namespace, corpus: Corpus | None, problems: list[str]) -> SplitRule:
    if args.split_regex not in (None, settings_lib.NONE) and args.split_percents is not None:
        problems.append("--split-percents and --split-regex are both given, want one of them")
    values = settings_lib.read_flags(SplitRule, args, problems)
    if args.split_regex not in (None, settings_lib.NONE):
        regex = values.get("regex")
        if regex is not None and corpus is not None:
            problems += splits.unmatched(regex, corpus.sources())
        return SplitRule(regex=args.split_regex)
    rule = SplitRule(percents=values.get("percents") or splits.DEFAULT_PERCENTS)
    assert rule.percents is not None
    if corpus is not None and args.add_to is None and corpus.num_inputs < len(rule.splits_of(())):
        problems.append(splits.too_few(rule.percents, f"--input gives {counted(corpus.num_inputs, 'file')}"))
    return rule


def _label_rule(args: argparse.Namespace, corpus: Corpus | None, problems: list[str]) -> LabelRule:
    rule = LabelRule(**settings_lib.read_flags(LabelRule, args, problems))
    if rule.key is not None and rule.file is None:
        problems.append(f"--labels-key is {rule.key!r}, which needs --labels")
    if corpus is not None:
        expression = rule.regex
        if expression is not None and not any(re.search(expression, source) for source in corpus.sources()):
            example = next(iter(corpus.sources()), "")
            problems.append(f"--label-regex {expression!r} matches none of the sources, such as {example!r}")
        with command.collecting(problems):
            rule = rule.checked(corpus.sources())
    return rule


def read_cleaning_rules(args: argparse.Namespace, limits: Limits, problems: list[str]) -> CleaningRules:
    """The rules of cleaning; adds sentences to `problems` if one is wrong, or if two contradict each other."""
    num_before = len(problems)
    values = settings_lib.read_flags(CleaningRules, args, problems)
    if args.other_programs is not None and args.programs in (None, settings_lib.NONE):
        problems.append(f"--other-programs is {args.other_programs!r}, which needs --programs")
    problems += _above_limits(values, limits)
    try:
        rules = CleaningRules(**values)
    except ValueError as error:
        problems += str(error).splitlines()
    return rules if len(problems) == num_before else CleaningRules()


def _above_limits(values: dict[str, Any], limits: Limits) -> list[str]:
    return [
        f"{flag(low)} is {values[low]:g}, above {flag(high)}, which is {getattr(limits, high):g}"
        for low, high in (("min_notes", "max_notes"), ("min_seconds", "max_seconds"))
        if (values.get(low) or 0) > getattr(limits, high)
    ]


def _base(args: argparse.Namespace, problems: list[str]) -> tuple[Base | None, DatasetInfo | None]:
    if args.add_to is None:
        return None, None
    try:
        info = dataset_info.load(args.add_to)
    except UserError as error:
        problems += [f"--add-to: {problem}" for problem in error.problems]
        return None, None
    return Base(path=args.add_to, hash=info.hash), info
