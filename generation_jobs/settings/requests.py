"""What the job asks of the decoder, and what it gets back. Plain data: importing this imports no TensorFlow.

A person's settings of a piece are the fields of `Settings`: flags of the command, and keys of a seed that override
them. Each field's metadata (`value_kinds.setting`) says what is valid, how a flag is read, and its help text.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

from generation_jobs.settings import program_map, value_kinds
from generation_jobs.settings.controls import Controls
from generation_jobs.settings.value_kinds import MAX_SECONDS, ValueKind, setting
from midi_codec.music.notes import Notes

MAX_NOTES = 100_000  # of one generated piece; the decoder holds up to this many notes per slot
MIN_TEMPERATURE, MAX_TEMPERATURE = 0.001, 1000.0  # beyond, a masked value could be drawn, or float32 divide by nothing
FIELDS = ("step", "pitch", "duration", "velocity", "program")  # that a setting may name one by one
_TEMPERATURE = value_kinds.number(
    lambda value: value == 0 or MIN_TEMPERATURE <= value <= MAX_TEMPERATURE,
    f"0 (greedy) or {MIN_TEMPERATURE:g} to {MAX_TEMPERATURE:g}",
)
_MIN_P = value_kinds.number(lambda value: 0 <= value <= 1, "0 (none) to 1")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sampling:
    """How a value is drawn from a field's distribution.

    A setting is one value for all fields, or a mapping from field names; fields that it does not name are unrestricted.

    temperature  divides the logits; 0 means greedy, the likeliest value every time
    top_k        only the k likeliest values of a field may be drawn; None: all
    top_p        only the fewest likeliest values whose total probability reaches this may be drawn; None: all
    min_p        only values at least this times as likely as the likeliest may be drawn; None or 0: all
    """

    temperature: float | Mapping[str, float] = setting(
        1.0, _TEMPERATURE, "divides the logits: less is safer, 0 takes the likeliest; or by field", per_field=True
    )
    top_k: int | Mapping[str, int] | None = setting(
        None,
        value_kinds.whole_number(1),
        "draw each field from its k likeliest values only; or by field",
        per_field=True,
    )
    top_p: float | Mapping[str, float] | None = setting(
        None,
        value_kinds.number_above_0(1),
        "draw each field from the fewest likeliest values of this total probability; or by field",
        per_field=True,
    )
    min_p: float | Mapping[str, float] | None = setting(
        None,
        _MIN_P,
        "draw only values at least this times as likely as the field's likeliest; or by field",
        per_field=True,
    )

    @property
    def is_restricted(self) -> bool:
        """Whether top_k or top_p limits what may be drawn."""
        return self.top_k is not None or self.top_p is not None

    @property
    def has_min_p(self) -> bool:
        """Whether values that are far less likely than the likeliest are excluded."""
        return any(self.min_p.values() if isinstance(self.min_p, Mapping) else (self.min_p,))

    def of_field(self, name: str, field: str, default: float) -> float:
        """A setting's value for a field; `default` where it says nothing about the field."""
        value = getattr(self, name)
        value = value.get(field) if isinstance(value, Mapping) else value
        return default if value is None else value


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Request:
    """One piece to generate.

    key          two uint32, the sample's own random stream
    primer       the notes to continue, on the bundle's grid; None: from silence
    max_notes    how many notes to generate at most, not counting the primer's
    max_seconds  the piece ends before the first note that would start later than this, counted from the
                 first onset of the piece, including the primer; None: no limit
    controls     what the generated notes keep to
    """

    key: tuple[int, int]
    primer: Notes | None
    max_notes: int
    max_seconds: float | None
    sampling: Sampling
    controls: Controls = Controls()


@dataclasses.dataclass(frozen=True, eq=False)
class Result:
    """One generated piece.

    notes             the primer followed by the generated notes, moved so that the first onset is tick 0
    num_primer_notes  how many of `notes` are the primer's; they come first
    log_likelihood    nats, of the generated notes under the model at temperature 1; includes END if it was drawn
    ended             the model ended the piece itself, before any limit did
    """

    notes: Notes
    num_primer_notes: int
    log_likelihood: float
    ended: bool


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings(Controls, Sampling):
    """What a person may choose for a piece: the command's flags, and what a seed overrides of them."""

    max_notes: int = setting(
        300, value_kinds.whole_number(1, MAX_NOTES), "most notes to generate, not counting the primer's"
    )
    max_seconds: float | None = setting(
        None,
        value_kinds.number_above_0(MAX_SECONDS),
        "no note starts later than this, counted from the first onset of the primer",
    )
    map_programs: str | None = setting(
        None,
        ValueKind(str, program_map.is_valid, program_map.WANTED),
        "what becomes of the primer's programs: 0:110,128:drop or nearest",
    )

    @property
    def sampling(self) -> Sampling:
        return Sampling(**{field.name: getattr(self, field.name) for field in dataclasses.fields(Sampling)})

    @property
    def controls(self) -> Controls:
        return Controls(**{field.name: getattr(self, field.name) for field in dataclasses.fields(Controls)})

    def override(self, values: Mapping[str, Any]) -> Settings:
        """A copy with these values, which are valid; whole numbers given for floats become floats."""
        return dataclasses.replace(self, **{name: _converted(name, value) for name, value in values.items()})


SETTINGS = {field.name: field for field in dataclasses.fields(Settings)}
PER_FIELD = tuple(name for name, field in SETTINGS.items() if field.metadata["per_field"])


def _converted(name: str, value: Any) -> Any:
    if value is None or SETTINGS[name].metadata["kind"].read is not float:
        return value
    if isinstance(value, Mapping):
        return {field: float(number) for field, number in value.items()}
    return float(value)


def settings_problems(values: Mapping[str, object]) -> Iterator[str]:
    """Says what is wrong with those of `values` that are settings: `temperature is -1, want ...`."""
    for name, field in SETTINGS.items():
        if name not in values:
            continue
        value, kind = values[name], field.metadata["kind"]
        if name in PER_FIELD and isinstance(value, Mapping):
            if not value or not all(key in FIELDS and kind.is_valid(number) for key, number in value.items()):
                yield f"{name} is {value!r}, want {kind.wanted}, or such a number by field: {', '.join(FIELDS)}"
        elif not (kind.is_valid(value) or value is None and field.default is None):
            yield f"{name} is {value!r}, want {kind.wanted}"
