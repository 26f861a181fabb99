"""Settings as fields of dataclasses: their flags, their values, and what is said of wrong ones."""

import argparse
import dataclasses
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from job_runtime.command_line import settings
from job_runtime.command_line.settings import (
    Kind,
    add_flags,
    problems_in,
    problems_with,
    read_flags,
    same_setting,
    setting,
    settings_of,
)


def parse_pair(text: str) -> tuple[int, ...]:
    if text.count("-") != 1:
        raise ValueError("want LOW-HIGH")
    return tuple(map(int, text.split("-")))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Example:
    not_a_flag: int = 1
    count: int = setting(help="how many", at_least=1, at_most=99_999, default_text="one per input")
    share: float | None = setting(None, "a share of 100%", above=0)
    seconds: float = setting(3600.0, "a time", at_least=0)
    chance: float = setting(0.5, "a chance", at_least=0, below=1)
    width: int = setting(16, "a width", at_least=16, at_most=64, multiple_of=16)
    patience: int | None = setting(8, "when to stop", at_least=1)
    policy: str = setting("keep", "a policy", metavar="POLICY", choices=("keep", "drop", "only"))
    is_fast: bool = setting(False, "be fast")
    ticks: tuple[int, ...] = setting((), "ticks", at_least=1, at_most=96)
    pair: tuple[int, int] | None = setting(
        None, "two numbers", flag="--low-high", metavar="LOW-HIGH", kind=Kind("LOW-HIGH", read=parse_pair)
    )
    speed: int = setting(3, "a speed", group="speed", at_least=1)
    heat: float | Mapping[str, float] = setting(1.0, "heat", above=0, at_most=9, per_field=("step", "pitch"))
    text: str | None = setting(None, "any text")


GOOD = Example(count=5)


def read(*argv: str) -> tuple[dict, list[str]]:
    parser = argparse.ArgumentParser()
    add_flags(parser, Example)
    problems: list[str] = []
    return read_flags(Example, parser.parse_args(argv), problems), problems


def test_values_have_the_types_of_their_fields():
    values, problems = read(
        *("--count", "99999", "--share", "0.5", "--seconds", "0", "--policy", "drop", "--low-high", "2-5", "--text=-x"),
        *("--patience", "none", "--is-fast", "True", "--ticks", "24,48", "--heat", "pitch=2, step=0.5"),
    )
    assert problems == []
    assert values == {
        "count": 99_999,
        "share": 0.5,
        "seconds": 0.0,
        "policy": "drop",
        "pair": (2, 5),
        "text": "-x",
        "patience": None,
        "is_fast": True,
        "ticks": (24, 48),
        "heat": {"pitch": 2.0, "step": 0.5},
    }
    assert read("--ticks=none", "--heat=2") == ({"ticks": (), "heat": 2.0}, [])  # only flags that were given


def test_settings_are_in_the_groups_that_they_name():
    parser = argparse.ArgumentParser()
    add_flags(parser, Example)
    groups = {group.title: [action.dest for action in group._group_actions] for group in parser._action_groups}
    assert groups["speed"] == ["speed"] and "speed" not in groups["options"]
    suggested = {action.dest: getattr(action, "suggested", None) for action in parser._actions}
    assert suggested["policy"] == ("keep", "drop", "only") and suggested["is_fast"] == ("true", "false")
    assert suggested["count"] == () and suggested["help"] is None


def test_every_mistake_is_named_at_once():
    values, problems = read(
        *("--count=0", "--share=inf", "--seconds=x", "--chance=1", "--width=24", "--patience=0", "--policy=never"),
        *("--is-fast=1", "--ticks=0,1", "--low-high=3", "--heat=pich=1", "--text", "fine"),
    )
    assert values == {"text": "fine"}
    assert problems == [
        "--count is '0', want a whole number, 1 to 99999",
        "--share is 'inf', want a number above 0",
        "--seconds is 'x', want a number, 0 or more",
        "--chance is '1', want a number, at least 0 and below 1",
        "--width is '24', want a multiple of 16, 16 to 64",
        "--patience is '0', want a whole number, 1 or more, or none",
        "--policy is 'never', want keep, drop or only",
        "--is-fast is '1', want true or false",
        "--ticks is '0,1', want whole numbers, 1 to 96, separated by commas",
        "--low-high is '3', want LOW-HIGH",
        "--heat is 'pich=1', want a number above 0, at most 9, or such a number by field, each once: step, pitch",
    ]


@pytest.mark.parametrize(
    ("flag", "texts"),
    [
        ("--heat", ["pitch=1,pitch=2", "pitch=0", "pitch=1=2", "=1", "pitch=", "pitch=1,", "10", "x"]),
        ("--count", ["1.5", "1e3", "٣", "1_000", "100000", "-1", "", "none"]),
    ],
)
def test_what_is_no_value(flag, texts):
    for text in texts:
        values, problems = read(f"{flag}={text}")
        assert values == {} and problems[0].startswith(f"{flag} is {text!r}, want a ")


