"""The page in a browser, opened from disk as a reader would: rolls, zoom, sound, keys, width, and hostile names."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from generation_jobs.output import generated_music, manifest
from generation_jobs.report import midi_files, page_content, piece_figures
from generation_jobs.report import page as report_page
from tests.generation_jobs.report.conftest import NUM_HIGHLIGHTS, NUM_PIECES
from tests.generation_jobs.report_fakes import make_music, make_notes

HOSTILE = "</script><img src=x onerror=window.hacked=1><script>window.hacked=1</script>"
AUDIO = "document.querySelector('#audio')"
NUM_DRAWN = """canvas => {
    const pixels = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;
    let drawn = 0;
    for (let index = 3; index < pixels.length; index += 4) drawn += pixels[index] > 0;
    return drawn;
}"""


# ------------------------------------------------------------------------------------------------- rolls


def test_rolls_are_drawn(visit, report_path):
    visited = visit(report_path)
    page = visited.page
    assert page.title() == "4 generated pieces"
    assert page.locator("tr.piece").count() == NUM_HIGHLIGHTS
    assert page.eval_on_selector("#roll", NUM_DRAWN) > 1000
    for number, canvas in enumerate(page.query_selector_all(".thumb canvas")):
        canvas.scroll_into_view_if_needed()
        visited.wait(f"document.querySelectorAll('.thumb canvas')[{number}].dataset.view")
        assert canvas.evaluate(NUM_DRAWN) > 100


def test_primer_notes_have_another_colour(visit, report_path):
    page = visit(report_path).page
    assert page.locator(".stage-legend").inner_text().startswith("primer, 8 notes")
    colors = """() => {
        const canvas = document.querySelector('.thumb canvas'), width = canvas.width;
        const piece = JSON.parse(document.querySelector('#report-data').textContent).pieces[canvas.dataset.index];
        const { data } = canvas.getContext('2d').getImageData(0, 0, width, canvas.height);
        const border = piece.primer_end / piece.seconds * width, strongest = [0, 0];
        for (let i = 0; i < data.length; i += 4) {
            const [red, green, blue, alpha] = data.slice(i, i + 4), x = i / 4 % width;
            const side = x < border - 1 ? 0 : x > border + 1 ? 1 : null;
            if (side === null || alpha < 100) continue;
            strongest[side] = Math.max(strongest[side], Math.max(red, green, blue) - Math.min(red, green, blue));
        }
        return strongest;
    }"""
    primer, generated = page.evaluate(colors)
    assert 0 < primer < 60 < 100 < generated  # grey, then in colour


def test_buttons_and_keys_zoom_and_pan(visit, report_path):
    visited = visit(report_path)
    page = visited.page
    whole = visited.view()
    page.get_by_role("button", name="Zoom in").click()
    closer = visited.view()
    assert closer[0] > whole[0] and closer[1] < whole[1]
    page.get_by_role("button", name="Show the whole piece").click()
    assert visited.view() == whole
    page.focus("#roll")
    page.keyboard.press("+")
    page.keyboard.press("+")
    zoomed = visited.view()
    assert zoomed[1] - zoomed[0] == pytest.approx((whole[1] - whole[0]) / 1.5**2, abs=0.01)
    page.keyboard.press("ArrowRight")
    assert visited.view()[0] > zoomed[0]
    page.keyboard.press("End")
    assert visited.view()[1] == whole[1]
    page.keyboard.press("0")
    assert visited.view() == whole


@pytest.mark.slow
def test_wheel_zooms_around_the_pointer_and_drag_pans(visit, report_path):
    visited = visit(report_path)
    page = visited.page
    page.locator("#roll").scroll_into_view_if_needed()
    box = page.locator("#roll").bounding_box()
    x, y = box["x"] + box["width"] * 0.75, box["y"] + 60
    whole = visited.view()
    page.mouse.move(x, y)
    page.mouse.wheel(0, -300)  # the roll has not been clicked: the page scrolls past it
    page.wait_for_timeout(100)
    assert visited.view() == whole
    page.locator("#roll").scroll_into_view_if_needed()
    page.focus("#roll")
    box = page.locator("#roll").bounding_box()
    y = box["y"] + 60
    page.mouse.move(x, y)
    page.mouse.wheel(0, -600)
    visited.wait(f"{visited.VIEW}[1] - {visited.VIEW}[0] < {0.5 * whole[1]}")
    first, last = visited.view()
    assert (first + last) / 2 > whole[1] / 2  # towards the pointer, right of the middle
    page.mouse.down()
    page.mouse.move(x + 80, y, steps=4)
    page.mouse.up()
    assert visited.view()[0] < first


@pytest.mark.slow
def test_two_fingers_zoom(visit, report_path):
    visited = visit(report_path, has_touch=True)
    page = visited.page
    whole = visited.view()
    page.evaluate("""() => {
        const roll = document.querySelector('#roll'), box = roll.getBoundingClientRect();
        roll.setPointerCapture = () => {};  // these pointers are made up
        const send = (type, id, x) => roll.dispatchEvent(new PointerEvent(type, {
            pointerId: id, pointerType: 'touch', clientX: box.left + x, clientY: box.top + 50, bubbles: true }));
        send('pointerdown', 1, 300); send('pointerdown', 2, 400);
        send('pointermove', 1, 200); send('pointermove', 2, 500);
        send('pointerup', 1, 200); send('pointerup', 2, 500);
    }""")
    first, last = visited.view()
    assert last - first == pytest.approx((whole[1] - whole[0]) / 3, rel=0.1)


# ------------------------------------------------------------------------------------------------- sound


def loudest_heard(page: Any) -> float:
    """The loudest sample of what is playing, heard until there is one above 0.05, at most for five seconds."""
    return page.evaluate("""() => new Promise((done) => {
        const context = new AudioContext(), analyser = context.createAnalyser();
        const source = context.createMediaElementSource(document.querySelector('#audio'));
        source.connect(analyser);
        const samples = new Float32Array(analyser.fftSize);
        let peak = 0, looks = 0;
        const look = () => {
            analyser.getFloatTimeDomainData(samples);
            for (const sample of samples) peak = Math.max(peak, Math.abs(sample));
            if (peak > 0.05 || ++looks > 100) done(peak);
            else setTimeout(look, 50);
        };
        look();
    })""")


@pytest.mark.parametrize("is_inside", [True, False])
def test_sound_plays(visit, report_path, is_inside):
    visited = visit(report_path)
    page = visited.page
    page.get_by_role("button", name="All 4").click()
    data = json.loads(page.locator("#report-data").inner_text())
    index = next(i for i, piece in enumerate(data["pieces"]) if (piece["sound"] == "inside") == is_inside)
    assert page.eval_on_selector("#audio", "audio => audio.hasAttribute('src')") is False  # nothing is loaded before
    page.get_by_role("button", name=f"Play seed-a, sample {index}").click()
    visited.wait(f"{AUDIO}.currentTime > 0.3")
    seconds = make_notes(30, rng_seed=index).seconds + (1.5 if is_inside else 0.5)
    assert page.evaluate(f"{AUDIO}.duration") == pytest.approx(seconds, abs=0.02)
    assert page.evaluate(f"{AUDIO}.src").startswith("data:audio/ogg" if is_inside else "blob:")
    assert page.locator("#now").text_content() == f"seed-a sample {index}"
    moved = page.eval_on_selector(".cursor", "node => new DOMMatrix(getComputedStyle(node).transform).e")
    assert moved > 38
    assert loudest_heard(page) > 0.05
    page.get_by_role("button", name="Pause", exact=True).click()
    visited.wait(f"{AUDIO}.paused")


@pytest.mark.slow
def test_a_click_in_the_roll_seeks_and_space_plays(visit, report_path):
    visited = visit(report_path)
    page = visited.page
    page.locator("#roll").scroll_into_view_if_needed()
    box = page.locator("#roll").bounding_box()
    page.mouse.click(box["x"] + 38 + (box["width"] - 38) / 2, box["y"] + 50)
    visited.wait(f"{AUDIO}.currentTime > 0")
    end = visited.view()[1]
    assert page.evaluate(f"{AUDIO}.currentTime") == pytest.approx(end / 2, abs=0.2)
    page.keyboard.press(" ")
    visited.wait(f"!{AUDIO}.paused")


@pytest.mark.slow
def test_after_a_piece_the_next_one_plays(visit, report_path):
    visited = visit(report_path)
    page = visited.page
    first = page.locator("#now").text_content()
    page.get_by_role("button", name="Play", exact=True).click()
    visited.wait(f"{AUDIO}.currentTime > 0.1")
    page.evaluate(f"{AUDIO}.currentTime = {AUDIO}.duration - 0.2")
    visited.wait(f"document.querySelector('#now').textContent !== {json.dumps(first)} && !{AUDIO}.paused")
    assert page.locator("tr.piece.open").get_attribute("data-index") != "0"


# -------------------------------------------------------------------------------------------------- list


@pytest.mark.slow
def test_sorting_and_search(visit, report_path):
    page = visit(report_path).page
    page.get_by_role("button", name="All 4").click()

    def samples() -> list[str]:
        return [node.get_attribute("data-index") for node in page.query_selector_all("tr.piece")]

    distances = [piece["distance"] for piece in json.loads(page.locator("#report-data").inner_text())["pieces"]]
    assert samples() == sorted("0123", key=lambda index: distances[int(index)])  # the one most like the corpus first
    likelihood = page.locator("#pieces-head").get_by_role("button", name="likelihood (nats per note)")
    likelihood.click()
    assert samples() == ["0", "1", "2", "3"]
    likelihood.click()
    assert samples() == ["3", "2", "1", "0"]
    assert page.locator("th[aria-sort]").get_attribute("aria-sort") == "ascending"
    page.fill("#search", "no such seed")
    assert samples() == []
    assert page.locator("#count").inner_text() == "No piece like this"
    page.fill("#search", "SEED-A")
    assert len(samples()) == 4


@pytest.mark.slow
def test_lowest_and_highest_pieces_open_with_a_click(visit, report_path):
    page = visit(report_path).page
    rows = {row.query_selector("th").inner_text(): row for row in page.query_selector_all("#extremes-body tr")}
    pieces = [make_notes(30, rng_seed=sample) for sample in range(NUM_PIECES)]
    lengths = sorted((notes.seconds, index) for index, notes in enumerate(pieces))
    lowest, likest, highest, corpus = rows["Length (min:s)"].query_selector_all("td")
    assert [end.get_attribute("title") for end in lowest.query_selector_all("button")] == [
        f"seed-a, sample {index}" for _, index in lengths[:3]
    ]
    assert highest.query_selector("button").get_attribute("title") == f"seed-a, sample {lengths[-1][1]}"
    assert (likest.inner_text(), corpus.inner_text()) == ("–", "–")
    _, likest, _, corpus = rows["Pitch (MIDI number)"].query_selector_all("td")
    assert len(likest.query_selector_all("button")) == 3 and " to " in corpus.inner_text()
    worst = rows["Log‑likelihood (nats per note)"].query_selector("td:nth-child(2) button")  # no highlight
    assert worst.get_attribute("title") == "seed-a, sample 3"
    worst.click()
    assert page.locator("tr.piece.open").get_attribute("data-index") == "3"


def test_lowest_and_highest_have_whole_names(visit, tmp_path):
    make_music(tmp_path / "music", [("seed", 0, make_notes(40))])
    (line,) = manifest.read(str(tmp_path / "music"))
    names = [f"jigs_simple_chords_of_a_long_collection_{number}" for number in (31, 32)]
    pieces = [
        generated_music.GeneratedPiece({**line, "seed_id": name}, make_notes(40, rng_seed=index))
        for index, name in enumerate(names)
    ]
    page = visit(rendered(tmp_path / "report.html", pieces)).page
    for width in (390, 1280):
        page.set_viewport_size({"width": width, "height": 800})
        seeds = page.query_selector_all("#extremes-body .seed")
        assert {seed.inner_text() for seed in seeds} == set(names)
        assert all(seed.evaluate("node => node.scrollWidth <= node.clientWidth") for seed in seeds)
        assert page.evaluate("document.documentElement.scrollWidth") == width


@pytest.mark.slow
def test_a_measure_is_shown_while_the_list_is_sorted_by_it(visit, report_path):
    page = visit(report_path).page
    page.get_by_role("button", name="All 4").click()
    assert page.locator("#extra-head").is_visible() is False
    page.select_option("#sort", label="Duration (s)")
    data = json.loads(page.locator("#report-data").inner_text())
    place = [measure["name"] for measure in data["measures"]].index("duration")
    order = sorted(range(4), key=lambda index: -data["pieces"][index]["figures"][place])
    assert [int(node.get_attribute("data-index")) for node in page.query_selector_all("tr.piece")] == order
    assert page.locator("#extra-head").inner_text() == "Duration (s) ↓"
    shown = [float(node.inner_text()) for node in page.query_selector_all("td.extra")]
    assert shown == pytest.approx([data["pieces"][index]["figures"][place] for index in order], abs=0.005)


def test_charts_are_drawn(visit, report_path):
    page = visit(report_path).page
    assert page.locator("#comparison-charts svg").count() == 13
    assert page.locator("#training-charts svg").count() == 3
    assert page.locator("#comparison-charts svg").nth(0).get_attribute("aria-label").startswith("Pitch: overlap")
    for path in page.query_selector_all(".chart path"):
        assert "NaN" not in path.get_attribute("d")
    assert "6.055" in page.locator("#training .scores").inner_text()


def test_a_phone_needs_no_horizontal_scrolling(visit, report_path):
    visited = visit(report_path, viewport={"width": 360, "height": 740}, has_touch=True, is_mobile=True)
    page = visited.page
    assert page.evaluate("document.documentElement.scrollWidth") == 360
    assert page.eval_on_selector("#roll", NUM_DRAWN) > 1000
    page.locator("tr.piece .round").first.tap()
    visited.wait(f"{AUDIO}.currentTime > 0.1")


@pytest.mark.slow
def test_no_width_needs_horizontal_scrolling_and_dark_is_dark(visit, report_path):
    page = visit(report_path).page
    for width in (600, 790, 1030):
        page.set_viewport_size({"width": width, "height": 700})
        assert page.evaluate("document.documentElement.scrollWidth") <= width
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (sum(map(int, paper[4:-1].split(","))) < 120) == (scheme == "dark")


@pytest.mark.slow
def test_everything_can_be_reached_by_keyboard(visit, report_path):
    page = visit(report_path).page
    wanted = {"show-highlights", "show-all", "search", "roll", "toggle", "next", "previous", "position", "now"}
    for _ in range(400):
        page.keyboard.press("Tab")
        wanted.discard(page.evaluate("document.activeElement.id"))
        if not wanted:
            break
    assert wanted == set()


# ------------------------------------------------------------------------------------ hostile and large


def rendered(path: Path, pieces: list[generated_music.GeneratedPiece]) -> Path:
    """A page that makes all sound itself."""
    content = page_content.make_content(
        pieces,
        num_all=len(pieces),
        highlights=range(min(20, len(pieces))),
        figures=piece_figures.figures_of(pieces, "milliseconds"),
        sounds={},
        midi=(b"", [0] * len(pieces)),
        midi_links={index: midi_files.quote(piece.line["path"]) for index, piece in enumerate(pieces)},
        originals={},
        run=None,
        info=None,
        comparisons=[],
        comparison_note=HOSTILE,
        runs=None,
        facts=[(HOSTILE, HOSTILE)],
    )
    path.write_bytes(report_page.render(content))
    return path


def hostile_piece(sample: int, root: Path) -> generated_music.GeneratedPiece:
    make_music(root, [("seed", 0, make_notes(20))])
    (line,) = manifest.read(str(root))
    words = {name: HOSTILE for name in ("seed_id", "bundle", "dataset", "code_version", "rng_seed", "piece_id")}
    line |= words | {"sample": sample, "path": f"javascript:window.hacked=1//{HOSTILE}", "ended": HOSTILE}
    line |= {"settings": {HOSTILE: HOSTILE}, "checks": {HOSTILE: HOSTILE}}
    return generated_music.GeneratedPiece(line, make_notes(20))


def test_text_from_data_never_runs(visit, tmp_path):
    page = visit(rendered(tmp_path / "report.html", [hostile_piece(0, tmp_path / "music")])).page
    page.get_by_role("button", name="All 1").click()
    page.wait_for_timeout(200)
    assert page.evaluate("window.hacked") is None
    assert page.locator("img").count() == 0
    assert page.locator("td.name").inner_text().startswith(HOSTILE)
    assert HOSTILE in page.locator(".facts").inner_text()
    assert page.locator(".stage a").get_attribute("href").startswith("./javascript%3A")


def test_an_injected_script_does_not_run(browser, report_path, tmp_path):
    """The second wall: the page's own policy allows its own script alone."""
    broken = tmp_path / "report.html"
    text = report_path.read_text("utf-8")
    broken.write_text(text.replace("<main>", "<main><script>window.hacked=1</script><img src=x onerror=hacked=1>"))
    page = browser.new_page()
    page.goto(broken.as_uri())
    page.wait_for_selector("#roll[data-view]")
    assert page.evaluate("window.hacked") is None
    page.close()


@pytest.mark.slow
def test_a_thousand_pieces(visit, tmp_path):
    make_music(tmp_path / "music", [("seed", 0, make_notes(200))])
    (line,) = manifest.read(str(tmp_path / "music"))
    pieces = [
        generated_music.GeneratedPiece({**line, "seed_id": f"seed-{index:03d}"}, make_notes(200))
        for index in range(1000)
    ]
    path = rendered(tmp_path / "report.html", pieces)
    assert path.stat().st_size < 4_000_000
    visited = visit(path)
    page = visited.page
    page.get_by_role("button", name="All 1,000").click()
    assert page.locator("tr.piece").count() == 50
    drawn = page.evaluate("[...document.querySelectorAll('.thumb canvas')].filter(c => c.dataset.view).length")
    assert 0 < drawn < 50  # those near the window
    page.get_by_role("button", name="Show 50 more").click()
    assert page.locator("tr.piece").count() == 100
    page.locator("tr.piece").nth(99).scroll_into_view_if_needed()
    visited.wait("document.querySelectorAll('.thumb canvas')[99].dataset.view")
    visited.wait("document.querySelectorAll('.thumb canvas')[0].width === 0")  # freed again
