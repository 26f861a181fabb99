"""What the job asks of the decoder, and what it gets back. Plain data: importing this imports no TensorFlow.

A person's settings of a piece (`Settings`: flags, and what a seed overrides) are checked by one table, `WANTED`.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeGuard

from generation_jobs.settings import program_map
from generation_jobs.settings.controls import (
    MAX_DENSITY,
    MAX_PENALTY,
    MAX_POLYPHONY,
    Controls,
    is_time,
    pitch_classes,
)
from midi_codec.music.notes import Notes

MAX_NOTES = 100_000  # of one generated piece; the decoder holds this many notes a slot
MAX_SECONDS = 21_600.0  # of one piece, six hours: as long as a MIDI file may be
MIN_TEMPERATURE, MAX_TEMPERATURE = 0.001, 1000.0  # beyond, a masked value could be drawn, or float32 divide by nothing
_FLOATS = ("temperature", "top_p", "min_p", "max_seconds", "notes_per_second", "repetition_penalty")
FIELDS = ("step", "pitch", "duration", "velocity", "program")  # that a setting may be given for, one by one
BY_FIELD = ("temperature", "top_k", "top_p", "min_p")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sampling:
    """How a value is drawn from a field's distribution: a number for all fields, or by field's name, others as usual.

    temperature  divides the logits; 0 means greedy, the likeliest value every time
    top_k        only the k likeliest values of a field may be drawn; None: all
    top_p        only the fewest likeliest values whose probability reaches it may be drawn; None: all
    min_p        only values at least this times as likely as the likeliest may be drawn; None or 0: all
    """

    temperature: float | Mapping[str, float] = 1.0
    top_k: int | Mapping[str, int] | None = None
    top_p: float | Mapping[str, float] | None = None
    min_p: float | Mapping[str, float] | None = None

    @property
    def is_restricted(self) -> bool:
        """Whether only so many of the likeliest values may be drawn, or only those of so much probability."""
        return self.top_k is not None or self.top_p is not None

    @property
    def has_min_p(self) -> bool:
        """Whether values may not be drawn for being far less likely than the likeliest."""
        return any(self.min_p.values() if isinstance(self.min_p, Mapping) else (self.min_p,))

    def of_field(self, setting: str, field: str, otherwise: float) -> float:
        """A setting of a field; `otherwise` where it says nothing of it."""
        value = getattr(self, setting)
        value = value.get(field) if isinstance(value, Mapping) else value
        return otherwise if value is None else value


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Request:
    """One piece to generate.

    key          two uint32, the sample's own random stream
    primer       the notes to continue, on the bundle's grid; None: from silence
    max_notes    how many notes to generate at most, those of the primer not counted
    max_seconds  the piece ends before the first note that would start later than this, counted from the
                 first onset of the piece, the primer's included; None: no such limit
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

    notes             the primer and then what was generated, moved so that the first onset is tick 0
    num_primer_notes  how many of `notes` were given, the leading ones
    log_likelihood    nats, of the generated notes under the model at temperature 1; END's included when reached
    ended             the model ended the piece itself, before any limit did
    """

    notes: Notes
    num_primer_notes: int
    log_likelihood: float
    ended: bool


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings(Controls, Sampling):
    """What a person may choose for a piece: the command's flags, and what a seed overrides of them."""

    max_notes: int = 300
    max_seconds: float | None = None
    map_programs: str | None = None  # what becomes of the primer's programs, as `program_map` reads it

    @property
    def sampling(self) -> Sampling:
        return Sampling(**{field.name: getattr(self, field.name) for field in dataclasses.fields(Sampling)})

    @property
    def controls(self) -> Controls:
        return Controls(**{field.name: getattr(self, field.name) for field in dataclasses.fields(Controls)})

    def override(self, values: Mapping[str, Any]) -> Settings:
        """These settings with others for some, which were checked; whole numbers given for floats become floats."""
        floats = {name: _floats(values[name]) for name in _FLOATS if values.get(name) is not None}
        return dataclasses.replace(self, **{**values, **floats})


