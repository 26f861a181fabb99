"""Seed lists as CSV: a header of keys, and a row per seed.

    id,midi,from_note,num_notes,temperature,top_k
    bach,chorale.mid,0,16,0.9,
    free,,,,,null

The keys are those of the JSON form. An empty cell means that the key is absent. `id`, `midi` and `piece_id` are taken
literally; any other cell is read as JSON if it is JSON, so numbers, null, lists and objects are written as in JSON, and
otherwise as text.
"""

from __future__ import annotations

import csv
import functools
import io
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from generation_jobs.seeds.seed_record import KEYS, Row
from job_runtime import json_text

_TEXT_KEYS = frozenset({"id", "midi", "piece_id", "time_signatures", "key_signatures"})


def read(text: str) -> Iterator[Row]:
    """The record of each row, or why there is none; the header is yielded only if something is wrong with it.

    If cells hold line breaks, a row's line is its first one.
    """
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    header: Sequence[str] | None = None
    while True:
        line = reader.line_num + 1
        try:
            cells = next(reader, None)
        except csv.Error as error:
            yield line, None, [f"not CSV: {error}"]
            if reader.line_num < line:  # the reader cannot continue
                return
            continue
        if cells is None:
            return
        if not any(cells):
            continue
        if header is None:
            header = cells
            if problems := list(_header_problems(cells)):
                yield line, None, problems
                return
        elif len(cells) != len(header):
            yield line, None, [f"the row has {len(cells)} cells, want {len(header)} as in the header"]
        else:
            yield line, *_record(header, cells)


def serialize(records: Sequence[Mapping[str, Any]]) -> bytes:
    """The list of these records; `read` is the inverse."""
    given = set[str]().union(*records)
    header = [key for key in KEYS if key in given]
    file = io.StringIO(newline="")
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(header)
    writer.writerows([_cell(key, record[key]) if key in record else "" for key in header] for record in records)
    return file.getvalue().encode()


def _header_problems(header: Sequence[str]) -> Iterable[str]:
    for key in sorted(set(header)):
        if key not in KEYS:
            hint = "; cells are separated by commas" if ";" in key or "\t" in key else ""
            yield f"unknown column {key!r}, want some of {', '.join(KEYS)}{hint}"
        elif header.count(key) > 1:
            yield f"the column {key!r} is given twice"
    if "id" not in header:
        yield "there is no column 'id'; every seed needs one"


def _record(header: Sequence[str], cells: Sequence[str]) -> tuple[dict[str, Any], list[str]]:
    record: dict[str, Any] = {}
    problems = []
    for key, cell in zip(header, cells, strict=True):
        if cell == "":
            continue
        if key in _TEXT_KEYS:
            record[key] = cell
            continue
        try:
            record[key] = _plain_value(cell) if cell[0] not in "{[ " else _value(cell)
        except ValueError as error:
            problems.append(f"{key}: {error}")
    return record, problems


@functools.lru_cache(4096)
def _plain_value(cell: str) -> Any:
    return _value(cell)  # neither a list nor an object, which others could change


def _value(cell: str) -> Any:
    """The JSON value if the cell is JSON, otherwise the text.

    Raises:
      JsonError: the cell begins like a list or an object, but is not valid.
    """
    try:
        return json_text.parse(cell, any_number=True)
    except json_text.JsonError:
        if cell.lstrip()[:1] in ("{", "["):
            raise
        return cell


def _cell(key: str, value: Any) -> str:
    if key in _TEXT_KEYS or key == "track" and isinstance(value, str) and not _is_json(value):
        return value
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _is_json(text: str) -> bool:
    try:
        json_text.parse(text, any_number=True)
    except json_text.JsonError:
        return text[:1] in ("{", "[")
    return True
