"""A file of labels, CSV or JSON Lines: one column names the source of a piece, the others are its labels.

path,composer,year
Bach/Fugue/bwv_846/Shi05M.mid,Bach,1722
"""

from __future__ import annotations

import csv
import dataclasses
import hashlib
import io
import json
from collections.abc import Iterator, Mapping
from typing import Any

from job_runtime import io_errors, json_text, problem_report, storage
from job_runtime.problem_report import Problem, UserError
from midi_codec.dataset import labels as labels_lib
from midi_codec.dataset.labels import Labels

KEYS = ("source", "path", "file")
Row = tuple[int, Mapping[str, Any]]  # line from 1


@dataclasses.dataclass(frozen=True, eq=False)
class LabelFile:
    """The labels of each source, the names that occur, and 32 hex digits that identify both."""

    rows: Mapping[str, Labels]
    names: frozenset[str]
    digest: str


def read(path: str, key: str | None) -> LabelFile:
    """Reads a file.

    Args:
      key: the column that names the source; None: the first of `KEYS` that there is.

    Raises:
      UserError: everything that is wrong with it.
    """
    try:
        data = storage.read_bytes(path)
    except OSError as error:
        raise UserError(f"--labels {path!r} cannot be read: {io_errors.reason(error)}") from error
    problems: list[Problem] = []
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise UserError(f"{path}:{line}: byte {data[error.start]:#04x} is not UTF-8") from error
    rows = list((_csv_rows if path.lower().endswith(".csv") else _json_rows)(text, problems))
    columns = list(dict.fromkeys(name for _, row in rows for name in row))
    if rows:
        found = next((name for name in ((key,) if key else KEYS) if name in columns), None)
        if found is None and key:
            problems.append((0, f"there is no column {key!r}, want one of {', '.join(columns)} as --labels-key"))
        elif found is None:
            problems.append((0, f"no column names the source, want one of {', '.join(KEYS)}, or --labels-key"))
        names, key = [name for name in columns if name != found], found
        problems += [(0, problem) for problem in map(labels_lib.name_problem, names) if problem]
        if not names:
            problems.append((0, "there are no labels besides the column that names the source"))
    elif not problems:
        problems.append((0, "there is no row, want at least one"))
    by_source = _by_source(rows, key, problems) if rows and key else {}
    if problems:
        raise UserError(problem_report.sentences(path, sorted(problems, key=lambda problem: problem[0])))
    digest = hashlib.sha256(f"{key}\0".encode() + data).hexdigest()[:32]
    return LabelFile(by_source, frozenset(columns) - {key}, digest)


def _by_source(rows: list[Row], key: str, problems: list[Problem]) -> dict[str, Labels]:
    by_source: dict[str, Labels] = {}
    lines: dict[str, int] = {}
    for line, row in rows:
        source = row.get(key)
        if not isinstance(source, str) or not source:
            problems.append((line, f"{key} is {source!r}, want the path of a file below --input"))
            continue
        if source in lines:
            problems.append((line, f"{source!r} has a row already, in line {lines[source]}"))
        lines[source] = line
        labels = {}
        for name, value in row.items():
            if name == key or value is None:
                continue
            if isinstance(value, list | dict):
                problems.append((line, f"{name} is {json_text.shown(value)}, want a text, a number, true or false"))
                continue
            text = labels_lib.clean(value if isinstance(value, str) else json.dumps(value))
            if len(text) > labels_lib.MOST_CHARACTERS:
                most = labels_lib.MOST_CHARACTERS
                problems.append((line, f"{name} has {len(text):,} characters, want at most {most:,}"))
            elif text:
                labels[name] = text
        by_source[source] = labels
    return by_source


def _csv_rows(text: str, problems: list[Problem]) -> Iterator[Row]:
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    header: list[str] = []
    line = 1
    try:
        for cells in reader:
            if not header:
                header = cells
                twice = sorted({name for name in header if header.count(name) > 1})
                problems += [(line, f"the column {name!r} is given twice") for name in twice]
            elif cells and len(cells) != len(header):
                problems.append((line, f"the row has {len(cells)} cells, want {len(header)} as in the header"))
            elif cells:
                yield line, dict(zip(header, cells, strict=True))
            line = reader.line_num + 1
    except csv.Error as error:
        problems.append((line, f"not CSV: {error}"))


def _json_rows(text: str, problems: list[Problem]) -> Iterator[Row]:
    for line, written in enumerate(text.split("\n"), 1):
        if not written.strip():
            continue
        try:
            yield line, json_text.parse(written, Mapping)
        except json_text.JsonError as error:
            problems += [(line, problem) for problem in error.problems]
