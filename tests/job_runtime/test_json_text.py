"""JSON that others may have written: what is refused, where, and how it is said."""

import dataclasses
import json
from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypedDict

import pytest

from job_runtime import json_text
from job_runtime.json_text import HIGHEST, LOWEST, Constraint, JsonError
from job_runtime.problem_report import UserError


@dataclasses.dataclass
class Part:
    size: int
    names: tuple[str, ...] = ()


class Whole(TypedDict):
    version: Literal[2]
    parts: Mapping[str, Part]
    share: Annotated[float, Constraint(lambda value: 0 <= value <= 1, "a number, 0 to 1")]
    path: str | None
    given: bool


RIGHT: dict[str, Any] = {
    "version": 2,
    "parts": {"a": {"size": 3, "names": ["x", "y:z"]}},
    "share": 1,
    "path": None,
    "given": True,
    "more": {"of": [any]},
}
RIGHT["more"] = {"whatever": [1, "two", None]}


def problems_of(text: str | bytes, kind: Any = Any, **options: bool) -> list[str]:
    with pytest.raises(JsonError) as error:
        json_text.parse(text, kind, **options)
    return error.value.problems


def test_what_is_right_comes_back():
    assert json_text.parse(json.dumps(RIGHT), Whole) == RIGHT
    assert json_text.parse(json.dumps(RIGHT).encode(), Whole) == RIGHT


def test_every_problem_comes_with_its_place():
    wrong = {"version": 3, "parts": {"a": {"size": "3", "nmes": []}, "b": 7, "c": {"size": 1, "names": ["x", 5]}}}
    assert problems_of(json.dumps({**wrong, "share": 1.5, "path": 8, "given": 1}), Whole) == [
        "version is 3, want 2",
        "parts.a.nmes is not known, want one of size, names",
        "parts.a.size is '3', want a whole number",
        "parts.b is 7, want an object",
        "parts.c.names[1] is 5, want text",
        "share is 1.5, want a number, 0 to 1",
        "path is 8, want text",
        "given is 1, want true or false",
    ]
    assert problems_of("{}", Whole) == [
        "given is missing, want true or false",
        "parts is missing, want an object",
        "path is missing, want text or null",
        "share is missing, want a number, 0 to 1",
        "version is missing, want 2",
    ]
    assert problems_of("[]", Whole) == ["it is [], want an object"]


@pytest.mark.parametrize(
    ("text", "kind", "want"),
    [
        ("1.0", int, "it is 1.0, want a whole number"),
        ("true", int, "it is True, want a whole number"),
        ("true", float, "it is True, want a number"),
        ('"1"', int, "it is '1', want a whole number"),
        ("[1, 2.5]", tuple[int, ...], "[1] is 2.5, want a whole number"),
        ("{}", list[int], "it is {}, want a list"),
        ('{"a": {"b": [1, null]}}', dict[str, dict[str, list[int]]], "a.b[1] is None, want a whole number"),
        ("3", str | None, "it is 3, want text"),
    ],
)
def test_one_problem(text, kind, want):
    assert problems_of(text, kind) == [want]


@pytest.mark.parametrize(
    ("text", "want"),
    [
        ("", "not JSON: Expecting value: line 1 column 1 (char 0)"),
        ('{"a": 1} x', "not JSON: Extra data: line 1 column 10 (char 9)"),
        (b'{"a": "\xff"}', "line 1: byte 0xff is not UTF-8, want JSON in UTF-8"),
        ('{"a": 1, "b": {"c": 1, "c": 2}}', "not JSON: the key 'c' is given twice"),
        ("[NaN]", "not JSON: NaN is not a number"),
        ("-Infinity", "not JSON: -Infinity is not a number"),
        ('{"a": [1, 1e999]}', "a[1] is inf, want a number that is not too large"),
        ('{"a": 9223372036854775808}', f"a is {2**63}, want an integer, {LOWEST} to {HIGHEST}"),
        (f"[-{'9' * 30}]", f"[0] is -{'9' * 30}, want an integer, {LOWEST} to {HIGHEST}"),
        ("9" * 5000, f"an integer has thousands of digits, want {LOWEST} to {HIGHEST}"),
        ('["a", "\\ud800"]', "[1] is '\\ud800', want text without half a character (a lone surrogate)"),
        ("[" * 65 + "]" * 65, "is nested too deep, want at most 64 levels"),
        ("[" * 100_000, "is nested too deep, want at most 64 levels"),
        ('{"a":' * 100_000, "is nested too deep, want at most 64 levels"),
    ],
)
def test_what_is_refused_whatever_is_wanted(text, want):
    assert problems_of(text) == [want]


def test_what_is_not_refused():
    assert json_text.parse('{"a": "b: c", "d": "\\udcff \\ud83c\\udfb5"}') == {"a": "b: c", "d": "\udcff \U0001f3b5"}
    assert json_text.parse(f"[{LOWEST}, {HIGHEST}, 1e100]") == [LOWEST, HIGHEST, 1e100]
    assert json_text.parse("[" * 64 + "]" * 64)
    assert json_text.parse("[Infinity]", allow_nan=True) == [float("inf")]
    assert json_text.parse("[1e999, 99999999999999999999]", any_number=True) == [float("inf"), 10**20 - 1]


def test_values_are_shortened_and_problems_counted():
    (problem,) = problems_of(json.dumps({"a": "x" * 10**6}), dict[str, int])
    assert len(problem) < 150
    (problem,) = problems_of(json.dumps({"k" * 10**6: "x"}), dict[str, int])
    assert len(problem) < 150
    problems = problems_of(json.dumps(["x"] * 100), list[int])
    assert len(problems) == json_text.MAX_PROBLEMS + 1 and problems[-1] == "and 80 more problems"


def test_files_name_themselves_and_lines_their_number(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text('{"size": 1}\n{"size": "2"}\n{\n')
    with pytest.raises(UserError) as error:
        json_text.load_lines(str(path), Part)
    assert error.value.problems[0] == f"{path}:2: size is '2', want a whole number"
    assert error.value.problems[1].startswith(f"{path}:3: not JSON: ")
    path.write_text('{"size": 1}\n{"size": 2, "names": ["\u2028"]}\n')
    assert json_text.load_lines(str(path), Part) == [{"size": 1}, {"size": 2, "names": ["\u2028"]}]
    path.write_text("")
    assert json_text.load_lines(str(path)) == []
    with pytest.raises(UserError, match="a.jsonl: not JSON: Expecting value"):
        json_text.load(str(path))
    with pytest.raises(FileNotFoundError):
        json_text.load(str(tmp_path / "none"))
