"""The Python API: the example of docs/python_api.md, and the notebook in examples/."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import pytest

from generation_jobs.notebook import Generator, read_dataset
from midi_codec.fields import CATEGORICAL
from midi_codec.music.notes import Notes
from tests.generation_jobs import fakes
from tests.generation_jobs.decoder.cases import make_bundle
from tests.trainer import tiny
from trainer import bundle

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with tunes/dataset and tunes/run/bundle, as the page has them."""
    root = tmp_path_factory.mktemp("api")
    notes = [tiny.make_notes(number, num_notes=40) for number in range(3)]
    tiny.write_dataset(str(root / "tunes" / "dataset"), {"train": notes[:2], "validation": notes[2:], "test": []})
    made = dataclasses.replace(make_bundle(CATEGORICAL, (0,)), dataset=fakes.make_bundle().dataset)
    bundle.save(str(root / "tunes" / "run" / "bundle"), made)
    return root


@pytest.fixture(scope="module")
def generator(folders: Path) -> Generator:
    return Generator(str(folders / "tunes" / "run" / "bundle"))


def test_a_split_is_read(folders):
    pieces = list(read_dataset(str(folders / "tunes" / "dataset"), "validation"))
    assert [len(piece.notes) for piece in pieces] == [40]
    assert pieces[0].notes == tiny.make_notes(2, num_notes=40).from_first_onset()


def test_the_same_call_gives_the_same_pieces_and_another_rng_seed_gives_others(generator):
    first = generator.continue_primer(num_samples=3, max_notes=12)
    again = generator.continue_primer(num_samples=2, max_notes=12)
    other = generator.continue_primer(num_samples=2, max_notes=12, rng_seed=1)
    assert [one.notes for one in first[:2]] == [one.notes for one in again]
    assert [one.notes for one in other] != [one.notes for one in again]


def test_every_wrong_setting_is_named(generator):
    with pytest.raises(ValueError, match="tempreature is not a setting; temperature is -1"):
        generator.continue_primer(tempreature=1, temperature=-1)


def test_a_primer_on_another_grid_is_refused(generator):
    columns: Any = {"start": [0], "duration": [6], "pitch": [60], "velocity": [80], "program": [0]}
    with pytest.raises(ValueError, match="request 0"):
        generator.continue_primer(Notes.from_columns(**columns, time_base="beats"))


@pytest.mark.slow
def test_the_example_of_the_page_runs(folders, monkeypatch, capsys):
    page = (ROOT / "docs" / "python_api.md").read_text(encoding="utf-8")
    code = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    assert len(code) == 1
    monkeypatch.chdir(folders)
    exec(compile(code[0], "docs/python_api.md", "exec"), {})  # the page itself is what is tested
    assert sorted(path.name for path in folders.glob("*.mid")) == [f"continuation-{number}.mid" for number in range(4)]
    assert capsys.readouterr().out.count("notes,") == 4


@pytest.mark.slow
def test_the_notebook_runs_and_repeats_itself(monkeypatch):
    """Cell by cell as a kernel would, without one: it has no magic commands."""
    book = json.loads((ROOT / "examples" / "continue_a_primer.ipynb").read_text(encoding="utf-8"))
    cells = ["".join(cell["source"]) for cell in book["cells"] if cell["cell_type"] == "code"]
    names: dict[str, Any] = {}
    for number, source in enumerate(cells):
        lines = source.splitlines()
        body, last = "\n".join(lines[:-1]), lines[-1]
        if number == len(cells) - 1:
            exec(compile(body, "notebook", "exec"), names)
            assert eval(compile(last.partition("#")[0], "notebook", "eval"), names) is True
        else:
            exec(compile(source, "notebook", "exec"), names)
    assert len(names["results"]) == 2
