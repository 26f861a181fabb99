"""The report as a work bench: marks, lists, downloads, filters, the seed's own piece, bars, widths; in a browser."""

from __future__ import annotations

import contextlib
import io
import json
import shutil
import zipfile
from pathlib import Path
from typing import Any

import pytest

from generation_jobs.output import manifest, piece_bytes, selection
from generation_jobs.report import __main__ as report
from generation_jobs.report import midi_files, piece_sounds
from job_runtime import command
from midi_codec.dataset.dataset_info import DatasetInfo
from midi_codec.music.notes import BEATS
from tests.generation_jobs.report.conftest import continued
from tests.generation_jobs.report_fakes import make_dataset, make_music, make_notes

AUDIO = "document.querySelector('#audio')"
WIDTHS = (390, 1280, 1600, 1920)


def data_of(page: Any) -> dict:
    return json.loads(page.locator("#report-data").inner_text())


def listed(page: Any) -> list[int]:
    return sorted(int(node.get_attribute("data-index")) for node in page.query_selector_all("tr.piece"))


def look_at(page: Any, name: str) -> None:
    """Opens a piece, if it is not open."""
    button = page.get_by_role("button", name=f"Look at {name}")
    if button.get_attribute("aria-expanded") == "false":
        button.click()


def download(page: Any, name: str) -> tuple[str, bytes]:
    with page.expect_download() as caught:
        page.get_by_role("button", name=name).click()
    return caught.value.suggested_filename, Path(caught.value.path()).read_bytes()


def make_page(root: Path, pieces: list, data: DatasetInfo | None = None) -> Path:
    """A page that makes all sound itself; the dataset, if there is one, is in `root/data`."""
    make_music(root / "music", pieces, dataset=data.hash if data else "d" * 32)
    output = root / "report.html"
    flags = ["--music", str(root / "music"), "--output", str(output), *(["--data", str(root / "data")] if data else [])]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(piece_sounds, "rendering", lambda *args, **keywords: contextlib.nullcontext(lambda stop: {}))
        assert report.main(flags) == command.OK
    return output


# ------------------------------------------------------------------------------------------------- marks


def test_marks_stay_and_export_as_lists_that_select(visit, report_path, tmp_path):
    page = visit(report_path).page
    page.get_by_role("button", name="All 4").click()
    page.get_by_role("button", name="Keep seed-a, sample 3").click()
    page.get_by_role("button", name="Reject seed-a, sample 1").first.click()
    look_at(page, "seed-a, sample 2")
    page.get_by_role("textbox", name="Note on seed-a, sample 2").fill('slow, "odd"')
    page.keyboard.press("Tab")
    page.focus("#roll")
    page.keyboard.press("k")
    page.reload()
    page.wait_for_selector("#roll[data-view]")
    assert page.locator("#marks-count").inner_text() == "2 kept, 1 rejected"
    name, table = download(page, "Marks (CSV)")
    assert name == "marks.csv"
    assert table.decode() == (
        "piece,mark,note,path\r\n"
        "seed-a-00001,reject,,midi/seed-a/seed-a-00001.mid\r\n"
        'seed-a-00002,keep,"slow, ""odd""",midi/seed-a/seed-a-00002.mid\r\n'
        "seed-a-00003,keep,,midi/seed-a/seed-a-00003.mid\r\n"
    )
    name, kept = download(page, "Kept pieces (list)")
    assert (name, kept) == ("kept.txt", b"seed-a-00002\nseed-a-00003\n")
    lines = manifest.read(str(report_path.parent / "music"))
    for data in (table, kept):
        (tmp_path / "list").write_bytes(data)
        assert selection.select(str(tmp_path / "list"), lines) == [2, 3]
    page.get_by_role("button", name="All 4").click()
    page.get_by_role("button", name="Keep seed-a, sample 3").click()  # again: no mark
    assert page.locator("#marks-count").inner_text() == "1 kept, 1 rejected"


@pytest.mark.slow
@pytest.mark.parametrize("stored", ["{oops", '[["seed-a-00000",{"mark":"<b>","note":"<img src=x>"}]]', "[3]"])
def test_marks_that_another_program_wrote_do_no_harm(visit, report_path, stored):
    identity = data_of(visit(report_path).page)["identity"]
    before = f"localStorage.setItem('midi-lstm report {identity}', {json.dumps(stored)})"
    page = visit(report_path, before=before).page
    assert page.locator("#marks-count").inner_text() == "0 kept, 0 rejected"
    page.get_by_role("button", name="All 4").click()
    look_at(page, "seed-a, sample 0")
    assert page.locator(".mark-note").input_value() == ("<img src=x>" if "img" in stored else "")


