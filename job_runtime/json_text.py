"""JSON that others may have written or damaged: parsed and checked, with every problem and its place.

What is no JSON, gives a key twice, is nested deep, or holds NaN, an integer beyond 64 bits or half a character, is
refused; what has a shape other than its reader wants, too. A shape is a type: of the built-in ones, `tuple[int, ...]`,
`Mapping[str, int]`, `Literal`, a union, a dataclass (no key but its fields) or a TypedDict (other keys may stand beside
its own). `Annotated[int, Wanted(test, "what")]` narrows one.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import math
import re
import reprlib
import types
import typing
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from job_runtime import storage
from job_runtime.command import UserError

MAX_DEPTH = 64
MAX_PROBLEMS = 20  # of one file that are told
LOWEST, HIGHEST = -(2**63), 2**63 - 1


class JsonError(ValueError):
    """Text that is not JSON as we want it; `problems` are sentences without the file's name."""

    def __init__(self, problems: list[str]):
        more = len(problems) - MAX_PROBLEMS
        self.problems = problems if more <= 0 else [*problems[:MAX_PROBLEMS], f"and {more} more problems"]
        super().__init__("; ".join(self.problems))


@dataclasses.dataclass(frozen=True)
class Wanted:
    """A test that a value of a type must pass as well, and what to call such values."""

    test: Callable[[Any], bool]
    text: str


def load(path: str, kind: Any = Any) -> Any:
    """The JSON value in a file.

    Raises:
      FileNotFoundError: there is none. UserError: it cannot be read; everything that is wrong with it.
    """
    try:
        return parse(storage.read_bytes(path), kind)
    except JsonError as error:
        raise UserError(f"{path}: {problem}" for problem in error.problems) from error
    except FileNotFoundError:
        raise
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror or error}") from error


def load_lines(path: str, kind: Any = Any, *, allow_nan: bool = False) -> list[Any]:
    """The values in a file of JSON Lines.

    Raises:
      FileNotFoundError: there is none. UserError: it cannot be read; everything that is wrong with it, with lines.
    """
    values, problems = [], []
    try:
        text = _decode(storage.read_bytes(path))
    except FileNotFoundError:
        raise
    except (JsonError, OSError) as error:
        raise UserError(f"{path}: cannot be read: {error}") from error
    for number, line in enumerate(text.removesuffix("\n").split("\n") if text else (), 1):
        try:
            values.append(parse(line, kind, allow_nan=allow_nan))
        except JsonError as error:
            problems += [f"{path}:{number}: {problem}" for problem in error.problems]
    if problems:
        raise UserError(JsonError(problems).problems)
    return values


def parse(data: bytes | str, kind: Any = Any, *, allow_nan: bool = False, any_number: bool = False) -> Any:
    """One JSON value of a shape. `allow_nan` is for figures that may have none, `any_number` for a reader that looks at
    each number itself, and can say what it wants.

    Raises:
      JsonError: everything that is wrong with it.
    """
    text = _decode(data) if isinstance(data, bytes) else data
    try:
        value = _WITH_NAN.decode(text) if allow_nan else _QUICK.decode(text)
        if text.count(":") != _num_keys(value):  # more: a string holds one, or a key was given twice
            _UNIQUE.decode(text)
    except RecursionError:
        raise JsonError([f"is nested too deep, want at most {MAX_DEPTH} levels"]) from None
    except ValueError as error:
        if "integer string conversion" in str(error):
            raise JsonError([f"an integer has thousands of digits, want {LOWEST} to {HIGHEST}"]) from None
        raise JsonError([f"not JSON: {error}"]) from error
    if found := list(_beyond(value, any_number or allow_nan)) if _SUSPECT.search(text) else []:
        raise JsonError(found)
    if found := list(problems(value, kind)):
        raise JsonError(found)
    return value


def problems(value: Any, kind: Any, place: str = "") -> Iterator[str]:
    """Where a JSON value is not of a shape: `splits.train.num_notes is '5', want a whole number`."""
    if kind is Any:
        return
    origin, arguments = _taken_apart(kind)
    if origin is typing.Annotated:
        found = list(problems(value, arguments[0], place))
        yield from found
        if not found:
            yield from (_said(place, value, check.text) for check in arguments[1:] if not check.test(value))
    elif origin is types.UnionType:
        if value is None and type(None) in arguments:
            return
        others = [one for one in arguments if one is not type(None)]
        if len(others) == 1:
            yield from problems(value, others[0], place)
        elif all(any(problems(value, one, place)) for one in others):
            yield _said(place, value, name(kind))
    elif origin is typing.Literal:
        if not any(value == one and type(value) is type(one) for one in arguments):
            yield _said(place, value, name(kind))
    elif origin in (list, tuple):
        yield from _in_list(value, arguments[0] if arguments else Any, place)
    elif origin in (dict, Mapping):
        if not isinstance(value, dict):
            yield _said(place, value, "an object")
        elif len(arguments) == 2 and arguments[1] is not Any:
            for key, item in value.items():
                yield from problems(item, arguments[1], _below(place, key))
    elif dataclasses.is_dataclass(kind) or typing.is_typeddict(kind):
        yield from _in_object(value, kind, place)
    elif not _is(value, kind):
        yield _said(place, value, name(kind))


def name(kind: Any) -> str:
    """What people call a shape."""
    origin, arguments = _taken_apart(kind)
    if origin is typing.Annotated:
        return arguments[1].text
    if origin is typing.Literal:
        return " or ".join(json.dumps(one) for one in arguments)
    if origin is types.UnionType:
        return " or ".join(map(name, arguments))
    return _NAMES.get(origin, "an object")


