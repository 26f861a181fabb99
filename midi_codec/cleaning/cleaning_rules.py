"""The settings of optional cleaning; all of them are off by default.

Policies change the notes of a piece; then rules reject pieces. docs/cleaning.md explains each. The maximum numbers of
notes and seconds are not here, because `--max-notes` and `--max-seconds` limit every file anyway (`Limits`).
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping
from typing import Any

KEEP, DROP, ONLY, REJECT = "keep", "drop", "only", "reject"
MERGE, FAMILY = "merge", "family"
IGNORE, APPLY = "ignore", "apply"
CHOICES = {
    "drum_policy": (KEEP, DROP, ONLY, REJECT),
    "program_policy": (KEEP, MERGE, FAMILY),
    "other_programs": (DROP, REJECT),
    "sustain_pedal": (IGNORE, APPLY),
}
MAX_PITCH = 127
MAX_PROGRAM = 127  # drums have a policy of their own
WHOLE, POSITIVE, NOT_NEGATIVE = "a whole number from 1", "a number above 0", "a number from 0"
NUMBERS = {
    "min_notes": WHOLE,
    "max_polyphony": WHOLE,
    "min_seconds": POSITIVE,
    "min_density": POSITIVE,
    "max_density": POSITIVE,
    "max_silence": NOT_NEGATIVE,
}


def flag(name: str) -> str:
    """The flag of a setting: `--min-notes` for `min_notes`."""
    return "--" + name.replace("_", "-")


@dataclasses.dataclass(frozen=True, kw_only=True)
class CleaningRules:
    """Which notes and pieces to remove; None (or the first choice of a policy) means off.

    min_notes, min_seconds     least size of a piece; seconds from the first onset to the last end
    min_density, max_density   notes per second over that length
    max_silence                seconds without a sounding note between the first onset and the last end
    max_polyphony              notes that sound at the same time, drums included
    pitch_range                lowest and highest allowed pitch of melodic notes
    programs                   General MIDI programs 0 to 127, ascending; `other_programs` decides about the rest
    drum_policy, program_policy, other_programs, sustain_pedal: one of CHOICES

    Raises:
      ValueError: impossible settings; lists all of them, one per line.
    """

    min_notes: int | None = None
    min_seconds: float | None = None
    min_density: float | None = None
    max_density: float | None = None
    max_silence: float | None = None
    max_polyphony: int | None = None
    pitch_range: tuple[int, int] | None = None
    programs: tuple[int, ...] | None = None
    other_programs: str = DROP
    drum_policy: str = KEEP
    program_policy: str = KEEP
    sustain_pedal: str = IGNORE

    def __post_init__(self) -> None:
        if problems := list(self._problems()):
            raise ValueError("\n".join(problems))

    def _problems(self) -> Iterable[str]:
        for name, choices in CHOICES.items():
            if getattr(self, name) not in choices:
                yield f"{flag(name)} is {getattr(self, name)!r}, want {' or '.join(choices)}"
        for name, wanted in NUMBERS.items():
            value = getattr(self, name)
            if value is not None and not fits(value, wanted):
                yield f"{flag(name)} is {value}, want {wanted}"
        if self.min_density and self.max_density and self.min_density > self.max_density:
            yield f"--min-density is {self.min_density:g}, above --max-density, which is {self.max_density:g}"
        if self.pitch_range and not 0 <= self.pitch_range[0] <= self.pitch_range[1] <= MAX_PITCH:
            yield f"--pitch-range is {self.pitch_range}, want LOW-HIGH between 0 and {MAX_PITCH}"
        programs = self.programs
        if programs is not None and not (programs and all(0 <= program <= MAX_PROGRAM for program in programs)):
            yield f"--programs is {programs}, want programs from 0 to {MAX_PROGRAM}"
        if self.drum_policy == ONLY and (programs is not None or self.program_policy != KEEP):
            other = "--programs" if programs is not None else "--program-policy"
            yield f"--drum-policy only leaves no melodic notes, so {other} has none to work on: want one of the two"

    @property
    def is_off(self) -> bool:
        """Whether no piece need be looked at; the sustain pedal is up to the reader of MIDI files."""
        return not set(self.to_dict()) - {"sustain_pedal"}

    @property
    def apply_sustain(self) -> bool:
        return self.sustain_pedal == APPLY

    def to_dict(self) -> dict[str, Any]:
        """The settings that are on, as in `dataset_info.json`; `{}` if none is."""
        fields = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        if self.programs is None:
            del fields["other_programs"]
        fields = {name: value for name, value in fields.items() if value is not None and value != _OFF.get(name)}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in fields.items()}

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> CleaningRules:
        """The inverse of `to_dict`."""
        given: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in fields.items()
        }
        return cls(**given)


_OFF = {"drum_policy": KEEP, "program_policy": KEEP, "sustain_pedal": IGNORE}


def fits(value: float, wanted: str) -> bool:
    if not math.isfinite(value):
        return False
    if wanted == WHOLE:
        return isinstance(value, int) and value >= 1
    return value > 0 if wanted == POSITIVE else value >= 0
