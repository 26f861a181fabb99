"""JSON that others may have written or damaged: parsed and checked, with every problem and its location.

Always refused: text that is not JSON, a key given twice, deep nesting, NaN, an integer beyond 64 bits, half a
character. A reader also gives the shape it wants, as a type: a built-in one, `tuple[int, ...]`, `Mapping[str, int]`,
`Literal`, a union, a dataclass (no other keys are allowed) or a TypedDict (other keys are allowed).
`Annotated[int, Constraint(test, "description")]` narrows a type.
"""

from __future__ import annotations

import contextlib
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

from job_runtime import io_errors, storage
from job_runtime.problem_report import UserError

MAX_DEPTH = 64
MAX_PROBLEMS = 20  # reported per file
LOWEST, HIGHEST = -(2**63), 2**63 - 1


class JsonError(ValueError):
    """The text is not JSON of the wanted shape; `problems` are sentences without the file's name."""

    def __init__(self, problems: list[str]):
        more = len(problems) - MAX_PROBLEMS
        self.problems = problems if more <= 0 else [*problems[:MAX_PROBLEMS], f"and {more} more problems"]
        super().__init__("; ".join(self.problems))


@dataclasses.dataclass(frozen=True)
class Constraint:
    """A test that a value of a type must also pass, and what such values are called in messages."""

    test: Callable[[Any], bool]
    description: str


def load(path: str, shape: Any = Any) -> Any:
    """The JSON value in a file.

    Raises:
      FileNotFoundError: there is no such file. UserError: it cannot be read, or everything that is wrong with it.
    """
    data = _read(path)
    try:
        return parse(data, shape)
    except JsonError as error:
        raise UserError(f"{path}: {problem}" for problem in error.problems) from error


def load_lines(path: str, shape: Any = Any, *, allow_nan: bool = False) -> list[Any]:
    """The values in a file of JSON Lines.

    Raises:
      FileNotFoundError: there is no such file. UserError: it cannot be read, or everything that is wrong with it, with
        line numbers.
    """
    values, problems = [], []
    try:
        text = _text_of(_read(path))
    except JsonError as error:
        raise UserError(f"{path}: {problem}" for problem in error.problems) from error
    for number, line in enumerate(text.removesuffix("\n").split("\n") if text else (), 1):
        try:
            values.append(parse(line, shape, allow_nan=allow_nan))
        except JsonError as error:
            problems += [f"{path}:{number}: {problem}" for problem in error.problems]
    if problems:
        raise UserError(JsonError(problems).problems)
    return values


def _read(path: str) -> bytes:
    try:
        return storage.read_bytes(path)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {io_errors.reason(error)}") from error


def parse(data: bytes | str, shape: Any = Any, *, allow_nan: bool = False, any_number: bool = False) -> Any:
    """One JSON value of the given shape.

    Args:
      allow_nan: for values that may be undefined.
      any_number: for a reader that checks each number itself, with a better message.

    Raises:
      JsonError: it lists everything that is wrong.
    """
    text = _text_of(data) if isinstance(data, bytes) else data
    try:
        value = _decode(text, allow_nan)
    except RecursionError:
        raise JsonError([f"is nested too deep, want at most {MAX_DEPTH} levels"]) from None
    except ValueError as error:
        if "integer string conversion" in str(error):
            raise JsonError([f"an integer has thousands of digits, want {LOWEST} to {HIGHEST}"]) from None
        raise JsonError([f"not JSON: {error}"]) from error
    is_any_number = any_number or allow_nan
    is_suspicious = "\\u" in text if is_any_number else _SUSPICIOUS.search(text)
    if errors := list(_unreadable(value, is_any_number)) if is_suspicious else []:
        raise JsonError(errors)
    if errors := list(problems(value, shape)):
        raise JsonError(errors)
    return value


