"""Seed lists as JSON Lines: one JSON object a line in UTF-8, blank lines between them are skipped."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from generation_jobs.seed_record import Row


def read(text: str) -> Iterator[Row]:
    """The record of each line, or why there is none."""
    for number, line in enumerate(text.split("\n"), 1):  # not splitlines: JSON strings may hold other breaks
        if not line or line.isspace():
            continue
        try:
            record = parse(line)
        except (ValueError, RecursionError) as error:
            yield number, None, [f"not JSON: {error}"]
            continue
        if isinstance(record, dict):
            yield number, record, []
        else:
            yield number, None, [f"the line is a {type(record).__name__}, want a JSON object"]


def parse(text: str) -> Any:
    """One JSON value in which no object has a key twice.

    Raises:
      ValueError: not JSON, NaN or Infinity, or a key given twice. RecursionError: nested too deep.
    """
    value = _QUICK.decode(text)
    if text.count(":") != _num_keys(value):  # more: a string holds a colon, or a key was given twice
        _CAREFUL.decode(text)
    return value


def serialize(records: Iterable[Mapping[str, Any]]) -> bytes:
    """The list of these records; `read` is the inverse."""
    lines = [json.dumps(record, ensure_ascii=False, separators=(", ", ": ")) for record in records]
    return "".join(f"{line}\n" for line in lines).encode()


def _num_keys(value: object) -> int:
    """Keys of all objects in a JSON value; numbers, which are most of it, are passed over at C speed."""
    if isinstance(value, dict):
        return len(value) + sum(_num_keys(item) for item in value.values() if isinstance(item, dict | list))
    if isinstance(value, list):
        kinds = set(map(type, value))
        if kinds == {dict} and not any(isinstance(item, dict | list) for item in value[0].values()):
            return sum(map(len, value))  # as of a list of notes; too few, should a later one hold more, does no harm
        if dict in kinds or list in kinds:
            return sum(map(_num_keys, value))
    return 0


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    record = dict(pairs)
    if len(record) != len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"the key {twice!r} is given twice")
    return record


def _refuse(constant: str) -> float:
    raise ValueError(f"{constant} is not a number")


_QUICK = json.JSONDecoder(parse_constant=_refuse)
_CAREFUL = json.JSONDecoder(object_pairs_hook=_unique, parse_constant=_refuse)