@given(st.floats() | st.integers() | st.booleans() | st.text() | st.none())
def test_what_fits_is_a_number_within_its_bounds(value):
    found = settings_of(Example)
    is_number = type(value) in (int, float)  # but not bool
    assert found["chance"].fits(value) == (is_number and 0 <= value < 1)
    assert found["heat"].fits(value) == (is_number and 0 < value <= 9)
    assert found["width"].fits(value) == (type(value) is int and value in (16, 32, 48, 64))
    assert found["patience"].fits(value) == (value is None or type(value) is int and 1 <= value < 2**63)


@given(st.from_type(Example))
def test_what_is_shown_is_read_again(example):
    for name, each in settings_of(Example).items():
        value = getattr(example, name)
        if each.kind is None and each.fits(value) and name != "text":
            assert each.parse(settings.shown(value)) == value


def test_a_value_of_a_file_has_the_type_of_its_field():
    found = settings_of(Example)
    assert [found["ticks"].parse(value) for value in ([24], 24, [], "24, 48,")] == [(24,), (24,), (), (24, 48)]
    assert repr(found["seconds"].parse(7)) == "7.0" and found["seconds"].parse("1e-4") == 1e-4
    assert found["heat"].parse({"pitch": 1}) == {"pitch": 1.0}
    for name, value in (
        ("count", 2.0),
        ("seconds", True),
        ("is_fast", 1),
        ("ticks", [0.5]),
        ("policy", 1),
        ("width", [16]),
    ):
        with pytest.raises(ValueError, match=f"^want {found[name].wanted}$"):
            found[name].parse(value)


def test_the_help_shows_what_is_wanted_and_the_default():
    parser = argparse.ArgumentParser()
    add_flags(parser, Example)
    shown = " ".join(parser.format_help().split())
    assert "--count N how many (a whole number, 1 to 99999; default: one per input)" in shown
    assert "--share X a share of 100% (a number above 0; default: none)" in shown
    assert "--policy POLICY a policy (keep, drop or only; default: keep)" in shown
    assert "--text TEXT any text (default: none)" in shown
    assert "not-a-flag" not in shown


def test_an_object_gives_other_defaults():
    found = settings_of(dataclasses.replace(GOOD, heat={"pitch": 0.5, "step": 2.0}, is_fast=True))
    assert [found[name].shown_default for name in ("heat", "is_fast", "seconds")] == [
        "pitch=0.5,step=2",
        "true",
        "3600",
    ]


def test_an_object_made_in_another_way_is_checked_too():
    assert list(problems_in(GOOD)) == []
    assert list(problems_in(Example(count=True + 1.5, share=float("nan"), policy="x", ticks=(0,), heat={}))) == [
        "count is 2.5, want a whole number, 1 to 99999",
        "share is nan, want a number above 0",
        "policy is 'x', want keep, drop or only",
        "ticks is (0,), want whole numbers, 1 to 96, separated by commas",
        "heat is {}, want a number above 0, at most 9, or such a number by field, each once: step, pitch",
    ]


def test_a_setting_of_two_classes_is_one():
    @dataclasses.dataclass(frozen=True)
    class Other:
        width: int = same_setting(Example, "width")

    assert settings_of(Other)["width"] == settings_of(Example)["width"] and Other().width == 16


@dataclasses.dataclass(frozen=True, kw_only=True)
class Planned:
    width: int = same_setting(Example, "count", auto=True)
    wait: float | None = setting(2.0, "seconds", above=0, auto=True)
    lags: tuple[int, ...] = setting((), "ticks", at_least=1, auto=True)
    plain: int = setting(3, "apples", at_least=1)


def test_auto_is_a_value_of_a_flag_and_not_of_an_object():
    found = settings_of(Planned)
    assert [each.shown_default for each in found.values()] == ["one per input", "auto", "auto", "3"]
    assert [each.wanted for each in found.values()] == [
        "a whole number, 1 to 99999, or auto",
        "a number above 0, or none, or auto",
        "whole numbers, 1 or more, separated by commas, or auto",
        "a whole number, 1 or more",
    ]
    assert [found[name].parse("auto") for name in ("width", "wait", "lags")] == ["auto"] * 3
    assert (found["wait"].parse("none"), found["lags"].parse([4, 8])) == (None, (4, 8))
    with pytest.raises(ValueError, match="want a whole number, 1 or more$"):
        found["plain"].parse("auto")
    assert list(problems_in(Planned(width="auto", wait=0.0))) == [
        "width is 'auto', want a whole number, 1 to 99999",
        "wait is 0.0, want a number above 0, or none",
    ]


@pytest.mark.parametrize("value, fits", [(1, True), (True, False), (1.0, False), (1, True), (0, False), (False, False)])
def test_equal_values_of_different_types_are_checked_separately(value, fits):
    assert (list(problems_with(Example, {"count": value})) == []) == fits
