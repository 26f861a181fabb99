"""Kinds of values that settings of a piece take.

pitch_classes   "D minor", or [2, 4, 5, 7, 9, 10, 0] (0 is C); as a flag 2,4,5
min_step ...    "0.25 beats" or "0.5 seconds"
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from job_runtime.command_line import numerals
from job_runtime.command_line.settings import Kind, is_whole

MAX_SECONDS = 21_600.0  # of one piece, six hours: the longest that a MIDI file may be
_TONICS = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}
_SCALES = {"major": (0, 2, 4, 5, 7, 9, 11), "minor": (0, 2, 3, 5, 7, 8, 10)}
_KEY = re.compile(r"([A-G])([#b]?) (major|minor)")
_TIME = re.compile(r"([0-9]+(?:\.[0-9]+)?|[0-9]+/[0-9]+) ?(s|seconds?|beats?)")


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


def _read_whole_numbers(text: str) -> str | list[int]:
    try:
        return [numerals.whole(item) for item in text.split(",")]
    except ValueError:
        return text  # which is not valid


def _read_key(text: str) -> str | list[int]:
    return _read_whole_numbers(text) if text[:1].isdigit() else text


TIME = Kind("a time such as '0.5 seconds', '0.25 beats' or '1/4 beats'", _is_time)
KEY = Kind(
    "a key such as 'D minor' or 'Bb major', or a list of pitch classes, 0 (C) to 11, such as 0,2,4", _is_key, _read_key
)
PROGRAMS = Kind(
    "a list of programs, 0 to 127, and 128 for drums, such as 0,32",
    lambda value: _are_whole(value, 0, 128),
    _read_whole_numbers,
)
