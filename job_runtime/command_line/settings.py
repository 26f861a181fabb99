"""Settings as fields of dataclasses: one definition gives the flag, its type, bounds, default, help text and docs.

    max_notes: int = setting(1_000_000, "reject a file with more notes", at_least=1)

A field is an int, float, bool, str or `tuple[int, ...]`. `X | None` is optional, and its text is then `none`. With
`per_field`, a value is a number or a mapping from these names to numbers: `pitch=0.9,step=1`. With `auto`, the text
`auto` leaves the value to a rule of the command, as not giving it does; the field's default is for objects of code.

`add_flags` and `read_flags` are for commands, `Setting.parse` is for a value of a file, and `problems_in` and
`problems_with` check values that were made in another way. `scripts/settings_tables.py` writes the tables in docs/.
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import math
import types
import typing
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeGuard

from job_runtime.command_line import flags, numerals

NONE = "none"
AUTO = "auto"
_KEY = "setting"


@dataclasses.dataclass(frozen=True)
class Kind:
    """Values that need more than bounds or choices.

    wanted    completes "want ..." in messages
    is_valid  whether a value is of this kind
    read      the value of a text; ValueError with the end of the sentence that begins `--flag is 'text', `, if that
              can say more than `wanted`. None: as the field's type
    """

    wanted: str
    is_valid: Callable[[Any], bool] = lambda _: True
    read: Callable[[str], Any] | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Setting:
    """A setting; `settings_of` completes it with what its field says: the name, the type and the default."""

    help: str
    group: str = ""  # title in `--help`; empty: what most people need, which comes first
    flag: str = ""
    metavar: str = ""
    choices: tuple[str, ...] = ()
    at_least: float | None = None
    above: float | None = None
    at_most: float | None = None
    below: float | None = None
    multiple_of: int = 1
    kind: Kind | None = None
    per_field: tuple[str, ...] = ()
    default_text: str = ""  # where the field's own default does not say it
    auto: bool = False
    name: str = ""
    type: Any = str
    is_optional: bool = False
    default: Any = None

    @property
    def wanted(self) -> str:
        """What a message says was wanted."""
        words = self.kind.wanted if self.kind else self._plain_wanted()
        words += f", or {NONE}" if self.is_optional and self.default is not None else ""
        return words + (f", or {AUTO}" if self.auto else "")

    def _plain_wanted(self) -> str:
        if self.choices:
            return " or ".join(filter(None, [", ".join(self.choices[:-1]), self.choices[-1]]))
        if self.type not in _NOUNS:
            return "true or false" if self.type is bool else ""
        noun = _NOUNS[self.type] if self.multiple_of == 1 else f"a multiple of {self.multiple_of}"
        return noun + self._range() + (", separated by commas" if self.type is tuple else "")

    def _range(self) -> str:
        low, above, high, below = map(_shown_bound, (self.at_least, self.above, self.at_most, self.below))
        if low and (high or below):
            return f", {low} to {high}" if high else f", at least {low} and below {below}"
        return (f", {low} or more" if low else f" above {above}" if above else "") + (
            f", at most {high}" if high else ""
        )

    def fits(self, value: Any) -> bool:
        """Whether a value has the right type and is within the bounds."""
        if value is None:
            return self.is_optional
        if self.per_field and isinstance(value, Mapping):
            return bool(value) and all(name in self.per_field and self._fits(item) for name, item in value.items())
        return self._fits(value)

    def _fits(self, value: Any) -> bool:
        if self.kind:
            return self.kind.is_valid(value)
        if self.choices:
            return value in self.choices
        if not self._has_type(value):
            return False
        if self.type is tuple:
            return all(map(self._is_within, value))
        return self.type not in _NOUNS or self._is_within(value)

    def _has_type(self, value: Any) -> bool:
        if self.type is tuple:
            return isinstance(value, tuple) and all(map(is_whole, value))
        if self.type in (int, float):
            return is_number(value) and (self.type is float or is_whole(value))
        return isinstance(value, self.type)

    def _is_within(self, number: float) -> bool:
        return (
            (self.at_least is None or number >= self.at_least)
            and (self.above is None or number > self.above)
            and (self.at_most is None or number <= self.at_most)
            and (self.below is None or number < self.below)
            and (self.multiple_of == 1 or number % self.multiple_of == 0)
        )

    def convert(self, value: Any) -> Any:
        """The value of a text, or a value of a file, in the setting's type; its bounds are not checked.

        Raises:
          ValueError: it has another type. The message ends the sentence that begins `name is VALUE, `.
        """
        if value is None or self.is_optional and value == NONE:
            value = None
        elif self.per_field and isinstance(value, str) and "=" in value:
            pairs = [item.partition("=") for item in value.split(",")]
            by_field = {name.strip(): self._convert(item) for name, _, item in pairs}
            return by_field if len(by_field) == len(pairs) else self._refuse(value)
        elif self.per_field and isinstance(value, Mapping):
            return {name: self._convert(item) for name, item in value.items()}
        else:
            return self._convert(value)
        return None if self.is_optional else self._refuse(value)

    def _convert(self, value: Any) -> Any:
        if self.type is tuple and not self.kind and isinstance(value, list | int):  # as YAML has them
            value = ",".join(map(str, value)) if isinstance(value, list) else str(value)
        if isinstance(value, str):
            if self.kind and self.kind.read:
                return self.kind.read(value)
            try:
                value = _READERS[self.type](value)
            except ValueError:
                self._refuse(value)
        elif self.type is float and is_number(value):
            value = float(value)
        if not (self.kind or self._has_type(value) or isinstance(value, float)):  # the bounds exclude nan and inf
            self._refuse(value)
        return value

    def parse(self, value: Any) -> Any:
        """The value of a text, or a value of a file, in the setting's type; `AUTO` where the setting takes it.

        Raises:
          ValueError: it does not fit. The message ends the sentence that begins `name is VALUE, `.
        """
        if self.auto and value == AUTO:
            return AUTO
        converted = self.convert(value)
        return converted if self.fits(converted) else self._refuse(value)

    def _refuse(self, value: Any) -> Any:
        raise ValueError(f"want {self.wanted_of(value)}")

    def wanted_of(self, value: Any) -> str:
        """`wanted`, and the names of the fields if the value names some."""
        names_fields = isinstance(value, Mapping) or isinstance(value, str) and "=" in value
        if not (self.per_field and names_fields):
            return self.wanted
        return f"{self.wanted}, or such a number by field, each once: {', '.join(self.per_field)}"

    @property
    def shown_default(self) -> str:
        """The default as a flag takes it."""
        return self.default_text or (AUTO if self.auto else shown(self.default))

    @property
    def flag_help(self) -> str:
        """For argparse: the help text, what is wanted, and the default."""
        wanted = f"{self.wanted}; " if self.wanted else ""
        return f"{self.help} ({wanted}default: {self.shown_default})".replace("%", "%%")

    @property
    def shown_metavar(self) -> str:
        return self.metavar or {int: "N", float: "X", bool: "TRUE|FALSE", tuple: "N,N"}.get(self.type, "TEXT")


_NOUNS: dict[Any, str] = {int: "a whole number", float: "a number", tuple: "whole numbers"}


def _read_bool(text: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise ValueError
    return text.lower() == "true"


def _read_whole_numbers(text: str) -> tuple[int, ...]:
    return tuple(numerals.whole(item) for item in text.split(",") if item.strip() not in ("", NONE))


_READERS: dict[Any, Callable[[str], Any]] = {
    int: numerals.whole,
    float: numerals.number,
    bool: _read_bool,
    tuple: _read_whole_numbers,
    str: str,
}


_PLAIN = frozenset({str, int, float, bool, type(None)})  # equal values of one type are the same value


def is_whole(value: object) -> TypeGuard[int]:
    """Whether it is a whole number; True and 1.0 are not."""
    return isinstance(value, int) and not isinstance(value, bool)


def is_number(value: object) -> TypeGuard[float]:
    """Whether it is a finite number; True is not, nor is an integer of more than 64 bits."""
    return is_whole(value) and abs(value) < 2**63 or isinstance(value, float) and math.isfinite(value)


def _shown_bound(bound: float | None) -> str:
    return "" if bound is None else f"{bound:.15g}" if isinstance(bound, float) else str(bound)


def shown(value: Any) -> str:
    """A value as flags and YAML files write it."""
    if value is None or isinstance(value, tuple) and not value:
        return NONE
    if isinstance(value, Mapping):
        return ",".join(f"{name}={shown(item)}" for name, item in value.items())
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def setting(default: Any = dataclasses.MISSING, help: str = "", **more: Any) -> Any:
    """A dataclass field that is also a setting; `more` as in `Setting`."""
    return dataclasses.field(default=default, metadata={_KEY: Setting(help=help, **more)})


def same_setting(cls: type, name: str, **more: Any) -> Any:
    """A dataclass field that is the setting of another class; `more` as in `Setting`."""
    field = cls.__dataclass_fields__[name]  # type: ignore[attr-defined]
    return dataclasses.field(default=field.default, metadata={_KEY: dataclasses.replace(field.metadata[_KEY], **more)})


def flag(name: str) -> str:
    """`--min-notes` for `min_notes`."""
    return "--" + name.replace("_", "-")


def as_flags(values: Mapping[str, Any]) -> str:
    """Values of settings by name, as a command takes them."""
    return " ".join(f"{flag(name)} {shown(value)}" for name, value in values.items()) or "the defaults"


def settings_of(owner: Any) -> dict[str, Setting]:
    """The settings of a dataclass, by name; of an object, with its values as defaults."""
    if isinstance(owner, type):
        return _settings_of_class(owner)
    return {
        name: dataclasses.replace(each, default=getattr(owner, name)) for name, each in settings_of(type(owner)).items()
    }


@functools.cache
def _settings_of_class(cls: type) -> dict[str, Setting]:
    hints = typing.get_type_hints(cls)
    settings = {}
    for field in dataclasses.fields(cls):
        if _KEY not in field.metadata:
            continue
        each: Setting = field.metadata[_KEY]
        hint = hints[field.name]
        parts = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
        first = next(part for part in parts if part is not type(None))
        settings[field.name] = dataclasses.replace(
            each,
            name=field.name,
            flag=each.flag or flag(field.name),
            type=typing.get_origin(first) or first,
            is_optional=type(None) in parts,
            default=field.default,
        )
    return settings


def add_flags(parser: argparse._ActionsContainer, owner: Any) -> None:
    """Adds a flag for each setting of a dataclass or object. Values stay text until `read_flags`."""
    for each in settings_of(owner).values():
        group = flags.group_of(parser, each.group)
        action = group.add_argument(each.flag, dest=_dest(each), metavar=each.shown_metavar, help=each.flag_help)
        action.suggested = each.choices or (("true", "false") if each.type is bool else ())  # type: ignore[attr-defined]


def add_number(
    parser: argparse._ActionsContainer,
    flag: str,
    default: float | None,
    help: str,
    *,
    kind: type = int,
    at_least: float | None = None,
    above: float | None = None,
    at_most: float | None = None,
) -> None:
    """Adds a flag that is not a setting: a number, read with the others, with help and messages like a setting's."""
    number = Setting(help=help, type=kind, default=default, at_least=at_least, above=above, at_most=at_most)

    def read(text: str) -> Any:
        try:
            return number.parse(text)
        except ValueError:
            raise argparse.ArgumentTypeError(number.wanted) from None

    parser.add_argument(flag, type=read, default=default, metavar=number.shown_metavar, help=number.flag_help)