def problems(value: Any, shape: Any, location: str = "") -> Iterator[str]:
    """How a JSON value differs from a shape: `splits.train.num_notes is '5', want a whole number`."""
    if shape is Any:
        return
    origin, arguments = _origin_and_arguments(shape)
    if origin is typing.Annotated:
        errors = list(problems(value, arguments[0], location))
        yield from errors
        if not errors:
            failed = (constraint for constraint in arguments[1:] if not constraint.test(value))
            yield from (_mismatch(location, value, constraint.description) for constraint in failed)
    elif origin is types.UnionType:
        if value is None and type(None) in arguments:
            return
        others = [each for each in arguments if each is not type(None)]
        if len(others) == 1:
            yield from problems(value, others[0], location)
        elif all(any(problems(value, each, location)) for each in others):
            yield _mismatch(location, value, name(shape))
    elif origin is typing.Literal:
        if not any(value == each and type(value) is type(each) for each in arguments):
            yield _mismatch(location, value, name(shape))
    elif origin in (list, tuple):
        yield from _in_list(value, arguments[0] if arguments else Any, location)
    elif origin in (dict, Mapping):
        if not isinstance(value, dict):
            yield _mismatch(location, value, "an object")
        elif len(arguments) == 2 and arguments[1] is not Any:
            for key, item in value.items():
                yield from problems(item, arguments[1], _below(location, key))
    elif dataclasses.is_dataclass(shape) or typing.is_typeddict(shape):
        yield from _in_object(value, shape, location)
    elif not _is(value, shape):
        yield _mismatch(location, value, name(shape))


def name(shape: Any) -> str:
    """A shape in words."""
    origin, arguments = _origin_and_arguments(shape)
    if origin is typing.Annotated:
        return arguments[1].description
    if origin is typing.Literal:
        return " or ".join(json.dumps(each) for each in arguments)
    if origin is types.UnionType:
        return " or ".join(map(name, arguments))
    return _NAMES.get(origin, "an object")


def shown(value: Any) -> str:
    """A value as it appears in messages: as Python writes it, but never long."""
    try:
        return _SHORT_REPR.repr(value)
    except (RecursionError, ValueError):  # ValueError: an integer with thousands of digits
        return f"a {type(value).__name__}"


def _in_list(value: Any, shape: Any, location: str) -> Iterator[str]:
    if not isinstance(value, list | tuple):
        yield _mismatch(location, value, "a list")
    elif shape in _EXACT_TYPES and set(map(type, value)) <= _EXACT_TYPES[shape]:
        return  # checks numbers at C speed
    elif shape is not Any:
        for index, item in enumerate(value):
            yield from problems(item, shape, f"{location}[{index}]")


def _in_object(value: Any, shape: Any, location: str) -> Iterator[str]:
    if not isinstance(value, dict):
        yield _mismatch(location, value, "an object")
        return
    shapes, required = _fields(shape)
    for key in sorted(required - value.keys()):
        yield f"{_below(location, key)} is missing, want {name(shapes[key])}"
    if dataclasses.is_dataclass(shape):
        for key in sorted(value.keys() - shapes.keys()):
            yield f"{_below(location, key)} is not known, want one of {', '.join(shapes)}"
    for key, item in value.items():
        if key in shapes:
            yield from problems(item, shapes[key], _below(location, key))


@functools.cache
def _fields(shape: Any) -> tuple[dict[str, Any], frozenset[str]]:
    """The shapes of an object's keys, and the required keys."""
    hints = typing.get_type_hints(shape, include_extras=True)
    if typing.is_typeddict(shape):
        return hints, frozenset(shape.__required_keys__)
    fields = dataclasses.fields(shape)
    has_none = dataclasses.MISSING
    required = {field.name for field in fields if field.default is has_none and field.default_factory is has_none}
    return {field.name: hints[field.name] for field in fields}, frozenset(required)


@functools.cache
def _origin_and_arguments(shape: Any) -> tuple[Any, tuple[Any, ...]]:
    origin = typing.get_origin(shape)
    if hasattr(shape, "__metadata__"):
        return typing.Annotated, (shape.__origin__, *shape.__metadata__)
    if origin is typing.Union:
        origin = types.UnionType
    return origin or shape, typing.get_args(shape)


def _is(value: Any, shape: type) -> bool:
    if shape is float:
        return type(value) in (int, float)
    return type(value) is shape  # True is not an integer


def _mismatch(location: str, value: Any, wanted: str) -> str:
    return f"{location or 'it'} is {shown(value)}, want {wanted}"


def _below(location: str, key: str) -> str:
    key = key if len(key) <= 60 else f"{key[:57]}..."
    return f"{location}.{key}" if location else key


