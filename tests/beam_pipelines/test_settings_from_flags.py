import argparse

import pytest

from beam_pipelines import settings_from_flags
from beam_pipelines.corpus import inputs
from beam_pipelines.settings.splits import DEFAULT_PERCENTS, SplitRule
from job_runtime.command_line import settings
from midi_codec.cleaning.cleaning_rules import CleaningRules
from midi_codec.midi.midi_header import Limits
from tests.beam_pipelines.corpora import make_midi, write_files


def rules_of(*flags: str, limits: Limits | None = None) -> tuple[CleaningRules, list[str]]:
    parser = argparse.ArgumentParser(exit_on_error=False)
    settings.add_flags(parser, CleaningRules)
    problems: list[str] = []
    args = parser.parse_args(list(flags))
    return settings_from_flags.read_cleaning_rules(args, limits or Limits(), problems), problems


def test_rules_arrive_from_flags():
    rules, problems = rules_of("--min-notes", "10", "--programs", "24,0-2,1", "--other-programs", "reject")
    assert (rules, problems) == (CleaningRules(min_notes=10, programs=(0, 1, 2, 24), other_programs="reject"), [])
    assert rules_of() == (CleaningRules(), [])


def test_all_mistakes_are_named_at_once():
    _, problems = rules_of(
        *("--min-notes", "0", "--pitch-range", "108-21", "--programs", "0,128", "--drum-policy", "never"),
    )
    assert problems == [
        "--min-notes is '0', want a whole number, 1 or more",
        "--pitch-range is '108-21', want LOW-HIGH between 0 and 127, such as 21-108",
        "--programs is '0,128', want numbers and ranges from 0 to 127, such as 0-7,24; drums are --drum-policy's",
        "--drum-policy is 'never', want keep, drop, only or reject",
    ]


@pytest.mark.parametrize(
    ("flags", "problem"),
    [
        (
            ["--min-density", "5", "--max-density", "4"],
            "--min-density is 5, above --max-density, which is 4",
        ),
        (["--other-programs", "drop"], "--other-programs is 'drop', which needs --programs"),
        (["--other-programs", "drop", "--programs", "none"], "--other-programs is 'drop', which needs --programs"),
        (
            ["--drum-policy", "only", "--program-policy", "merge"],
            "--drum-policy only leaves no melodic notes, so --program-policy has none to work on: want one of the two",
        ),
        (
            ["--drum-policy", "only", "--programs", "0"],
            "--drum-policy only leaves no melodic notes, so --programs has none to work on: want one of the two",
        ),
        (["--min-notes", "11"], "--min-notes is 11, above --max-notes, which is 10"),
        (["--min-seconds", "60.5"], "--min-seconds is 60.5, above --max-seconds, which is 60"),
    ],
)
def test_rules_that_contradict_each_other(flags, problem):
    rules, problems = rules_of(*flags, limits=Limits(max_notes=10, max_seconds=60.0))
    assert (rules, problems) == (CleaningRules(), [problem])


@pytest.mark.parametrize(
    ("flags", "rule"),
    [
        ([], SplitRule(percents=DEFAULT_PERCENTS)),
        (["--split-percents", "none", "--split-regex", "none"], SplitRule(percents=DEFAULT_PERCENTS)),
        (["--split-percents", "100,0,0", "--split-regex", "none"], SplitRule(percents=(100, 0, 0))),
    ],
)
def test_none_is_as_good_as_not_given(tmp_path, flags, rule):
    corpus = inputs.find([write_files(tmp_path, {f"{number}.mid": make_midi(number) for number in range(3)})])
    parser = argparse.ArgumentParser()
    settings_from_flags.add_flags(parser)
    parser.add_argument("--add-to")
    problems: list[str] = []
    made = settings_from_flags.make_settings(parser.parse_args(flags), corpus, problems)
    assert made and made.split_rule == rule
    assert not problems
