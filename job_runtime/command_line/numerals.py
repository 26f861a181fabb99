"""Numbers in flags and variables: ASCII only and of limited length. `int` would accept ３, ٣, 1_000 and any length."""

from __future__ import annotations

import re

_WHOLE = re.compile(r"[+-]?[0-9]{1,19}")
_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?|[+-]?inf|nan")


def whole(text: str) -> int:
    """A whole number.

    Raises:
      ValueError: it is not one, or has more than 19 digits.
    """
    if not _WHOLE.fullmatch(text.strip()):
        raise ValueError("want a whole number")
    return int(text)


def number(text: str) -> float:
    """A number; also nan and inf, because the check of the range reports those better.

    Raises:
      ValueError: it is not one.
    """
    if not _NUMBER.fullmatch(text.strip()):
        raise ValueError("want a number")
    return float(text)


def is_index(text: str) -> bool:
    """Whether it is a whole number from 0, without a sign."""
    return text.isascii() and text.isdecimal() and len(text) <= 18
