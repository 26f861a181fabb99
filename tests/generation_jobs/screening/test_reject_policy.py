"""The flags of screening: what they load, and all that can be wrong with them."""

import argparse

import pytest

from generation_jobs.memorisation import __main__ as memorisation_command
from generation_jobs.screening import reject_policy
from generation_jobs.screening.reject_policy import DROP, KEEP, RETRY, Policy
from job_runtime import command
from midi_codec.measures.thresholds import Screen
from midi_codec.music.notes import BEATS, MILLISECONDS
from tests.generation_jobs.report_fakes import make_dataset, make_notes

THRESHOLDS = Screen({"longest_repeat": 9.0, "copied_notes": 12.0}, MILLISECONDS, "d" * 32)


def load(*argv: str, time_base: str | None = MILLISECONDS) -> tuple[Policy, list[str]]:
    parser = argparse.ArgumentParser()
    reject_policy.add_flags(parser)
    return reject_policy.load(parser.parse_args(argv), time_base)


@pytest.fixture
def thresholds(tmp_path) -> str:
    (tmp_path / "thresholds.json").write_text(THRESHOLDS.to_json())
    return str(tmp_path / "thresholds.json")


def test_without_flags_nothing_is_judged():
    policy, problems = load()
    assert (policy, problems, policy.judge(None), policy.description()) == (Policy(), [], None, {})


@pytest.mark.parametrize(
    ("flags", "on_reject", "max_retries"),
    [
        ([], KEEP, 0),
        (["--on-reject", "retry"], RETRY, 3),
        (["--on-reject", "drop"], DROP, 0),
        (["--on-reject", "drop", "--max-retries", "7"], DROP, 7),
        (["--on-reject", "keep", "--max-retries", "0"], KEEP, 0),
    ],
)
def test_the_policies_for_rejected_pieces(thresholds, flags, on_reject, max_retries):
    policy, problems = load("--screen", thresholds, *flags)
    assert problems == [] and policy.screen == THRESHOLDS
    assert (policy.on_reject, policy.max_retries) == (on_reject, max_retries)
    assert policy.description()["on_reject"] == on_reject
    assert policy.description()["compare_with"] is None


def test_job_json_records_the_thresholds(thresholds, tmp_path):
    first, _ = load("--screen", thresholds)
    (tmp_path / "thresholds.json").write_text(Screen({"longest_repeat": 9.5}, MILLISECONDS, "d" * 32).to_json())
    second, _ = load("--screen", thresholds)
    assert first.description()["screen"] != second.description()["screen"]


def test_a_dataset_alone_measures_copies_but_rejects_nothing(tmp_path):
    notes = make_notes(40, rng_seed=3)
    info = make_dataset(tmp_path / "dataset", {"train": [notes]})
    policy, problems = load("--compare-with", str(tmp_path / "dataset"))
    assert problems == [] and policy.description()["compare_with"] == info.hash
    judgement = policy.screen.judge_notes(notes, 0, ended=True)
    assert judgement.checks["copied_notes"] == policy.screen.index.longest_run(notes).num_notes > 10
    assert judgement.reasons == ()


def test_an_index_may_replace_its_dataset(tmp_path):
    info = make_dataset(tmp_path / "dataset", {"train": [make_notes(40, rng_seed=3)]})
    policy, _ = load("--compare-with", str(tmp_path / "dataset"))
    flags = ["--data", str(tmp_path / "dataset"), "--output", str(tmp_path / "train.index")]
    assert memorisation_command.main(flags) == command.OK
    again, problems = load("--compare-with", str(tmp_path / "train.index"))
    assert problems == [] and again.description() == policy.description() and again.screen.dataset == info.hash


def test_all_mistakes_are_reported(thresholds, tmp_path):
    make_dataset(tmp_path / "empty", {})
    _, problems = load("--on-reject", "drop", "--max-retries", "-1", "--compare-with", str(tmp_path / "empty"))
    assert problems == [
        "--max-retries is '-1', want a whole number, 0 to 100",
        "--on-reject is given without --screen, want both or neither",
        "--max-retries is given without --screen, want both or neither",
        f"--compare-with: '{tmp_path}/empty' has no piece in its train split, want at least one",
    ]
    _, problems = load("--screen", f"{tmp_path}/none", "--max-retries", "2", "--compare-with", f"{tmp_path}/nothing")
    assert problems[0] == "--max-retries is 2 with --on-reject keep, want 0, or --on-reject retry or drop"
    assert problems[1].startswith("--compare-with: ") and "nothing" in problems[1]
    assert problems[2] == f"--screen: '{tmp_path}/none' does not exist, want a thresholds file"


def test_another_grid_than_the_models(thresholds):
    _, problems = load("--screen", thresholds, time_base=BEATS)
    assert problems == ["--screen is on the grid of milliseconds, the model on that of beats, want the same"]


def test_thresholds_of_another_dataset_than_the_index(thresholds, tmp_path):
    make_dataset(tmp_path / "dataset", {"train": [make_notes(40, rng_seed=3)]})
    _, problems = load("--screen", thresholds, "--compare-with", str(tmp_path / "dataset"))
    assert len(problems) == 1 and "dataset is dddd" in problems[0]


def test_the_thresholds_and_the_corpus_of_the_model_in_the_box():
    policy, problems = load("--screen", "box", "--compare-with", "box", "--on-reject", "retry", time_base=BEATS)
    assert problems == []
    assert policy.screen.thresholds["copied_notes"] > 16
    assert policy.screen.index.dataset == policy.screen.dataset
    _, problems = load("--screen", "box", "--compare-with", "box", time_base="seconds")
    assert problems == [
        "--compare-with: the model in the box has no corpus on a grid of seconds",
        "--screen: the model in the box has no corpus on a grid of seconds",
    ]
