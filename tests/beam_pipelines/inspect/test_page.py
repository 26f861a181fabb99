"""The page as bytes, and in a browser: nothing loaded, nothing run, no wider than a phone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from beam_pipelines.encoding import ledger
from beam_pipelines.inspect import __main__ as inspect
from beam_pipelines.inspect import note_histograms
from beam_pipelines.inspect.page import drawings
from job_runtime import command
from midi_codec.music.notes import Notes
from tests.beam_pipelines.corpora import make_notes
from tests.beam_pipelines.made_datasets import make_dataset

HOSTILE = "<img src=x onerror=window.hacked=1><script>window.hacked=1</script>"


def make_page(root: Path, source: str = "folder/a.mid") -> Path:
    rows = [("train", f"{n}.mid", "c" * 32 if n < 3 else None, make_notes(n, num_notes=40)) for n in range(6)]
    rows += [("train", source, None, make_notes(6)), ("validation", "v.mid", None, make_notes(7))]
    rejects = [ledger.Reject(f"{source}/{n}", None, "parse", f"reason_{n}", source) for n in range(8)]
    duplicates = [ledger.Duplicate(source, "near", "1" * 32, "0.mid", "train")]
    make_dataset(root / "data", rows, rejects=rejects, duplicates=duplicates)
    page = root / "page.html"
    flags = ["--html", str(page), "--piece", source]
    assert command.run(inspect.PROGRAM, inspect.main, [str(root / "data"), *flags]) == command.OK
    return page


# ----------------------------------------------------------------------------------------------- drawings


def test_bars_and_outline_share_a_scale():
    counts = {"train": [1, 3, 0], "validation": [1, 0, 0], "test": [0, 0, 1]}
    chart = drawings.chart(note_histograms.Bars("x", "X", ["a", "b", "c"], counts, [(0, "a")]), "notes")
    assert [(left, width, height) for left, width, height, _ in chart.bins] == [
        (0, 33.333, 33.33),
        (33.333, 33.333, 100),
        (66.667, 33.333, 0),
    ]
    assert chart.bins[0][3] == "a: 25.0 % of notes, 50.0 % of those held out"
    assert chart.outline == "M0 100V33.33H33.33V100.00H66.67V33.33H100.00V100"
    assert (chart.summary, chart.ticks) == ("most often b", [(0, "a")])


def test_without_held_out_pieces_there_is_no_outline():
    counts = {"train": [1], "validation": [0], "test": [0]}
    assert drawings.chart(note_histograms.Bars("x", "X", ["a"], counts, []), "notes").outline == ""


def test_fates_fill_the_bar(tmp_path):
    rejects = [ledger.Reject(f"{n}", None, "parse", f"reason_{n % 7}", "") for n in range(9)]
    info = make_dataset(tmp_path, [("train", "a", None, make_notes(1))], rejects=rejects)
    fates = drawings.fates(info)
    assert [(fate["name"], fate["words"]) for fate in fates] == [
        ("kept", "1"),
        ("reason_0", "2"),
        ("reason_1", "2"),
        ("reason_2", "1"),
        ("reason_3", "1"),
        ("reason_4", "1"),
        ("2 more reasons", "2"),
    ]
    assert fates[-1]["left"] + fates[-1]["width"] == pytest.approx(100)


def test_a_roll_has_a_path_a_program_the_commonest_first():
    ones = np.ones(3, np.int64)
    notes = Notes.from_columns(
        pitch=np.array([60, 72, 60]),
        velocity=ones,
        start=np.array([0, 500, 1000]),
        duration=ones * 1000,
        program=np.array([0, 40, 0]),
    )
    roll = drawings.roll(notes)
    assert (roll.height, roll.octaves) == (24, [(79.17, "C4"), (29.17, "C5")])
    assert [(voice, name) for voice, name, _ in roll.paths] == [(0, "Acoustic Grand Piano"), (1, "Violin")]
    assert roll.paths[1][2] == "M2500 6h5000v1h-5000z"
    assert roll.times == [(50.0, "0:01")]


# --------------------------------------------------------------------------------------------------- page


def test_the_page_holds_everything_in_one_file(tmp_path):
    text = make_page(tmp_path).read_text("utf-8")
    assert "<script" not in text and "http" not in text.replace("http-equiv", "")
    for words in ("reason_7", "folder/a.mid", "3 pieces", "3 more reasons", "limits.max_notes", "Notes per piece"):
        assert words in text


def test_the_smallest_dataset_has_a_page(tmp_path):
    notes = make_notes(1).take(slice(0, 1))
    make_dataset(tmp_path / "data", [("test", "a.mid", None, notes)])
    argv = [str(tmp_path / "data"), "--html", str(tmp_path / "a.html"), "--no-records"]
    assert command.run(inspect.PROGRAM, inspect.main, argv) == command.OK
    assert "a.mid" in (tmp_path / "a.html").read_text("utf-8")


def visit(browser: Any, page_path: Path, **settings: Any) -> Any:
    page = browser.new_context(**{"viewport": {"width": 1280, "height": 800}, **settings}).new_page()
    page.complaints, page.addresses = [], []
    page.on("console", lambda message: page.complaints.append(message.text))
    page.on("request", lambda request: page.addresses.append(request.url))
    page.goto(page_path.as_uri())
    return page


def test_hostile_names_are_text(browser, tmp_path):
    page = visit(browser, make_page(tmp_path, HOSTILE))
    assert page.evaluate("window.hacked") is None
    assert page.locator("#piece .path").first.inner_text() == HOSTILE
    assert page.complaints == []
    assert [address for address in page.addresses if not address.startswith(("file:", "data:"))] == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_fits_a_phone_and_follows_the_dark(browser, tmp_path, scheme):
    page = visit(
        browser, make_page(tmp_path, "long/" * 30), viewport={"width": 360, "height": 700}, color_scheme=scheme
    )
    assert page.evaluate("document.documentElement.scrollWidth") == 360
    paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert paper == {"light": "rgb(250, 249, 246)", "dark": "rgb(19, 21, 27)"}[scheme]
    bar = page.locator(".chart .bar").first.evaluate("node => getComputedStyle(node).fill")
    assert bar == {"light": "rgb(143, 155, 234)", "dark": "rgb(87, 103, 201)"}[scheme]


def test_charts_have_the_size_of_their_cards(browser, tmp_path):
    page = visit(browser, make_page(tmp_path))
    assert page.locator("figure.chart").count() == 6
    width = page.locator("figure.chart > svg").first.evaluate("node => node.getBoundingClientRect().width")
    bars = (
        page.locator("figure.chart")
        .first.locator(".hit")
        .evaluate_all("nodes => nodes.map(node => node.getBoundingClientRect().width)")
    )
    assert width > 300
    assert sum(bars) == pytest.approx(width, rel=0.01)
