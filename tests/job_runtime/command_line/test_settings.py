"""Settings as fields of dataclasses: their flags, their values, and what is said of wrong ones."""

import argparse
import dataclasses

import pytest

from job_runtime.command_line.settings import add_flags, problems_in, read_flags, setting


def parse_pair(text: str) -> tuple[int, ...]:
    if text.count("-") != 1:
        raise ValueError("want LOW-HIGH")
    return tuple(map(int, text.split("-")))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Example:
    not_a_flag: int = 1
    count: int = setting(help="how many", at_least=1, at_most=99_999)
    share: float | None = setting(None, "a share", above=0)
    seconds: float = setting(3600.0, "a time", at_least=0)
    policy: str = setting("keep", "a policy", metavar="POLICY", choices=("keep", "drop"))
    pair: tuple[int, int] | None = setting(None, "two numbers", flag="--low-high", metavar="LOW-HIGH", parse=parse_pair)
    text: str | None = setting(None, "any text")


def read(*argv: str) -> tuple[dict, list[str]]:
    parser = argparse.ArgumentParser()
    add_flags(parser, Example)
    problems: list[str] = []
    return read_flags(Example, parser.parse_args(argv), problems), problems


def test_only_flags_that_were_given_have_values():
    assert read() == ({}, [])


def test_values_have_the_types_of_their_fields():
    values, problems = read(
        *("--count", "99999", "--share", "0.5", "--seconds", "0", "--policy", "drop", "--low-high", "2-5", "--text=-x")
    )
    assert (values, problems) == (
        {"count": 99_999, "share": 0.5, "seconds": 0.0, "policy": "drop", "pair": (2, 5), "text": "-x"},
        [],
    )


def test_every_mistake_is_named_at_once():
    values, problems = read(
        *("--count=0", "--share=inf", "--seconds=x", "--policy=never", "--low-high=3", "--text", "fine")
    )
    assert values == {"text": "fine"}
    assert problems == [
        "--count is '0', want a whole number from 1 to 99999",
        "--share is 'inf', want a number above 0",
        "--seconds is 'x', want a number from 0",
        "--policy is 'never', want keep or drop",
        "--low-high is '3', want LOW-HIGH",
    ]


@pytest.mark.parametrize("text", ["1.5", "1e3", "٣", "1_000", "100000", "-1", ""])
def test_a_whole_number_is_plain_and_within_its_bounds(text):
    assert read(f"--count={text}") == ({}, [f"--count is {text!r}, want a whole number from 1 to 99999"])


def test_the_help_shows_defaults():
    parser = argparse.ArgumentParser()
    add_flags(parser, Example)
    shown = " ".join(parser.format_help().split())
    assert "--count N how many --share X a share --seconds X a time (default: 3600)" in shown
    assert "--policy POLICY a policy (default: keep)" in shown
    assert "--low-high LOW-HIGH two numbers" in shown
    assert "not-a-flag" not in shown


def test_an_object_made_in_another_way_is_checked_too():
    assert list(problems_in(Example(count=5))) == []
    assert list(problems_in(Example(count=True + 1.5, share=float("nan"), policy="x"))) == [
        "--count is 2.5, want a whole number from 1 to 99999",
        "--share is nan, want a number above 0",
        "--policy is 'x', want keep or drop",
    ]
