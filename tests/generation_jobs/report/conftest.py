"""A page of the report, open in a browser."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from generation_jobs.report import __main__ as report
from generation_jobs.report import piece_figures
from job_runtime import command
from midi_codec.music.notes import Notes
from tests.generation_jobs.report_fakes import make_dataset, make_music, make_notes, make_run

NUM_PIECES = 4
NUM_HIGHLIGHTS = 2
NUM_GIVEN = 8  # notes of the primers of `make_music`


@dataclasses.dataclass
class Visit:
    """An open page, and everything it complained about or asked for."""

    VIEW: ClassVar[str] = "document.querySelector('#roll').dataset.view.split(' ').map(Number)"

    page: Any
    complaints: list[str]
    addresses: list[str]

    def view(self) -> tuple[float, float]:
        first, last = self.page.evaluate(self.VIEW)
        return first, last

    def wait(self, condition: str) -> None:
        """Until an expression is true; playwright's own waiting uses eval, which the page's policy forbids."""
        for _ in range(600):
            if self.page.evaluate(condition):
                return
            self.page.wait_for_timeout(50)
        raise AssertionError(f"it never came true that {condition}")


@pytest.fixture
def visit(browser):
    """Opens a page; every page of a test must have been silent and asked for nothing from a network."""
    contexts, visits = [], []

    def open_page(path: Path, *, before: str = "", **settings: Any) -> Visit:
        context = browser.new_context(**{"viewport": {"width": 1280, "height": 800}, **settings})
        context.set_default_timeout(100_000)  # machines that run tests are busy
        page = context.new_page()
        page.add_init_script(before)
        opened = Visit(page, [], [])
        page.on("console", lambda message: opened.complaints.append(message.text))
        page.on("pageerror", lambda error: opened.complaints.append(str(error)))
        page.on("request", lambda request: opened.addresses.append(request.url))
        page.goto(path.as_uri())
        page.wait_for_selector("#roll[data-view]")
        contexts.append(context)
        visits.append(opened)
        return opened

    yield open_page
    for context in contexts:
        context.close()
    for opened in visits:
        assert opened.complaints == []
        assert [address for address in opened.addresses if not address.startswith(("file:", "data:", "blob:"))] == []


def continued(notes: Notes, num_given: int = NUM_GIVEN) -> Notes:
    """Another piece with the same beginning."""
    columns = {name: getattr(notes, name) for name in ("velocity", "start", "duration", "program")}
    pitch = notes.pitch + (np.arange(len(notes)) >= num_given)
    return Notes.from_columns(pitch=pitch, **columns, tempo=notes.tempo, time_base=notes.time_base)


@pytest.fixture(scope="session")
def report_path(tmp_path_factory) -> Path:
    """A whole report, made by the command, with the sound of two of four pieces inside; never to be changed."""
    root = tmp_path_factory.mktemp("report")
    pieces = [("seed-a", sample, make_notes(30, rng_seed=sample)) for sample in range(NUM_PIECES)]
    splits = {"train": [make_notes(90)], "validation": [make_notes(90, rng_seed=1)], "test": [continued(pieces[0][2])]}
    info = make_dataset(root / "data", splits)
    make_music(root / "music", pieces, dataset=info.hash)
    make_run(root / "run")
    flags = {"music": root / "music", "data": root / "data", "run": root / "run", "output": root / "report.html"}
    choose = piece_figures.choose_highlights
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(piece_figures, "choose_highlights", lambda distances: choose(distances, NUM_HIGHLIGHTS))
        argv = [part for name, path in flags.items() for part in (f"--{name}", str(path))]
        assert report.main(argv) == command.OK
    return root / "report.html"