def test_a_browser_that_stores_nothing_says_so(visit, report_path):
    before = "Object.defineProperty(window, 'localStorage', { get() { throw new Error('forbidden'); } })"
    page = visit(report_path, before=before).page
    page.locator("tr.piece .mark.keep").first.click()
    assert page.locator("#marks-count").inner_text() == (
        "1 kept, 0 rejected. This browser does not store marks: export them before you close the page"
    )


# --------------------------------------------------------------------------------------------- downloads


def test_midi_files_are_the_jobs_own_wherever_the_page_is(visit, report_path, tmp_path):
    moved = Path(shutil.copy(report_path, tmp_path / "moved.html"))
    page = visit(moved).page
    page.get_by_role("button", name="All 4").click()
    look_at(page, "seed-a, sample 3")
    folder = report_path.parent / "music" / "midi" / "seed-a"
    assert download(page, "MIDI file") == ("seed-a-00003.mid", (folder / "seed-a-00003.mid").read_bytes())
    page.locator("tr.piece .mark.keep").first.click()
    name, data = download(page, "MIDI of the 4 listed (zip)")
    assert name == "4-pieces.zip"
    archive = zipfile.ZipFile(io.BytesIO(data))
    assert archive.testzip() is None
    *names, last = archive.namelist()
    assert sorted(names) == [f"seed-a-0000{sample}.mid" for sample in range(4)] and last == "marks.csv"
    assert all(archive.read(each) == (folder / each).read_bytes() for each in names)
    assert {info.compress_type for info in archive.infolist()} == {zipfile.ZIP_STORED}


def test_a_page_says_which_files_it_has_no_room_for(visit, tmp_path, monkeypatch):
    monkeypatch.setattr(midi_files, "MAX_BYTES", 1)
    page = visit(make_page(tmp_path, [("seed", sample, make_notes(20, rng_seed=sample)) for sample in range(2)])).page
    assert page.locator("#missing").inner_text() == (
        "1 of the listed pieces is not inside this page, which holds 16 MB of MIDI files at most."
    )
    look_at(page, "seed, sample 1")
    assert page.locator(".stage-work a").get_attribute("href") == "./music/midi/seed/seed-00001.mid"
    assert "not inside this page, but beside it" in page.locator(".stage-work").inner_text()
    assert download(page, "MIDI of the 1 listed (zip)")[0] == "1-pieces.zip"


# ----------------------------------------------------------------------------------------------- filters


def test_filters(visit, report_path):
    page = visit(report_path).page
    page.select_option("#filter-ended", label="by itself (2)")
    assert listed(page) == [0, 2]
    assert page.locator("#save-zip").inner_text() == "MIDI of the 2 listed (zip)"
    page.locator("tr.piece .mark.reject").first.click()
    page.select_option("#filter-marks", label="rejected")
    assert len(listed(page)) == 1
    page.select_option("#filter-seed", label="seed-a (4)")
    page.select_option("#filter-ended", label="cut at a limit (2)")
    assert listed(page) == []
    assert page.locator("#count").inner_text() == "No piece like this"
    page.get_by_role("button", name="Clear").click()
    assert listed(page) == [0, 1, 2, 3]
    assert page.locator("#filter-screening").count() == 0  # nothing was screened


def test_rejected_pieces_are_found(visit, tmp_path, monkeypatch):
    make_line = manifest.make_line

    def screened(**fields: Any) -> dict:
        reasons = ["loop_notes"] * (fields["sample"] == 1)
        return make_line(**fields | {"screening": {"reasons": reasons, "checks": {}, "rejected": []}})

    monkeypatch.setattr(manifest, "make_line", screened)
    page = visit(make_page(tmp_path, [("seed", sample, make_notes(20, rng_seed=sample)) for sample in range(3)])).page
    page.select_option("#filter-screening", label="rejected (1)")
    assert listed(page) == [1]
    look_at(page, "seed, sample 1")
    assert "loop notes" in page.locator(".stage-facts").inner_text()


# ------------------------------------------------------------------------------- the seed's own piece, bars


