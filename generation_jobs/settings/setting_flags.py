"""The command's flags for the settings of a piece, one a setting.

--temperature 0.9      --temperature pitch=0.9,step=1      --pitch-classes "D minor"      --programs 0,32,128
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

from generation_jobs.settings.requests import Settings
from job_runtime.command_line import numerals

DEFAULTS = Settings(min_p={"pitch": 0.05})  # chosen on validation: docs/sampling.md, "The defaults"


def _by_field(read: Callable[[str], Any], wanted: str) -> Callable[[str], Any]:
    def parse(text: str) -> Any:
        try:
            if "=" not in text:
                return read(text)
            pairs = [part.split("=") for part in text.split(",")]
            values = {name.strip(): read(value) for name, value in pairs}
        except ValueError:
            raise argparse.ArgumentTypeError(f"{wanted}, or FIELD={wanted},... with each field once") from None
        if len(values) < len(pairs):
            raise argparse.ArgumentTypeError(f"{wanted}, or FIELD={wanted},... with each field once")
        return values

    return parse


def _whole_numbers(text: str) -> list[int]:
    try:
        return [numerals.whole(part) for part in text.split(",")]
    except ValueError:
        raise argparse.ArgumentTypeError("whole numbers such as 0,32") from None


def _key(text: str) -> str | list[int]:
    return _whole_numbers(text) if text[:1].isdigit() else text


_NUMBER, _WHOLE = _by_field(numerals.number, "a number"), _by_field(numerals.whole, "a whole number")
_FLAGS: tuple[tuple[str, Callable[[str], Any], str], ...] = (
    (
        "temperature",
        _NUMBER,
        "divides the logits: less is safer, 0 takes the likeliest; or by field",
    ),
    (
        "top_k",
        _WHOLE,
        "draw each field from its k likeliest values only; or by field",
    ),
    (
        "top_p",
        _NUMBER,
        "draw each field from the fewest likeliest values of this probability; or by field",
    ),
    (
        "min_p",
        _NUMBER,
        "draw only values this times as likely as the field's likeliest; or by field",
    ),
    ("min_pitch", int, "lowest pitch, 60 is middle C"),
    ("max_pitch", int, "highest pitch"),
    ("pitch_classes", _key, "a key such as 'D minor', or pitch classes such as 0,2,4 (0 is C)"),
    ("programs", _whole_numbers, "instruments such as 0,32; 128 is drums"),
    ("max_polyphony", int, "notes that sound at once, at most"),
    ("min_step", str, "shortest time between onsets, such as '0.25 beats' or '0.1 seconds'"),
    ("max_step", str, "longest time between onsets"),
    ("min_duration", str, "shortest note"),
    ("max_duration", str, "longest note"),
    ("notes_per_second", float, "steer the steps towards so many notes a second"),
    ("repetition_penalty", float, "divides the odds of a pitch once for each time it is among the last 16 notes"),
    ("max_notes", int, "notes to generate at most, the primer's not counted"),
    ("max_seconds", float, "no note starts later than this, counted from the first onset of the primer"),
    ("map_programs", str, "what becomes of the primer's programs: 0:110,128:drop or nearest"),
)


def add(parser: argparse.ArgumentParser) -> None:
    for name, kind, text in _FLAGS:
        default = getattr(DEFAULTS, name)
        shown = "no limit" if default is None else _as_given(default)
        parser.add_argument(f"--{name.replace('_', '-')}", type=kind, default=default, help=f"{text} ({shown})")


def _as_given(value: Any) -> str:
    """As a flag takes it."""
    return ",".join(f"{field}={one}" for field, one in value.items()) if isinstance(value, dict) else str(value)


def settings_of(args: argparse.Namespace) -> Settings:
    return DEFAULTS.override({name: getattr(args, name) for name, *_ in _FLAGS})
