"""Labels of a piece, such as its composer: texts by name, from outside the notes or computed from them.

A record has them as a JSON object, `dataset_info.json` counts their values. A piece without a value has none:
`UNKNOWN` is the absence of a value, also in what a model is conditioned on.
"""

from __future__ import annotations

import collections
import dataclasses
import functools
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

UNKNOWN = "unknown"
MOST_VALUES = 4096  # of one name that `dataset_info.json` lists
MOST_CHARACTERS = 1000  # of a value
RESERVED = ("piece_id", "group_id", "source", "split", UNKNOWN)  # columns that pieces have anyway
NAME_WANTED = "a letter, then letters, digits or _, at most 64 characters"
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,63}")

Labels = Mapping[str, str]
Counts = Mapping[str, Mapping[str, Mapping[str, int]]]
"""Pieces by name of a label, split and value; a name with more than `MOST_VALUES` values has no splits."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Vocabulary:
    """The values of a label that a model knows, ascending: value i has index i + 1, index 0 is for all others."""

    name: str
    values: tuple[str, ...]

    @property
    def size(self) -> int:
        return 1 + len(self.values)

    @functools.cached_property
    def _indices(self) -> Mapping[str, int]:
        return {value: index for index, value in enumerate(self.values, 1)}

    def index(self, value: str | None) -> int:
        return self._indices.get(value or "", 0)


def name_problem(name: str) -> str | None:
    """Why this cannot be the name of a label."""
    if name.lower() in RESERVED:
        return f"{name!r} is a reserved word, want a name other than {', '.join(RESERVED)}"
    return None if _NAME.fullmatch(name) else f"{name!r} is not the name of a label, want {NAME_WANTED}"


def clean(value: str) -> str:
    """A value as it is kept: without surrounding blanks, and in valid Unicode; empty for none."""
    value = value.strip().encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    return "" if value == UNKNOWN else value


def serialize(labels: Labels) -> bytes:
    """Labels as a record has them; empty without any."""
    return json.dumps(labels, sort_keys=True).encode() if labels else b""


def parse(data: bytes | str) -> dict[str, str]:
    """The inverse of `serialize`.

    Raises:
      ValueError: it is not a JSON object of texts.
    """
    value: Any = json.loads(data) if data else {}
    if not isinstance(value, dict) or not all(isinstance(each, str) for each in value.values()):
        raise ValueError(f"labels are {value!r}, want an object of texts")
    return value


def describe(counts: Counts, num_pieces: int, *, most: int = 20) -> Iterator[str]:
    """A line per label, with its commonest values."""
    for name, by_split in counts.items():
        if not by_split:
            yield f"{name}: more than {MOST_VALUES:,} values, which only the records have"
            continue
        pieces: collections.Counter[str] = collections.Counter()
        for values in by_split.values():
            pieces.update(values)
        shown = [f"{value} {count:,}" for value, count in sorted(pieces.items(), key=lambda item: (-item[1], item[0]))]
        more, without = len(shown) - most, num_pieces - pieces.total()
        shown = [*shown[:most], *([f"{more:,} other values"] if more > 0 else [])]
        yield f"{name}: {', '.join([*shown, *([f'without {without:,}'] if without else [])])}"


class LabelCounts:
    """How many pieces have each value, by split; added in any order."""

    def __init__(self) -> None:
        self._by_name: dict[str, dict[str, collections.Counter[str]]] = {}  # then by value and split
        self._too_many: set[str] = set()

    def add(self, split: str, labels: Labels, count: int = 1) -> None:
        for name, value in labels.items():
            values = self._by_name.setdefault(name, {})
            if name in self._too_many:
                continue
            values.setdefault(value, collections.Counter())[split] += count
            if len(values) > MOST_VALUES:
                self._too_many.add(name)
                values.clear()

    def add_counts(self, counts: Counts) -> None:
        """Adds the `counts` of another object of this class."""
        for name, by_split in counts.items():
            if not by_split:
                self._by_name[name] = {}
                self._too_many.add(name)
            for split, values in by_split.items():
                for value, number in values.items():
                    self.add(split, {name: value}, number)

    def counts(self) -> Counts:
        counts: dict[str, dict[str, dict[str, int]]] = {}
        for name, values in sorted(self._by_name.items()):
            by_split = counts[name] = {}
            for value, splits in sorted(values.items()):
                for split, number in splits.items():
                    by_split.setdefault(split, {})[value] = number
        return counts
