"""What the built packages hold besides code."""

import importlib.util
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
BUILT_FROM = ("setup.py", "pyproject.toml", "README.md", "LICENSE")
ROOMS = ("job_runtime", "midi_codec", "beam_pipelines", "trainer", "generation_jobs", "demo", "midi_lstm")
BOX = ROOT / "trainer" / "model_in_the_box"


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """A wheel and a source archive, of a copy: building litters the folder."""
    copy = tmp_path_factory.mktemp("package")
    for name in BUILT_FROM:
        shutil.copy(ROOT / name, copy)
    for room in ROOMS:
        shutil.copytree(ROOT / room, copy / room, ignore=shutil.ignore_patterns("__pycache__"))
    line = [sys.executable, "setup.py", "-q", "sdist", "-d", "built", "bdist_wheel", "-d", "built"]
    subprocess.run(line, cwd=copy, check=True, capture_output=True)
    return copy / "built"


def names_of(built: Path, kind: str) -> set[str]:
    """Paths in the package, from the rooms on."""
    if kind == "wheel":
        (path,) = built.glob("*.whl")
        with zipfile.ZipFile(path) as wheel:
            return set(wheel.namelist())
    (path,) = built.glob("*.tar.gz")
    with tarfile.open(path) as archive:
        return {name.partition("/")[2] for name in archive.getnames()}


@pytest.mark.parametrize("kind", ["wheel", "source"])
def test_packages_hold_the_model_in_the_box_and_the_pages(built, kind):
    names = names_of(built, kind)
    box = {path.relative_to(ROOT).as_posix() for path in BOX.rglob("*.*")}
    assert len(box) >= 3 and box <= names
    assert {"demo/box_model_beats.yaml", "demo/box_model_milliseconds.yaml"} <= names
    for room in ROOMS:
        kinds = (".py", ".css", ".j2", ".js")
        files = {path.relative_to(ROOT).as_posix() for path in (ROOT / room).rglob("*") if path.suffix in kinds}
        assert files <= names


def test_the_wheel_brings_the_command(built):
    (path,) = built.glob("*.whl")
    with zipfile.ZipFile(path) as wheel:
        (name,) = [name for name in wheel.namelist() if name.endswith("entry_points.txt")]
        assert wheel.read(name).decode().split("\n")[:2] == [
            "[console_scripts]",
            "midi-lstm = midi_lstm.__main__:run",
        ]


def test_tensorboard_finds_what_it_imports():
    assert importlib.util.find_spec("pkg_resources")  # setuptools below 81