def test_the_seeds_own_piece_is_beside_the_generated_one(visit, report_path):
    visited = visit(report_path)
    page = visited.page
    original = continued(make_notes(30))
    (described,) = data_of(page)["originals"]
    assert (described["source"], described["split"], described["at_note"]) == (f"{original.piece_id}.mid", "test", 0)
    assert page.locator(".original-head").inner_text().split() == [
        "Play", "How", "the", "seed's", "own", "piece", "continues:", f"{original.piece_id}.mid", "(test", "split)",
    ]  # fmt: skip
    page.get_by_role("button", name="Zoom in").click()
    views = page.evaluate("['roll', 'original-roll'].map((id) => document.getElementById(id).dataset.view)")
    assert views[0] == views[1]
    page.get_by_role("button", name="Play the seed's own piece").click()
    visited.wait(f"{AUDIO}.currentTime > 0.1")
    assert page.locator("#now").text_content() == f"{original.piece_id}.mid the seed's own"
    assert page.evaluate(f"{AUDIO}.duration") == pytest.approx(original.seconds + 0.5, abs=0.01)
    assert page.evaluate("document.querySelectorAll('.cursor')[0].hidden") is True
    page.get_by_role("button", name="Next piece").click()
    assert page.locator("#now").text_content().startswith("seed-a sample")


@pytest.mark.parametrize(
    "signatures, bars, words",
    [
        ({}, [*range(1, 78, 4)], "bars of 4/4, counted from the first note; the time signature is unknown."),
        (
            {"time": "3/4@-24, 6/8@696", "time_from": "primer"},
            [*range(5, 102, 4)],
            "bars of 3/4, 6/8, as in the primer's piece.",
        ),
        ({"time": "4/4@0", "time_from": "estimate"}, [*range(1, 78, 4)], "bars of 4/4, estimated from the notes."),
    ],
)
def test_a_beat_grid_has_bars(visit, tmp_path, monkeypatch, signatures, bars, words):
    monkeypatch.setattr(piece_bytes, "describe_signatures", lambda notes, known: signatures)
    notes = make_notes(30, time_base=BEATS)
    info = make_dataset(tmp_path / "data", {"train": [notes]}, time_base=BEATS)
    page = visit(make_page(tmp_path, [("seed", 0, notes)], info)).page
    assert page.locator("#roll").get_attribute("data-bars").split() == [str(bar) for bar in bars]
    assert words in page.locator("#roll-help").inner_text()


# ------------------------------------------------------------------------------------------ sound, widths


@pytest.mark.parametrize("before", [
    "HTMLMediaElement.prototype.canPlayType = () => ''",
    # It says that it can, and fails.
    "const set = Object.getOwnPropertyDescriptor(HTMLMediaElement.prototype, 'src').set;"
    "Object.defineProperty(HTMLMediaElement.prototype, 'src', "
    "{ set(text) { set.call(this, text.startsWith('data:') ? 'data:audio/ogg;base64,T2dn' : text); } })",
])  # fmt: skip
def test_a_browser_without_vorbis_synthesizes(visit, report_path, before):
    visited = visit(report_path, before=before)
    page = visited.page
    page.locator("tr.piece .round").first.click()
    visited.wait(f"{AUDIO}.currentTime > 0.1")
    assert page.evaluate(f"{AUDIO}.getAttribute('src')").startswith("blob:")
    want = "This browser cannot play Ogg Vorbis: the page synthesizes the sound instead."
    assert page.locator("#player-problem").inner_text() == want


def test_nothing_is_cut_at_any_width(visit, report_path):
    page = visit(report_path).page
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": 900})
        assert page.evaluate("document.documentElement.scrollWidth") == width
        cut = """() => [...document.querySelectorAll('.extremes td, .number-of, .extremes b, .controls button, select')]
            .filter((node) => node.scrollWidth > node.clientWidth + 1 && node.clientWidth
                || node.getBoundingClientRect().right > node.parentElement.getBoundingClientRect().right + 1)
            .map((node) => node.outerHTML)"""
        assert page.evaluate(cut) == []


def test_heads_stay_in_view(visit, report_path):
    page = visit(report_path).page
    for table in ("#pieces-table", ".extremes"):
        top = f"document.querySelector('{table} thead th:nth-child(2)').getBoundingClientRect().top"
        page.evaluate(f"scrollBy({{ top: {top} + 100, behavior: 'instant' }})")
        assert page.evaluate(top) == 0
