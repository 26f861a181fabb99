"""Settings as fields of dataclasses: one definition gives a flag its type, bounds, default and help text.

    max_notes: int = setting(1_000_000, "reject a file with more notes", at_least=1)

`add_flags` adds one flag per setting, `read_flags` turns the flags that were given into values, and `problems_in`
checks the values of an object that was made in another way.
"""

from __future__ import annotations

import argparse
import dataclasses
import math
import types
import typing
from collections.abc import Callable, Iterator
from typing import Any

from job_runtime.command_line import numerals

_KEY = "setting"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Setting:
    """What a field's metadata says of its flag.

    `parse` reads a text that is neither a number nor one of `choices`. It raises ValueError with the end of the
    sentence that begins `--flag is 'text', `.
    """

    help: str
    flag: str = ""  # by default made of the field's name
    metavar: str = ""
    choices: tuple[str, ...] = ()
    at_least: float | None = None
    above: float | None = None
    at_most: float | None = None
    parse: Callable[[str], Any] | None = None


def setting(default: Any = dataclasses.MISSING, help: str = "", **more: Any) -> Any:
    """A dataclass field that is also a flag; `more` as in `Setting`."""
    return dataclasses.field(default=default, metadata={_KEY: Setting(help=help, **more)})


def flag(name: str) -> str:
    """`--min-notes` for `min_notes`."""
    return "--" + name.replace("_", "-")


@dataclasses.dataclass(frozen=True)
class _Flag:
    """A setting with what its field adds."""

    name: str
    kind: type
    default: Any
    setting: Setting

    @property
    def flag(self) -> str:
        return self.setting.flag or flag(self.name)

    @property
    def dest(self) -> str:
        return self.flag.removeprefix("--").replace("-", "_")

    @property
    def help(self) -> str:
        if self.default is None or self.default is dataclasses.MISSING:
            return self.setting.help
        is_whole = isinstance(self.default, float) and self.default.is_integer()
        return f"{self.setting.help} (default: {int(self.default) if is_whole else self.default})"

    @property
    def wanted(self) -> str:
        """What a message says was wanted."""
        limits = self.setting
        if limits.choices:
            return " or ".join(limits.choices)
        words = "a whole number" if self.kind is int else "a number"
        words += f" from {limits.at_least:g}" if limits.at_least is not None else ""
        words += f" above {limits.above:g}" if limits.above is not None else ""
        return words + (f" to {limits.at_most:.15g}" if limits.at_most is not None else "")

    def fits(self, value: Any) -> bool:
        limits = self.setting
        if limits.choices:
            return value in limits.choices
        if self.kind not in (int, float):
            return True
        return (
            math.isfinite(value)
            and (self.kind is float or isinstance(value, int))
            and (limits.at_least is None or value >= limits.at_least)
            and (limits.above is None or value > limits.above)
            and (limits.at_most is None or value <= limits.at_most)
        )

    def read(self, text: str) -> Any:
        """The value of a text.

        Raises:
          ValueError: with the end of the sentence that begins `--flag is 'text', `.
        """
        if self.setting.parse is not None:
            return self.setting.parse(text)
        value: Any = text
        try:
            if self.kind in (int, float):
                value = numerals.whole(text) if self.kind is int else numerals.number(text)
        except ValueError:
            raise ValueError(f"want {self.wanted}") from None
        if not self.fits(value):
            raise ValueError(f"want {self.wanted}")
        return value


def _flags(cls: type) -> Iterator[_Flag]:
    hints = typing.get_type_hints(cls)
    for field in dataclasses.fields(cls):
        if _KEY in field.metadata:
            hint = hints[field.name]
            if isinstance(hint, types.UnionType):
                hint = next(part for part in typing.get_args(hint) if part is not type(None))
            yield _Flag(field.name, typing.get_origin(hint) or hint, field.default, field.metadata[_KEY])


def add_flags(parser: argparse._ActionsContainer, cls: type) -> None:
    """Adds a flag for each setting of a dataclass. Values stay text until `read_flags`, which reports all mistakes."""
    for each in _flags(cls):
        metavar = each.setting.metavar or {int: "N", float: "X"}.get(each.kind, "TEXT")
        parser.add_argument(each.flag, metavar=metavar, help=each.help)


def read_flags(cls: type, args: argparse.Namespace, problems: list[str]) -> dict[str, Any]:
    """The values of the flags that were given, by field name; adds a sentence to `problems` for each that is wrong."""
    values = {}
    for each in _flags(cls):
        text = getattr(args, each.dest)
        if text is None:
            continue
        try:
            values[each.name] = each.read(text)
        except ValueError as error:
            problems.append(f"{each.flag} is {text!r}, {error}")
    return values


def problems_in(settings: Any) -> Iterator[str]:
    """Sentences on an object's values that are out of bounds, or not one of the choices."""
    for each in _flags(type(settings)):
        value = getattr(settings, each.name)
        if value is not None and not each.fits(value):
            shown = repr(value) if each.setting.choices else value
            yield f"{each.flag} is {shown}, want {each.wanted}"
