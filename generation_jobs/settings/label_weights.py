"""The labels of a piece to generate: `composer=Bach`, or between values, `composer=Bach:0.5,Mozart:0.5`.

In a seed list also as JSON: `{"composer": "Bach"}` or `{"composer": {"Bach": 0.5, "Mozart": 0.5}}`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from job_runtime.command_line import numerals
from job_runtime.command_line.settings import Kind, is_number
from job_runtime.problem_report import first_few
from midi_codec.dataset import labels
from midi_codec.dataset.labels import UNKNOWN, Vocabulary
from midi_codec.fields import CATEGORICAL, FieldTable

MAX_GUIDANCE = 20.0
_NEXT = re.compile(r";\s*(?=\w+=)")
_WEIGHTED = re.compile(r"\s*(.+):([0-9.]+)\s*")

Weights = tuple[tuple[str, float], ...]


class Condition(NamedTuple):
    """What a model is told of a piece: weights of each label's values, which add up to 1; and how much it counts."""

    labels: tuple[tuple[str, Weights], ...] = ()
    guidance: float = 1.0

    @property
    def is_guided(self) -> bool:
        return bool(self.labels) and self.guidance != 1.0


NO_CONDITION = Condition()


def condition(label: Mapping[str, Any] | None, guidance: float | None) -> Condition:
    """The condition that valid settings mean; `unknown` is the absence of a label."""
    found = []
    for name, value in sorted((label or {}).items()):
        weights = {value: 1.0} if isinstance(value, str) else value
        total = sum(weights.values())
        known = tuple((own, weight / total) for own, weight in sorted(weights.items()) if own != UNKNOWN)
        if known:
            found.append((name, known))
    return Condition(tuple(found), 1.0 if guidance is None else float(guidance))


def problems(label: Mapping[str, Any] | None, guidance: float | None, table: FieldTable) -> Iterator[str]:
    """Why a model with this table cannot be told this."""
    known = {each.name: each for each in table.labels}
    for name, value in (label or {}).items():
        if name not in known:
            yield f"label names {name!r}, which this model does not know; it knows {', '.join(known) or _NONE_KNOWN}"
            continue
        values = [value] if isinstance(value, str) else list(value)
        yield from (_unknown_value(known[name], own) for own in values if own != UNKNOWN and not known[name].index(own))
    if guidance is None:
        return
    if not condition(label, guidance).labels:
        none = "no label" if label is None else f"none but {UNKNOWN}"
        yield f"guidance is {guidance:g}, which strengthens a label, and there is {none}"
    if any(field.loss != CATEGORICAL for field in table):
        yield "guidance needs classes: want a model trained with --timing-loss categorical"


_NONE_KNOWN = "no labels: want a bundle trained with --condition-on"


def _unknown_value(vocabulary: Vocabulary, value: str) -> str:
    some = first_few([repr(own) for own in vocabulary.values])
    return f"label has {vocabulary.name} {value!r}, which this model does not know; it knows {some}"


def _read(text: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for part in _NEXT.split(text):
        name, _, value = part.partition("=")
        if name.strip() in found:
            raise ValueError(f"which gives {name.strip()} twice, want each label once")
        found[name.strip()] = _read_value(value)
    return found


def _read_value(text: str) -> str | dict[str, float]:
    """A value, or weights of values if all parts between commas have one."""
    parts: Sequence[re.Match[str] | None] = [_WEIGHTED.fullmatch(part) for part in text.split(",")]
    if len(parts) > 1 and all(parts):
        return {part[1]: numerals.number(part[2]) for part in parts if part}
    return text.strip()


def _is_valid(value: object) -> bool:
    if isinstance(value, str):
        try:
            return "=" in value and _is_valid(_read(value))
        except ValueError:
            return False
    return (
        isinstance(value, Mapping)
        and bool(value)
        and all(labels.name_problem(name) is None and _is_value(own) for name, own in value.items())
    )


def _is_value(value: object) -> bool:
    if isinstance(value, Mapping):
        return bool(value) and all(own and is_number(weight) and weight > 0 for own, weight in value.items())
    return isinstance(value, str) and value != ""


LABEL = Kind(
    "labels such as 'composer=Bach', 'composer=Bach:0.5,Mozart:0.5' or 'composer=Bach;year=1722'", _is_valid, _read
)
