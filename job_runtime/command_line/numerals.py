"""Numbers as people write them in flags and variables: plain ASCII. `int` takes ３, ٣ and 1_000 too, and has no end."""

from __future__ import annotations

import re

_WHOLE = re.compile(r"[+-]?[0-9]{1,19}")
_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?|[+-]?inf|nan")


def whole(text: str) -> int:
    """A whole number.

    Raises:
      ValueError: it is none, or one of more than 19 digits.
    """
    if not _WHOLE.fullmatch(text.strip()):
        raise ValueError("want a whole number")
    return int(text)


def number(text: str) -> float:
    """A number; nan and inf too, since whoever wants a number in a range can say so better.

    Raises:
      ValueError: it is none.
    """
    if not _NUMBER.fullmatch(text.strip()):
        raise ValueError("want a number")
    return float(text)


def is_index(text: str) -> bool:
    """Whether it is a whole number from 0, without a sign."""
    return text.isascii() and text.isdecimal() and len(text) <= 18