def _decode(text: str, allow_nan: bool) -> Any:
    """Raises RecursionError or ValueError."""
    num_objects = text.count("{")
    if num_objects <= _FEW_OBJECTS and num_objects + text.count("[") <= MAX_DEPTH and not allow_nan:
        with contextlib.suppress(ValueError):  # of two mistakes the syntax is named first, below
            return _DECODER_OF_UNIQUE_KEYS.decode(text)
    value = _DECODER_WITH_NAN.decode(text) if allow_nan else _DECODER.decode(text)
    if text.count(":") != _num_keys(value):  # more colons: a string holds one, or a key was given twice
        _DECODER_OF_UNIQUE_KEYS.decode(text) if not allow_nan else _DECODER_OF_UNIQUE_KEYS_WITH_NAN.decode(text)
    return value


def _text_of(data: bytes) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise JsonError([f"line {line}: byte {data[error.start]:#04x} is not UTF-8, want JSON in UTF-8"]) from error


def _num_keys(value: object, depth: int = 1) -> int:
    """The number of keys in all objects of a JSON value; skips numbers, which are most of it, at C speed."""
    if not isinstance(value, _CONTAINERS):
        return 0
    if depth > MAX_DEPTH:
        raise RecursionError
    if isinstance(value, dict):
        inner = [item for item in value.values() if isinstance(item, _CONTAINERS)]
        return len(value) + sum(_num_keys(item, depth + 1) for item in inner)
    types_in_list = set(map(type, value))
    if types_in_list == {dict} and not any(isinstance(item, _CONTAINERS) for item in value[0].values()):
        return sum(map(len, value))  # such as a list of notes; a count that is too low does no harm
    if dict in types_in_list or list in types_in_list:
        return sum(_num_keys(item, depth + 1) for item in value)
    return 0


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    record = dict(pairs)
    if len(record) != len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise ValueError(f"the key {shown(twice)} is given twice")
    return record


def _unreadable(value: Any, any_number: bool, location: str = "") -> Iterator[str]:
    """Numbers beyond 64 bits, and half characters, except those that stand for bytes of a file name."""
    if isinstance(value, str):
        if _HALF_CHARACTER.search(value):
            yield _mismatch(location, value, "text without half a character (a lone surrogate)")
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _unreadable(key, any_number, location)
            yield from _unreadable(item, any_number, _below(location, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _unreadable(item, any_number, f"{location}[{index}]")
    elif not any_number and isinstance(value, int | float) and not LOWEST <= value <= HIGHEST:
        wanted = f"an integer, {LOWEST} to {HIGHEST}" if isinstance(value, int) else "a number that is not too large"
        if isinstance(value, int) or math.isinf(value):
            yield _mismatch(location, value, wanted)


def _refuse(constant: str) -> float:
    raise ValueError(f"{constant} is not a number")


_CONTAINERS = (dict, list)  # a tuple is faster than a union
_SUSPICIOUS = re.compile(r"[0-9]{19}|[0-9][eE]\+?[0-9]{3}|\\u[dD][89a-fA-F]")
_HALF_CHARACTER = re.compile("[\ud800-\udc7f\udd00-\udfff]")
_DECODER = json.JSONDecoder(parse_constant=_refuse)
_DECODER_WITH_NAN = json.JSONDecoder()
_DECODER_OF_UNIQUE_KEYS = json.JSONDecoder(object_pairs_hook=_unique, parse_constant=_refuse)
_DECODER_OF_UNIQUE_KEYS_WITH_NAN = json.JSONDecoder(object_pairs_hook=_unique)
_FEW_OBJECTS = 4  # up to here, looking at the keys while decoding takes less time than counting them afterwards
_EXACT_TYPES: dict[Any, set[type]] = {int: {int}, float: {int, float}, str: {str}, bool: {bool}}
_NAMES: dict[Any, str] = {
    int: "a whole number",
    float: "a number",
    str: "text",
    bool: "true or false",
    type(None): "null",
    list: "a list",
    tuple: "a list",
}
_SHORT_REPR = reprlib.Repr()
_SHORT_REPR.maxstring = _SHORT_REPR.maxother = 80
_SHORT_REPR.maxdict = _SHORT_REPR.maxlist = _SHORT_REPR.maxtuple = 6
_SHORT_REPR.maxlevel = 3
