"""What may be taken out of a corpus on purpose, and the flags that say so; all of it is off by default.

Policies change the notes of a piece, rules then reject pieces. docs/cleaning.md says what each is for. The largest
number of notes and seconds are not here: `--max-notes` and `--max-seconds` bound every file anyway (`Limits`).
"""

from __future__ import annotations

import argparse
import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from midi_codec import numerals
from midi_codec.midi_header import Limits

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
_WHOLE, _POSITIVE, _NOT_NEGATIVE = "a whole number from 1", "a number above 0", "a number from 0"
_NUMBERS = {
    "min_notes": _WHOLE,
    "max_polyphony": _WHOLE,
    "min_seconds": _POSITIVE,
    "min_density": _POSITIVE,
    "max_density": _POSITIVE,
    "max_silence": _NOT_NEGATIVE,
}


def flag(name: str) -> str:
    """`--min-notes` of `min_notes`."""
    return "--" + name.replace("_", "-")


@dataclasses.dataclass(frozen=True, kw_only=True)
class CleaningRules:
    """Which notes and pieces to leave out; None (or the first choice of a policy) is off.

    min_notes, min_seconds     what a piece must have; seconds from the first onset to the last end
    min_density, max_density   notes a second over that length
    max_silence                seconds without a sounding note between the first onset and the last end
    max_polyphony              notes that sound at once, drums included
    pitch_range                lowest and highest pitch of melodic notes, both allowed
    programs                   General MIDI programs 0 to 127, ascending; `other_programs` says what becomes of the rest
    drum_policy, program_policy, other_programs, sustain_pedal: of CHOICES

    Raises:
      ValueError: rules that cannot be; all of them, a line each.
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
        for name, wanted in _NUMBERS.items():
            value = getattr(self, name)
            if value is not None and not _fits(value, wanted):
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
        """Whether pieces pass unlooked at; the sustain pedal is the reader's matter."""
        return not set(self.to_dict()) - {"sustain_pedal"}

    @property
    def apply_sustain(self) -> bool:
        return self.sustain_pedal == APPLY

    def to_dict(self) -> dict[str, Any]:
        """What is on, as `dataset_info.json` keeps it; `{}` when nothing is."""
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


def _fits(value: float, wanted: str) -> bool:
    if not math.isfinite(value):
        return False
    if wanted == _WHOLE:
        return isinstance(value, int) and value >= 1
    return value > 0 if wanted == _POSITIVE else value >= 0


# ------------------------------------------------------------------------------------------------- flags


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Adds the flags of cleaning as a group; values stay text until `rules_from_args` looks at them."""
    group = parser.add_argument_group("cleaning", "each is off unless given; see docs/cleaning.md")
    add = group.add_argument
    add("--min-notes", metavar="N", help="reject a piece with fewer notes")
    add("--min-seconds", metavar="X", help="reject a shorter piece")
    add("--min-density", metavar="X", help="reject a piece with fewer notes a second")
    add("--max-density", metavar="X", help="reject a piece with more notes a second")
    add("--max-silence", metavar="X", help="reject a piece that is silent for more seconds in one go")
    add("--max-polyphony", metavar="N", help="reject a piece in which more notes sound at once")
    add("--pitch-range", metavar="LOW-HIGH", help="reject a piece with melodic notes outside, such as 21-108")
    add("--programs", metavar="LIST", help="keep only notes of these General MIDI programs, such as 0-7,24 (0 to 127)")
    add("--other-programs", metavar="POLICY", help="of notes outside --programs: drop, or reject the piece (drop)")
    add("--drum-policy", metavar="POLICY", help="keep, drop, only (drums and nothing else), reject (keep)")
    add("--program-policy", metavar="POLICY", help="keep, merge (all melodic programs become 0), family (keep)")
    add("--sustain-pedal", metavar="POLICY", help="ignore, or apply: notes last while the pedal is down (ignore)")


def rules_from_args(args: argparse.Namespace, problems: list[str], *, limits: Limits | None = None) -> CleaningRules:
    """The rules of `add_flags`' flags; what is wrong with them is added to `problems`.

    Args:
      limits: where given, a minimum above the maximum there is a problem too.
    """
    before = len(problems)
    fields: dict[str, Any] = {}
    for name, wanted in _NUMBERS.items():
        text = getattr(args, name)
        if text is not None:
            value = _number(text, wanted)
            if value is None:
                problems.append(f"{flag(name)} is {text!r}, want {wanted}")
            fields[name] = value
    for name in CHOICES:
        if getattr(args, name) is not None:
            fields[name] = getattr(args, name)
    if args.pitch_range is not None:
        fields["pitch_range"] = _pitch_range(args.pitch_range, problems)
    if args.programs is not None:
        fields["programs"] = _programs(args.programs, problems)
    elif args.other_programs is not None:
        problems.append(f"--other-programs is {args.other_programs!r}, which needs --programs")
    problems += _above_limits(fields, limits)
    try:
        rules = CleaningRules(**fields)
    except ValueError as error:
        problems += str(error).splitlines()
        return CleaningRules()
    return rules if len(problems) == before else CleaningRules()


def _number(text: str, wanted: str) -> float | None:
    try:
        value = numerals.whole(text) if wanted == _WHOLE else numerals.number(text)
    except ValueError:
        return None
    return value if _fits(value, wanted) else None


def _pitch_range(text: str, problems: list[str]) -> tuple[int, int] | None:
    parts = text.split("-")
    if len(parts) == 2 and all(numerals.is_index(part) for part in parts):
        low, high = int(parts[0]), int(parts[1])
        if low <= high <= MAX_PITCH:
            return low, high
    problems.append(f"--pitch-range is {text!r}, want LOW-HIGH between 0 and {MAX_PITCH}, such as 21-108")
    return None


def _programs(text: str, problems: list[str]) -> tuple[int, ...] | None:
    found: set[int] = set()
    for part in text.split(","):
        ends = part.strip().split("-")
        if len(ends) > 2 or not all(numerals.is_index(end) for end in ends):
            break
        first, last = int(ends[0]), int(ends[-1])
        if not first <= last <= MAX_PROGRAM:
            break
        found.update(range(first, last + 1))
    else:
        return tuple(sorted(found))
    hint = "; drums are --drum-policy's" if part.strip() == "128" else ""
    problems.append(f"--programs is {text!r}, want numbers and ranges from 0 to {MAX_PROGRAM}, such as 0-7,24{hint}")
    return None


def _above_limits(fields: Mapping[str, Any], limits: Limits | None) -> Sequence[str]:
    pairs = (("min_notes", "max_notes"), ("min_seconds", "max_seconds")) if limits else ()
    return [
        f"{flag(low)} is {fields[low]:g}, above {flag(high)}, which is {getattr(limits, high):g}"
        for low, high in pairs
        if fields.get(low) is not None and fields[low] > getattr(limits, high)
    ]
