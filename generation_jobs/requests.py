"""What the job asks of the decoder, and what it gets back. Plain data: importing this imports no TensorFlow.

A person's settings of a piece (`Settings`: flags, and what a seed overrides) are checked by one table, `WANTED`.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeGuard

from midi_codec.notes import Notes

MAX_NOTES = 100_000  # of one generated piece; the decoder holds this many notes a slot
MAX_SECONDS = 21_600.0  # of one piece, six hours: as long as a MIDI file may be
_FLOATS = ("temperature", "top_p", "max_seconds")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sampling:
    """How a value is drawn from a field's distribution; the same for every field.

    temperature  divides the logits; 0 means greedy, the likeliest value every time
    top_k        only the k likeliest values of a field may be drawn; None: all
    top_p        only the fewest likeliest values whose probability reaches it may be drawn; None: all
    """

    temperature: float = 1.0
    top_k: int | None = None
    top_p: float | None = None


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Request:
    """One piece to generate.

    key          two uint32, the sample's own random stream
    primer       the notes to continue, on the bundle's grid; None: from silence
    max_notes    how many notes to generate at most, those of the primer not counted
    max_seconds  the piece ends before the first note that would start later than this, counted from the
                 first onset of the piece, the primer's included; None: no such limit
    """

    key: tuple[int, int]
    primer: Notes | None
    max_notes: int
    max_seconds: float | None
    sampling: Sampling


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
class Settings:
    """What a person may choose for a piece: the command's flags, and what a seed overrides of them."""

    temperature: float = 1.0
    top_k: int | None = None
    top_p: float | None = None
    max_notes: int = 300
    max_seconds: float | None = None

    @property
    def sampling(self) -> Sampling:
        return Sampling(temperature=self.temperature, top_k=self.top_k, top_p=self.top_p)

    def override(self, values: Mapping[str, Any]) -> Settings:
        """These settings with others for some, which were checked; whole numbers given for floats become floats."""
        floats = {name: float(values[name]) for name in _FLOATS if values.get(name) is not None}
        return dataclasses.replace(self, **{**values, **floats})


def is_whole(value: object) -> TypeGuard[int]:
    """A whole number as JSON and argparse give it; True and 1.0 are none."""
    return isinstance(value, int) and not isinstance(value, bool)


def is_number(value: object) -> TypeGuard[float]:
    """A finite number; True is none, and neither is an integer beyond the floats."""
    return is_whole(value) and abs(value) < 2**63 or isinstance(value, float) and math.isfinite(value)


# What each setting must be, and how to say so.
WANTED: dict[str, tuple[Callable[[Any], bool], str]] = {
    "temperature": (lambda value: is_number(value) and value >= 0, "a number, 0 (greedy) or more"),
    "top_k": (lambda value: value is None or is_whole(value) and value >= 1, "a whole number, 1 or more"),
    "top_p": (lambda value: value is None or is_number(value) and 0 < value <= 1, "a number above 0, at most 1"),
    "max_notes": (lambda value: is_whole(value) and 1 <= value <= MAX_NOTES, f"a whole number, 1 to {MAX_NOTES}"),
    "max_seconds": (
        lambda value: value is None or is_number(value) and 0 < value <= MAX_SECONDS,
        f"a number above 0, at most {MAX_SECONDS:g}",
    ),
}


def settings_problems(values: Mapping[str, object]) -> Iterator[str]:
    """Says what is wrong with those of `values` that are settings: `temperature is -1, want ...`."""
    for name, (is_right, wanted) in WANTED.items():
        if name in values and not is_right(values[name]):
            yield f"{name} is {values[name]!r}, want {wanted}"
