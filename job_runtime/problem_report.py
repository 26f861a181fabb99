"""What is wrong with a list, for people: every problem when they are few, and when they are many every kind of them.

Up to `MAX_PROBLEMS` are said one by one, each with its line. Of more, those that differ in quoted words and
numbers alone are one kind: of each kind the first ones are said in full, and then how many follow and in which lines.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

MAX_PROBLEMS = 100  # said one by one
MAX_OF_A_KIND = 3  # said in full when there are more
MAX_KINDS = 30
MAX_RANGES = 12  # of lines
MAX_CHARACTERS = 400  # of one sentence
_VARYING = re.compile(r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|[0-9.e+-]*[0-9]""")

Problem = tuple[int, str]  # line number from 1 (0: the list as a whole), and a sentence


def place(path: str, problem: Problem) -> str:
    """The sentence for people: `seeds.jsonl:3: temperature is -1, want ...`; a very long one loses its middle."""
    line, text = problem
    if len(text) > MAX_CHARACTERS:
        text = f"{text[: MAX_CHARACTERS // 2]} ... {text[-MAX_CHARACTERS // 2 :]}"
    return f"{path}:{line}: {text}" if line else f"{path}: {text}"


def sentences(path: str, problems: Sequence[Problem], *, noun: str = "problem") -> list[str]:
    """All problems, or what there is of each kind of them, in the order of their first lines.

    Args:
      noun: what one of them is called where they are counted.
    """
    if len(problems) <= MAX_PROBLEMS:
        return [place(path, problem) for problem in problems]
    kinds: dict[str, list[Problem]] = {}
    for problem in problems:
        kinds.setdefault(_VARYING.sub("…", problem[1][:MAX_CHARACTERS]), []).append(problem)
    found = [sentence for kind in list(kinds.values())[:MAX_KINDS] for sentence in _of_a_kind(path, kind)]
    lines = {line for line, _ in problems}
    total = f"{path}: {len(problems):,} {noun}s of {len(kinds):,} kind{'s' * (len(kinds) > 1)} in {len(lines):,} lines"
    if len(kinds) > MAX_KINDS:
        total += f"; of the first {MAX_KINDS} kinds some are shown"
    return [*found, total]


def _of_a_kind(path: str, problems: Sequence[Problem]) -> Iterator[str]:
    yield from (place(path, problem) for problem in problems[:MAX_OF_A_KIND])
    more = problems[MAX_OF_A_KIND:]
    if more:
        yield f"{path}: {len(more):,} more like this, {_ranges([line for line, _ in more])}"


def _ranges(lines: Sequence[int]) -> str:
    """`lines 4 to 9, 12`: each line once, the last ones left out where there are many gaps."""
    ranges: list[list[int]] = []
    for line in sorted(set(lines)):
        if ranges and line == ranges[-1][1] + 1:
            ranges[-1][1] = line
        else:
            ranges.append([line, line])
    shown = ", ".join(str(low) if low == high else f"{low} to {high}" for low, high in ranges[:MAX_RANGES])
    rest = f" and on to {ranges[-1][1]}" if len(ranges) > MAX_RANGES else ""
    return f"line{'s' * (len(ranges) > 1 or ranges[0][0] < ranges[0][1])} {shown}{rest}"
