"""Settings files that were written wrong, or to do harm."""

import itertools

import pytest

from job_runtime.problem_report import UserError
from trainer import yaml_file

BOMB = "a: &a [1, 1]\n" + "".join(f"{b}: &{b} [*{a}, *{a}]\n" for a, b in itertools.pairwise("abcdefghijklmn"))


def test_what_is_right(tmp_path):
    path = tmp_path / "x.yaml"
    path.write_text("units: 32\nlearning_rate: {low: 3.0e-4, log: true}\nlayers: [1, 2]\n")
    assert yaml_file.load(str(path)) == {"units": 32, "learning_rate": {"low": 3e-4, "log": True}, "layers": [1, 2]}


@pytest.mark.parametrize(
    ("text", "want"),
    [
        ("units: 32\nlayers: 1\nunits: 64\n", "the key 'units' is given twice"),
        ("units: {low: 1, low: 2}\n", "the key 'low' is given twice"),
        (BOMB, "not *aliases"),
        ("1: 2\n", "the key '1' is not text, want names"),
        ("? [a, b]\n: 2\n", "a key is not text, want names"),
        ("yes: 2\n", "the key 'yes' is not text"),
        ("units: " + "9" * 30, f"units: is {'9' * 30}, want an integer, "),
        ("units: " + "9" * 5000, "not readable as YAML: "),
        ("units: {low: .nan, high: .inf}", "units.low: is nan, want a number"),
        ("units: [1, -.inf]", "units[1]: is -inf, want a number"),
        ("units: " + "[" * 70 + "]" * 70, "is nested too deep, want at most 64 levels"),
        ("units: " + "[" * 20_000, "is nested too deep, want at most 64 levels"),
        ("units: 2026-13-45\n", "not readable as YAML: "),
        ("units: !!python/object:os.system {}\n", "not readable as YAML: "),
        ("units: \x00\n", "not readable as YAML: "),
        ("a: 1\n---\nb: 2\n", "not readable as YAML: "),
        ("# " + "x" * 2**20 + "\n", "has more than 1,048,576 bytes"),
    ],
)
def test_what_is_refused(tmp_path, text, want):
    path = tmp_path / "x.yaml"
    path.write_text(text)
    with pytest.raises(UserError) as error:
        yaml_file.load(str(path))
    assert want in str(error.value) and str(error.value).startswith(f"{path}: ")


def test_bytes_that_are_no_text(tmp_path):
    path = tmp_path / "x.yaml"
    path.write_bytes(b"units: \xff\xfe\n")
    with pytest.raises(UserError, match="not readable as YAML"):
        yaml_file.load(str(path))
