"""A list of pieces, as the report exports it: one id per line, or CSV whose first column is the id.

The id of a piece of a job is the name of its `.mid` file, with or without the suffix; `SEED:SAMPLE`, its path and its
`piece_id` are understood too. The first row may be a header, whose first cell is `piece` or `piece_id`. If the header
has a column `mark`, only rows marked `keep` are selected.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from generation_jobs.output.manifest import Line
from job_runtime import storage
from job_runtime.problem_report import UserError, sentences

HEADERS = ("piece", "piece_id")
MARK = "mark"
MARKS = ("keep", "reject", "")


def select(path: str, lines: Iterable[Line]) -> list[int]:
    """The indices of the lines of a manifest whose pieces the list at `path` names, ascending.

    Raises:
      UserError: as `choose`.
    """
    return choose(path, map(ids_of, lines), "the name of a .mid file or SEED:SAMPLE")


def choose(path: str, ids: Iterable[Iterable[str]], wanted: str) -> list[int]:
    """The indices, ascending, of the pieces that the list at `path` names.

    Args:
      ids: of each piece, all by which a list may name it; read once.
      wanted: completes "want ..." in messages.

    Raises:
      UserError: the list cannot be read or selects nothing; or everything that is wrong with its lines.
    """
    try:
        text = storage.read_bytes(path).decode("utf-8-sig")
    except FileNotFoundError as error:
        raise UserError(f"{path!r} does not exist, want a list of pieces") from error
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path!r} cannot be read: {error}") from error
    problems: list[tuple[int, str]] = []
    named: dict[str, list[int]] = {}  # the numbers of the rows that keep a name
    for number, name, mark in _rows(text):
        if mark not in MARKS:
            problems.append((number, f"{MARK} is {mark!r}, want keep, reject or nothing"))
        elif mark == MARKS[0]:
            named.setdefault(name, []).append(number)
    found: set[str] = set()
    chosen = []
    for index, names in enumerate(ids):
        if here := named.keys() & set(names):
            found |= here
            chosen.append(index)
    for name in named.keys() - found:
        problems += [(number, f"{name!r} is none of the pieces, want {wanted}") for number in named[name]]
    if problems:
        raise UserError(sentences(path, sorted(problems)))
    if not chosen:
        raise UserError(f"{path!r} selects no piece, want at least one")
    return chosen


def stem(line: Mapping[str, Any]) -> str:
    """The id of a piece: the name of its `.mid` file without the suffix."""
    return f"{line['seed_id']}-{line['sample']:05d}"


def ids_of(line: Line) -> Iterator[str]:
    """The names of a piece; none for one that was left out, which has no file."""
    if line["path"] is None:
        return
    name = stem(line)
    yield from (name, f"{name}.mid", f"{line['seed_id']}:{line['sample']}", line["path"], line["piece_id"])


def _rows(text: str) -> Iterator[tuple[int, str, str]]:
    """Line number, id and mark of each row that is not empty."""
    rows = csv.reader(io.StringIO(text, newline=""))
    mark_at: int | None = None
    is_first = True
    for row in rows:
        cells = [cell.strip() for cell in row]
        if not any(cells):
            continue
        if is_first and cells[0].lower() in HEADERS:
            mark_at = cells.index(MARK) if MARK in cells else None
        else:
            yield rows.line_num, cells[0], MARKS[0] if mark_at is None else "".join(cells[mark_at : mark_at + 1])
        is_first = False
