"""The recipe of the workers' image fits this repository; nothing is built here."""

import re

import pytest

from tests.engines import runs

RECIPE = (runs.ROOT / "k8s/images/beam-worker/Dockerfile").read_text()


def argument(name: str) -> str:
    (value,) = re.findall(rf"^ARG {name}=(.+)$", RECIPE, re.MULTILINE)
    return value


def test_beam_is_the_version_of_the_lock():
    assert f"apache-beam=={argument('BEAM_VERSION')}" in (runs.ROOT / "requirements.lock").read_text().splitlines()


def test_every_base_is_pinned():
    bases = re.findall(r"^FROM (\S+)", RECIPE, re.MULTILINE)
    assert bases[0].endswith("${BEAM_VERSION}")
    assert all("${PYTHON_VERSION}" in base or base == "base" for base in bases[1:])
    assert re.fullmatch(r"3\.1[12]\.\d+", argument("PYTHON_VERSION"))
    assert bases[0].startswith(f"apache/beam_python{argument('PYTHON_VERSION').rpartition('.')[0]}_sdk:")


@pytest.mark.parametrize("source", re.findall(r"^COPY (?!--)(.+) \S+$", RECIPE, re.MULTILINE))
def test_what_is_copied_is_there(source):
    assert all((runs.ROOT / name).exists() for name in source.split())


def test_what_runs_last_is_not_root():
    assert re.findall(r"^USER (.+)$", RECIPE[RECIPE.index("AS worker") :], re.MULTILINE) == ["10001"]