def _floats(value: float | Mapping[str, float]) -> float | dict[str, float]:
    return {name: float(one) for name, one in value.items()} if isinstance(value, Mapping) else float(value)


def is_whole(value: object) -> TypeGuard[int]:
    """A whole number as JSON and argparse give it; True and 1.0 are none."""
    return isinstance(value, int) and not isinstance(value, bool)


def is_number(value: object) -> TypeGuard[float]:
    """A finite number; True is none, and neither is an integer beyond the floats."""
    return is_whole(value) and abs(value) < 2**63 or isinstance(value, float) and math.isfinite(value)


def _are_whole(value: object, low: int, high: int) -> bool:
    return isinstance(value, list) and len(value) > 0 and all(is_whole(one) and low <= one <= high for one in value)


def _is_key(value: object) -> bool:
    if not isinstance(value, str):
        return _are_whole(value, 0, 11)
    try:
        return bool(pitch_classes(value))
    except ValueError:
        return False


def _is_temperature(value: object) -> bool:
    return is_number(value) and (value == 0 or MIN_TEMPERATURE <= value <= MAX_TEMPERATURE)


def _within(low: int, high: int) -> tuple[Callable[[Any], bool], str]:
    return lambda value: value is None or is_whole(value) and low <= value <= high, f"a whole number, {low} to {high}"


def _number_above_0(high: float) -> tuple[Callable[[Any], bool], str]:
    wanted = f"a number above 0, at most {high:g}"
    return lambda value: value is None or is_number(value) and 0 < value <= high, wanted


_TIME = (lambda value: value is None or is_time(value), "a time such as '0.5 seconds', '0.25 beats' or '1/4 beats'")

# What each setting must be, and how to say so. Those by field: what each number must be.
WANTED: dict[str, tuple[Callable[[Any], bool], str]] = {
    "temperature": (_is_temperature, f"a number, 0 (greedy) or {MIN_TEMPERATURE:g} to {MAX_TEMPERATURE:g}"),
    "top_k": (lambda value: value is None or is_whole(value) and 1 <= value < 2**31, "a whole number, 1 or more"),
    "top_p": _number_above_0(1),
    "min_p": (lambda value: value is None or is_number(value) and 0 <= value <= 1, "a number, 0 (none) to 1"),
    "min_pitch": _within(0, 127),
    "max_pitch": _within(0, 127),
    "pitch_classes": (
        lambda value: value is None or _is_key(value),
        "a key such as 'D minor' or 'Bb major', or a list of pitch classes, 0 (C) to 11",
    ),
    "programs": (
        lambda value: value is None or _are_whole(value, 0, 128),
        "a list of programs, 0 to 127, and 128 for drums",
    ),
    "max_polyphony": _within(1, MAX_POLYPHONY),
    "min_step": _TIME,
    "max_step": _TIME,
    "min_duration": _TIME,
    "max_duration": _TIME,
    "notes_per_second": _number_above_0(MAX_DENSITY),
    "repetition_penalty": (
        lambda value: is_number(value) and 1 <= value <= MAX_PENALTY,
        f"a number, 1 (none) to {MAX_PENALTY:g}",
    ),
    "max_notes": (lambda value: is_whole(value) and 1 <= value <= MAX_NOTES, f"a whole number, 1 to {MAX_NOTES}"),
    "max_seconds": _number_above_0(MAX_SECONDS),
    "map_programs": (lambda value: value is None or program_map.is_right(value), program_map.WANTED),
}


def settings_problems(values: Mapping[str, object]) -> Iterator[str]:
    """Says what is wrong with those of `values` that are settings: `temperature is -1, want ...`."""
    for name, (is_right, wanted) in WANTED.items():
        if name not in values:
            continue
        value = values[name]
        if name in BY_FIELD and isinstance(value, Mapping):
            is_all_right = value and all(
                field in FIELDS and one is not None and is_right(one) for field, one in value.items()
            )
            if not is_all_right:
                yield f"{name} is {value!r}, want {wanted}, or such a number by field: {', '.join(FIELDS)}"
        elif not is_right(value):
            yield f"{name} is {value!r}, want {wanted}"
