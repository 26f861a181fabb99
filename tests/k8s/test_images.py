"""The recipes of the images: hadolint is content, versions are those of the lock file, nobody is root."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.harness.machine import ROOT

RECIPES = sorted((ROOT / "k8s" / "images").glob("*/Dockerfile"))
LOCK = dict(re.findall(r"^([a-z0-9-]+)==(\S+)", (ROOT / "requirements.lock").read_text(), re.MULTILINE))
pytestmark = pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.parent.name)


def stages(recipe: Path) -> dict[str, list[str]]:
    """Instructions by stage; one without a name has the name of the last."""
    joined = recipe.read_text().replace("\\\n", " ")
    found: dict[str, list[str]] = {}
    name = ""
    for line in joined.splitlines():
        begun = re.match(r"FROM (\S+)(?: AS (\S+))?", line)
        if begun:
            name = begun[2] or "last"
            found[name] = list(found.get(begun[1], []))
        elif name and re.match(r"[A-Z]+ ", line):
            found[name].append(line)
    return found


def test_hadolint_finds_nothing(recipe):
    hadolint = Path(sys.executable).with_name("hadolint")
    found = subprocess.run([hadolint, recipe], capture_output=True, text=True, check=False)
    assert (found.returncode, found.stdout + found.stderr) == (0, "")


def test_versions_are_those_of_the_lock_file(recipe):
    given = dict(re.findall(r"^ARG ([A-Z]+)_VERSION=(\S+)", recipe.read_text(), re.MULTILINE))
    assert given.pop("PYTHON").startswith("3.11.")
    names = {"BEAM": "apache-beam", "TENSORFLOW": "tensorflow"}
    assert given == {name: LOCK[names[name]] for name in given}


def test_what_is_copied_reaches_the_build(recipe):
    ignored = (ROOT / ".dockerignore").read_text().split("\n")
    kept = [line[1:] for line in ignored if line.startswith("!")]
    for line in stages(recipe)["build"]:
        if line.startswith("COPY"):
            for path in line.split()[1:-1]:
                assert path in kept and (ROOT / path).exists()
    assert "*" in ignored


def test_only_dataflows_workers_are_root(recipe):
    as_root = {"base", "dataflow"} if recipe.parent.name == "beam-worker" else set()
    started = {name: steps for name, steps in stages(recipe).items() if any("ENTRYPOINT" in step for step in steps)}
    assert started and as_root <= set(started)
    for name, steps in started.items():
        users = [step.split()[1] for step in steps if step.startswith("USER")]
        assert users[-1:] == ([] if name in as_root else ["10001"])


def test_commands_get_their_signals(recipe):
    entry = [step for steps in stages(recipe).values() for step in steps if step.startswith("ENTRYPOINT")]
    assert set(entry) <= {'ENTRYPOINT ["tini", "--", "python", "-m"]', 'ENTRYPOINT ["/opt/apache/beam/boot"]'}
