"""Who may import whom: the table of rooms, held by walking every file's imports.

A room may import itself, the rooms of its row, the standard library, and the packages that its own extra of
setup.py installs: that is what keeps an encode worker free of TensorFlow and a trainer free of Beam. Imports
inside functions count like all others. Two rules go further:

- `midi_codec` imports TensorFlow in `records` alone, where records are parsed, and there inside a function:
  a worker that writes records must not pay for it;
- `generation_jobs` may import `trainer.bundle`, `trainer.model` and what those need, and none of these may
  reach the training loop.
"""

from __future__ import annotations

import ast
import dataclasses
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

BASE = {
    "boto3",
    "botocore",
    "google",
    "google_crc32c",
    "midirenderer",
    "numpy",
    "pretty_midi",
    "requests",
    "symusic",
    "tqdm",
}
TUNE = {"jinja2", "matplotlib", "optuna", "sqlalchemy"}  # of `trainer.tune` alone
TENSORFLOW = {"keras", "tensorboard", "tensorflow", "tensorflow_io"}


@dataclasses.dataclass(frozen=True)
class Room:
    rooms: set[str]  # of ours, beside itself
    packages: set[str]


ROOMS = {
    "midi_codec": Room(rooms=set(), packages=BASE | {"tensorflow"}),
    "beam_pipelines": Room(rooms={"midi_codec"}, packages=BASE | {"apache_beam", "indexed_gzip", "jinja2"}),
    "trainer": Room(rooms={"midi_codec"}, packages=BASE | TENSORFLOW | TUNE | {"yaml"}),
    "generation_jobs": Room(rooms={"midi_codec", "trainer"}, packages=BASE | TENSORFLOW | {"jinja2"}),
    "demo": Room(
        rooms={"midi_codec", "beam_pipelines", "trainer", "generation_jobs"},
        packages=BASE | TENSORFLOW | {"apache_beam", "music21", "yaml"},
    ),
}
GENERATION_MAY_IMPORT = {"trainer.bundle", "trainer.model", "trainer.sampling"}
TRAINING_LOOP = {"trainer.task", "trainer.loop", "trainer.batches", "trainer.checkpoint"}


@dataclasses.dataclass(frozen=True)
class Import:
    place: str  # file:line
    module: str
    is_lazy: bool  # inside a function, or for type checkers alone


def module_of(path: Path, root: Path) -> str:
    parts = path.relative_to(root).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def is_module(name: str, root: Path) -> bool:
    path = root.joinpath(*name.split("."))
    return path.with_suffix(".py").is_file() or path.is_dir()


def imports_of(path: Path, root: Path = ROOT) -> list[Import]:
    """Every import of a file, as whole module names; `from room import module` is that module."""
    found: list[Import] = []

    def visit(node: ast.AST, is_lazy: bool) -> None:
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            module = node.module or ""
            if node.level:
                package = module_of(path, root).split(".")[: -node.level]
                module = ".".join([*package, *([module] if module else [])])
            names = [
                f"{module}.{alias.name}" if is_module(f"{module}.{alias.name}", root) else module
                for alias in node.names
            ]
        found.extend(Import(f"{path.relative_to(root)}:{node.lineno}", name, is_lazy) for name in names)  # type: ignore[attr-defined]
        lazy_inside = is_lazy or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        lazy_inside |= isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for child in ast.iter_child_nodes(node):
            visit(child, lazy_inside)

    visit(ast.parse(path.read_text(encoding="utf-8"), filename=str(path)), False)
    return found


def problems_of(room: str, root: Path = ROOT) -> list[str]:
    """A sentence for each import that the table forbids."""
    problems = []
    rule = ROOMS[room]
    for path in sorted((root / room).rglob("*.py")):
        for found in imports_of(path, root):
            top = found.module.partition(".")[0]
            if top in sys.stdlib_module_names or top == room or top in rule.rooms or top in rule.packages:
                continue
            problems.append(f"{found.place}: {room} must not import {found.module}")
    return problems


def reached_from(modules: set[str], root: Path = ROOT) -> set[str]:
    """All modules of ours that importing these imports, directly or not."""
    reached: set[str] = set()
    waiting = list(modules)
    while waiting:
        module = waiting.pop()
        if module in reached:
            continue
        reached.add(module)
        path = root.joinpath(*module.split(".")).with_suffix(".py")
        path = path if path.is_file() else root.joinpath(*module.split("."), "__init__.py")
        if path.is_file():
            waiting += [found.module for found in imports_of(path, root) if found.module.split(".")[0] in ROOMS]
    return reached


@pytest.mark.parametrize("room", ROOMS)
def test_room_imports_only_what_its_row_allows(room):
    assert list((ROOT / room).glob("*.py")), f"{room} has no file to look at"
    assert problems_of(room) == []


def test_only_records_imports_tensorflow_in_the_codec_and_lazily():
    found = [
        use
        for path in sorted((ROOT / "midi_codec").rglob("*.py"))
        for use in imports_of(path)
        if use.module.split(".")[0] == "tensorflow"
    ]
    assert {use.place.partition(":")[0] for use in found} <= {"midi_codec/records.py"}
    assert all(use.is_lazy for use in found)


def test_only_tuning_needs_what_its_extra_installs():
    found = {
        use.place.partition(":")[0]
        for path in sorted((ROOT / "trainer").rglob("*.py"))
        for use in imports_of(path)
        if use.module.split(".")[0] in TUNE
    }
    assert {place for place in found if not place.startswith("trainer/tune")} == set()


def test_generation_imports_of_the_trainer_only_the_model():
    allowed = {module for module in reached_from(GENERATION_MAY_IMPORT) if module.startswith("trainer")}
    used = {
        use.module
        for path in (ROOT / "generation_jobs").rglob("*.py")
        for use in imports_of(path)
        if use.module.startswith("trainer")
    }
    assert used <= allowed
    assert allowed & TRAINING_LOOP == set()


def test_every_room_is_in_the_table():
    rooms = {path.parent.name for path in ROOT.glob("*/__init__.py")}
    assert rooms - {"benchmarks", "tests"} == set(ROOMS)


def test_a_forbidden_import_is_found_wherever_it_hides(tmp_path):
    (tmp_path / "midi_codec").mkdir()
    (tmp_path / "trainer").mkdir()
    (tmp_path / "trainer" / "model.py").write_text("")
    (tmp_path / "midi_codec" / "bad.py").write_text(
        "import os\n"
        "import apache_beam as beam\n"
        "from trainer import model\n"
        "def f():\n"
        "    from keras.layers import LSTM\n"
        "from . import other\n"
        "from .other import x\n"
    )
    assert problems_of("midi_codec", tmp_path) == [
        "midi_codec/bad.py:2: midi_codec must not import apache_beam",
        "midi_codec/bad.py:3: midi_codec must not import trainer.model",
        "midi_codec/bad.py:5: midi_codec must not import keras.layers",
    ]
    (tmp_path / "trainer" / "model.py").write_text("from midi_codec import bad\nimport trainer.lstm")
    reached = reached_from({"trainer.model"}, tmp_path)
    assert {"trainer.model", "trainer.lstm", "midi_codec.bad", "midi_codec.other"} <= reached
