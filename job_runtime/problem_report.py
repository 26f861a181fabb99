"""Mistakes of the user, as sentences: every one when they are few, every kind of mistake when they are many.

Up to `MAX_PROBLEMS` are reported one by one, each with its line number. In a longer list, problems that differ only in
quoted words and numbers are of one kind. The first few of each kind are reported in full, then how many follow and in
which lines.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

MAX_PROBLEMS = 100  # reported one by one
MAX_PER_KIND = 3  # reported in full when there are more
MAX_KINDS = 30
MAX_RANGES = 12  # of line numbers
MAX_CHARACTERS = 400  # per sentence
_VARYING = re.compile(r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|[0-9.e+-]*[0-9]""")

Problem = tuple[int, str]  # line number from 1 (0: the list as a whole), and a sentence


class UserError(Exception):
    """One or more mistakes of the user; each is a sentence with the location, the value, and what was wanted."""

    def __init__(self, problems: str | Iterable[str]):
        self.problems = [problems] if isinstance(problems, str) else list(problems)
        super().__init__("\n".join(self.problems))


def first_few(values: Sequence[object]) -> str:
    """The first five values, and how many more there are."""
    shown = ", ".join(map(str, values[:5]))
    return shown if len(values) <= 5 else f"{shown} and {len(values) - 5} more"


def shorten(text: str, max_characters: int) -> str:
    """The text without its middle, if it is longer than anyone reads."""
    if len(text) <= max_characters:
        return text
    return f"{text[: max_characters // 2]} ... {text[-max_characters // 2 :]}"


def locate(path: str, problem: Problem) -> str:
    """The sentence with its location: `seeds.jsonl:3: temperature is -1, want ...`."""
    line, text = problem
    text = shorten(text, MAX_CHARACTERS)
    return f"{path}:{line}: {text}" if line else f"{path}: {text}"


def sentences(path: str, problems: Sequence[Problem], *, noun: str = "problem") -> list[str]:
    """All problems, or examples of each kind of problem, in the order of their first lines.

    Args:
      noun: what one of them is called in the total.
    """
    if len(problems) <= MAX_PROBLEMS:
        return [locate(path, problem) for problem in problems]
    by_kind: dict[str, list[Problem]] = {}
    for problem in problems:
        by_kind.setdefault(_VARYING.sub("…", problem[1][:MAX_CHARACTERS]), []).append(problem)
    report = [sentence for kind in list(by_kind.values())[:MAX_KINDS] for sentence in _examples(path, kind)]
    num_lines = len({line for line, _ in problems if line})
    kinds = f"{len(by_kind):,} kind{'s' * (len(by_kind) > 1)}"
    total = f"{path}: {len(problems):,} {noun}s of {kinds}" + (f" in {num_lines:,} lines" if num_lines else "")
    if len(by_kind) > MAX_KINDS:
        total += f"; only the first {MAX_KINDS} kinds are shown"
    return [*report, total]


def _examples(path: str, problems: Sequence[Problem]) -> Iterator[str]:
    """The first problems of one kind, then how many follow."""
    yield from (locate(path, problem) for problem in problems[:MAX_PER_KIND])
    more = problems[MAX_PER_KIND:]
    if more:
        lines = [line for line, _ in more if line]
        yield f"{path}: {len(more):,} more like this" + (f", {_ranges(lines)}" if lines else "")


def _ranges(lines: Sequence[int]) -> str:
    """`lines 4 to 9, 12`: each line once; where there are many gaps, the last ranges are left out."""
    ranges: list[list[int]] = []
    for line in sorted(set(lines)):
        if ranges and line == ranges[-1][1] + 1:
            ranges[-1][1] = line
        else:
            ranges.append([line, line])
    shown = ", ".join(str(low) if low == high else f"{low} to {high}" for low, high in ranges[:MAX_RANGES])
    rest = f", ... up to {ranges[-1][1]}" if len(ranges) > MAX_RANGES else ""
    return f"line{'s' * (len(ranges) > 1 or ranges[0][0] < ranges[0][1])} {shown}{rest}"
