"""Kinds of values that settings take: how a flag is read, what is valid, and how an error message says so.

    pitch_classes   "D minor", or [2, 4, 5, 7, 9, 10, 0] (0 is C)
    min_step ...    "0.25 beats" or "0.5 seconds"

A setting is a dataclass field made by `setting`; its flag, its checks and its help text all derive from the field's
metadata. None is valid where it is the default: it means "no limit".
"""

from __future__ import annotations

import argparse
import dataclasses
import math
import re
from collections.abc import Callable, Sequence
from typing import Any, TypeGuard

from job_runtime.command_line import numerals

MAX_SECONDS = 21_600.0  # of one piece, six hours: the longest that a MIDI file may be
_TONICS = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}
_SCALES = {"major": (0, 2, 4, 5, 7, 9, 11), "minor": (0, 2, 3, 5, 7, 8, 10)}
_KEY = re.compile(r"([A-G])([#b]?) (major|minor)")
_TIME = re.compile(r"([0-9]+(?:\.[0-9]+)?|[0-9]+/[0-9]+) ?(s|seconds?|beats?)")


@dataclasses.dataclass(frozen=True)
class ValueKind:
    """What a setting's value may be.

    read      turns the text of a flag into a value
    is_valid  whether a value from a flag or a seed list is of this kind
    wanted    completes "want ..." in an error message
    """

    read: Callable[[str], Any]
    is_valid: Callable[[Any], bool]
    wanted: str


def setting(default: Any, kind: ValueKind, help_text: str, *, per_field: bool = False) -> Any:
    """A dataclass field that defines a setting.

    Args:
      per_field: the value may also be a mapping from note fields to such values.
    """
    return dataclasses.field(default=default, metadata={"kind": kind, "help": help_text, "per_field": per_field})


def whole_number(low: int, high: int | None = None) -> ValueKind:
    def is_valid(value: Any) -> bool:
        return is_whole(value) and low <= value <= (2**31 - 1 if high is None else high)

    return ValueKind(int, is_valid, f"a whole number, {low} " + ("or more" if high is None else f"to {high}"))


def number(is_valid: Callable[[float], bool], wanted: str) -> ValueKind:
    return ValueKind(float, lambda value: is_number(value) and is_valid(value), f"a number, {wanted}")


def number_above_0(high: float) -> ValueKind:
    return ValueKind(float, lambda value: is_number(value) and 0 < value <= high, f"a number above 0, at most {high:g}")


def is_whole(value: object) -> TypeGuard[int]:
    """Whether it is a whole number as JSON and argparse give it; True and 1.0 are not."""
    return isinstance(value, int) and not isinstance(value, bool)


def is_number(value: object) -> TypeGuard[float]:
    """Whether it is a finite number; True is not, nor is an integer that no float can hold."""
    return is_whole(value) and abs(value) < 2**63 or isinstance(value, float) and math.isfinite(value)


def pitch_classes(value: str | Sequence[int]) -> frozenset[int]:
    """The pitch classes of a key or a list; 0 is C.

    Raises:
      ValueError: not the name of a key.
    """
    if isinstance(value, str):
        match = _KEY.fullmatch(value)
        if not match:
            raise ValueError(f"{value!r} is not a key")
        tonic = _TONICS[match[1]] + {"": 0, "#": 1, "b": -1}[match[2]]
        return frozenset((tonic + interval) % 12 for interval in _SCALES[match[3]])
    return frozenset(value)


def parse_time(text: str) -> tuple[float, bool]:
    """A number, and whether its unit is beats (otherwise seconds).

    Raises:
      ValueError: not a number with its unit.
    """
    match = _TIME.fullmatch(text)
    if not match:
        raise ValueError(f"{text!r} is not a time")
    numerator, _, denominator = match[1].partition("/")
    if denominator and not int(denominator):
        raise ValueError(f"{text!r} divides by 0")
    return float(numerator) / float(denominator or 1), match[2].startswith("beat")


def _is_time(value: object) -> bool:
    try:
        return isinstance(value, str) and parse_time(value)[0] <= MAX_SECONDS
    except ValueError:
        return False


def _are_whole(value: object, low: int, high: int) -> bool:
    return isinstance(value, list) and len(value) > 0 and all(is_whole(item) and low <= item <= high for item in value)


def _is_key(value: object) -> bool:
    if not isinstance(value, str):
        return _are_whole(value, 0, 11)
    try:
        return bool(pitch_classes(value))
    except ValueError:
        return False


def _read_whole_numbers(text: str) -> list[int]:
    try:
        return [numerals.whole(item) for item in text.split(",")]
    except ValueError:
        raise argparse.ArgumentTypeError("whole numbers such as 0,32") from None


def _read_key(text: str) -> str | list[int]:
    return _read_whole_numbers(text) if text[:1].isdigit() else text


TIME = ValueKind(str, _is_time, "a time such as '0.5 seconds', '0.25 beats' or '1/4 beats'")
KEY = ValueKind(_read_key, _is_key, "a key such as 'D minor' or 'Bb major', or a list of pitch classes, 0 (C) to 11")
PROGRAMS = ValueKind(
    _read_whole_numbers,
    lambda value: _are_whole(value, 0, 128),
    "a list of programs, 0 to 127, and 128 for drums",
)