def shown(value: Any) -> str:
    """A value as messages have it: as Python writes it, and never long."""
    try:
        return _SHORT.repr(value)
    except (RecursionError, ValueError):  # the latter of an integer with thousands of digits
        return f"a {type(value).__name__}"


def _in_list(value: Any, kind: Any, place: str) -> Iterator[str]:
    if not isinstance(value, list | tuple):
        yield _said(place, value, "a list")
    elif kind in _EXACT and set(map(type, value)) <= _EXACT[kind]:
        return  # numbers, at C speed
    elif kind is not Any:
        for index, item in enumerate(value):
            yield from problems(item, kind, f"{place}[{index}]")


def _in_object(value: Any, kind: Any, place: str) -> Iterator[str]:
    if not isinstance(value, dict):
        yield _said(place, value, "an object")
        return
    kinds, required = _fields(kind)
    for key in sorted(required - value.keys()):
        yield f"{_below(place, key)} is missing, want {name(kinds[key])}"
    if dataclasses.is_dataclass(kind):
        for key in sorted(value.keys() - kinds.keys()):
            yield f"{_below(place, key)} is not known, want of keys only {', '.join(kinds)}"
    for key, item in value.items():
        if key in kinds:
            yield from problems(item, kinds[key], _below(place, key))


@functools.cache
def _fields(kind: Any) -> tuple[dict[str, Any], frozenset[str]]:
    """The shapes of an object's keys, and the keys that must be there."""
    hints = typing.get_type_hints(kind, include_extras=True)
    if typing.is_typeddict(kind):
        return hints, frozenset(kind.__required_keys__)
    fields = dataclasses.fields(kind)
    has_none = dataclasses.MISSING
    required = {field.name for field in fields if field.default is has_none and field.default_factory is has_none}
    return {field.name: hints[field.name] for field in fields}, frozenset(required)


@functools.cache
def _taken_apart(kind: Any) -> tuple[Any, tuple[Any, ...]]:
    origin = typing.get_origin(kind)
    if hasattr(kind, "__metadata__"):
        return typing.Annotated, (kind.__origin__, *kind.__metadata__)
    if origin is typing.Union:
        origin = types.UnionType
    return origin or kind, typing.get_args(kind)


def _is(value: Any, kind: type) -> bool:
    if kind is float:
        return type(value) in (int, float)
    return type(value) is kind  # True is no integer


def _said(place: str, value: Any, wanted: str) -> str:
    return f"{place or 'it'} is {shown(value)}, want {wanted}"


def _below(place: str, key: str) -> str:
    key = key if len(key) <= 60 else f"{key[:57]}..."
    return f"{place}.{key}" if place else key


def _decode(data: bytes) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise JsonError([f"line {line}: byte {data[error.start]:#04x} is not UTF-8, want JSON in UTF-8"]) from error


def _num_keys(value: object, depth: int = 1) -> int:
    """Keys of all objects in a JSON value; numbers, which are most of it, are passed over at C speed."""
    if not isinstance(value, dict | list):
        return 0
    if depth > MAX_DEPTH:
        raise RecursionError
    if isinstance(value, dict):
        inner = [item for item in value.values() if isinstance(item, dict | list)]
        return len(value) + sum(_num_keys(item, depth + 1) for item in inner)
    kinds = set(map(type, value))
    if kinds == {dict} and not any(isinstance(item, dict | list) for item in value[0].values()):
        return sum(map(len, value))  # as of a list of notes; too few, should a later one hold more, does no harm
    if dict in kinds or list in kinds:
        return sum(_num_keys(item, depth + 1) for item in value)
    return 0


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    record = dict(pairs)
    if len(record) != len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise ValueError(f"the key {shown(twice)} is given twice")
    return record


def _beyond(value: Any, any_number: bool, place: str = "") -> Iterator[str]:
    """Numbers beyond 64 bits, and halves of characters; those that stand for the bytes of a file's name are right."""
    if isinstance(value, str):
        if _HALF.search(value):
            yield _said(place, value, "text without half a character (a lone surrogate)")
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _beyond(key, any_number, place)
            yield from _beyond(item, any_number, _below(place, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _beyond(item, any_number, f"{place}[{index}]")
    elif not any_number and isinstance(value, int | float) and not LOWEST <= value <= HIGHEST:
        wanted = f"an integer, {LOWEST} to {HIGHEST}" if isinstance(value, int) else "a number that is not too large"
        if isinstance(value, int) or math.isinf(value):
            yield _said(place, value, wanted)


def _refuse(constant: str) -> float:
    raise ValueError(f"{constant} is not a number")


_SUSPECT = re.compile(r"[0-9]{19}|[0-9][eE]\+?[0-9]{3}|\\u[dD][89a-fA-F]")
_HALF = re.compile("[\ud800-\udc7f\udd00-\udfff]")
_QUICK = json.JSONDecoder(parse_constant=_refuse)
_WITH_NAN = json.JSONDecoder()
_UNIQUE = json.JSONDecoder(object_pairs_hook=_unique)
_EXACT: dict[Any, set[type]] = {int: {int}, float: {int, float}, str: {str}, bool: {bool}}
_NAMES: dict[Any, str] = {
    int: "a whole number",
    float: "a number",
    str: "text",
    bool: "true or false",
    type(None): "null",
    list: "a list",
    tuple: "a list",
}
_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = 80
_SHORT.maxdict = _SHORT.maxlist = _SHORT.maxtuple = 6
_SHORT.maxlevel = 3