def read_flags(owner: Any, args: argparse.Namespace, problems: list[str]) -> dict[str, Any]:
    """The values of the flags that were given, by field name; adds a sentence to `problems` for each that is wrong."""
    values = {}
    for name, each in settings_of(owner).items():
        text = getattr(args, _dest(each), None)
        if text is None:
            continue
        try:
            values[name] = each.parse(text)
        except ValueError as error:
            problems.append(f"{each.flag} is {text!r}, {error}")
    return values


def _dest(each: Setting) -> str:
    return each.flag.removeprefix("--").replace("-", "_")


def problems_in(settings: Any) -> Iterator[str]:
    """Sentences on an object's values that do not fit: `name is VALUE, want ...`."""
    yield from problems_with(type(settings), vars(settings))


def _fits_class(cls: type, name: str, value: Any) -> bool:
    """Whether the value fits the class's setting; many seeds have the same values."""
    return _known_fit(cls, name, value) if type(value) in _PLAIN else settings_of(cls)[name].fits(value)


@functools.lru_cache(4096, typed=True)
def _known_fit(cls: type, name: str, value: Any) -> bool:
    return settings_of(cls)[name].fits(value)


def problems_with(cls: type, values: Mapping[str, Any]) -> Iterator[str]:
    """Sentences on those of the values, by name, that are settings of the class and do not fit; `auto` does not."""
    for name, each in settings_of(cls).items():
        if name in values and not _fits_class(cls, name, values[name]):
            wanted = dataclasses.replace(each, auto=False).wanted_of(values[name])
            yield f"{name} is {values[name]!r}, want {wanted}"
