"""Numbers as text: in flags and variables, and in messages.

What is read is ASCII only and of limited length: `int` would accept ３, ٣, 1_000 and any length.
"""

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


def counted(number: int, noun: str) -> str:
    """`1 group`, `2,000 groups`; for nouns with a plural in -s."""
    return f"{number:,} {noun if number == 1 else noun + 's'}"


def sized(num_bytes: float) -> str:
    """`850 B`, `1.26 MB`, `1,234.5 GB`."""
    for unit in ("B", "kB", "MB"):
        if num_bytes < 1000:
            return f"{num_bytes:.3g} {unit}"
        num_bytes /= 1000
    return f"{num_bytes:,.1f} GB"
