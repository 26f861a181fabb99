"""The flags of cleaning, and the rules that they say."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from typing import Any

from job_runtime.command_line import numerals
from midi_codec.cleaning.cleaning_rules import (
    CHOICES,
    MAX_PITCH,
    MAX_PROGRAM,
    NUMBERS,
    WHOLE,
    CleaningRules,
    fits,
    flag,
)
from midi_codec.midi.midi_header import Limits


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
    for name, wanted in NUMBERS.items():
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
        value = numerals.whole(text) if wanted == WHOLE else numerals.number(text)
    except ValueError:
        return None
    return value if fits(value, wanted) else None


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
