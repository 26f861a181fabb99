"""The command's flags for the settings of a piece, one per setting.

--temperature 0.9      --temperature pitch=0.9,step=1      --pitch-classes "D minor"      --programs 0,32,128
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

from generation_jobs.settings.requests import PER_FIELD, SETTINGS, Settings
from job_runtime.command_line import numerals

DEFAULTS = Settings(min_p={"pitch": 0.05})  # chosen on validation: docs/sampling.md, "The defaults"
_NUMBERS: dict[Any, tuple[Callable[[str], Any], str]] = {
    int: (numerals.whole, "a whole number"),
    float: (numerals.number, "a number"),
}


def add(parser: argparse.ArgumentParser) -> None:
    for name, field in SETTINGS.items():
        read = field.metadata["kind"].read
        default = getattr(DEFAULTS, name)
        shown = "no limit" if default is None else _as_given(default)
        parser.add_argument(
            f"--{name.replace('_', '-')}",
            type=_per_field(*_NUMBERS[read]) if name in PER_FIELD else read,
            default=default,
            help=f"{field.metadata['help']} ({shown})",
        )


def settings_of(args: argparse.Namespace) -> Settings:
    return DEFAULTS.override({name: getattr(args, name) for name in SETTINGS})


def _per_field(read: Callable[[str], Any], wanted: str) -> Callable[[str], Any]:
    """Reads one number, or a number per field: `pitch=0.9,step=1`."""

    def parse(text: str) -> Any:
        try:
            if "=" not in text:
                return read(text)
            pairs = [pair.split("=") for pair in text.split(",")]
            values = {name.strip(): read(value) for name, value in pairs}
        except ValueError:
            raise argparse.ArgumentTypeError(f"{wanted}, or FIELD={wanted},... with each field once") from None
        if len(values) < len(pairs):
            raise argparse.ArgumentTypeError(f"{wanted}, or FIELD={wanted},... with each field once")
        return values

    return parse


def _as_given(value: Any) -> str:
    """As a flag takes it."""
    return ",".join(f"{field}={number}" for field, number in value.items()) if isinstance(value, dict) else str(value)
