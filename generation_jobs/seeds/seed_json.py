"""Seed lists as JSON Lines: one JSON object per line, in UTF-8; blank lines are skipped."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from generation_jobs.seeds.seed_record import Row
from job_runtime import json_text


def read(text: str) -> Iterator[Row]:
    """The record of each line, or why there is none."""
    for number, line in enumerate(text.split("\n"), 1):  # not splitlines: JSON strings may hold other breaks
        if not line or line.isspace():
            continue
        try:
            record = json_text.parse(line, any_number=True)
        except json_text.JsonError as error:
            yield number, None, error.problems
            continue
        if isinstance(record, dict):
            yield number, record, []
        else:
            yield number, None, [f"the line is a {type(record).__name__}, want a JSON object"]


def serialize(records: Iterable[Mapping[str, Any]]) -> bytes:
    """The list of these records; `read` is the inverse."""
    lines = [json.dumps(record, ensure_ascii=False, separators=(", ", ": ")) for record in records]
    return "".join(f"{line}\n" for line in lines).encode()
