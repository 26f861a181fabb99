"""The command: input, output, highlights and errors. Sound is faked; `test_page` opens a real page."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import json
import os
import re
import signal
from pathlib import Path

import numpy as np
import pytest

from generation_jobs import audio_file
from generation_jobs.measures.corpus_comparison import Looks, compare
from generation_jobs.output import generated_music, manifest
from generation_jobs.report import __main__ as report
from generation_jobs.report import midi_files, page_content, page_texts, piece_figures, piece_sounds
from job_runtime import command, storage
from job_runtime.problem_report import UserError
from midi_codec import audio
from midi_codec.measures.music_measures import Part, measures
from midi_codec.music.notes import BEATS, MILLISECONDS
from midi_codec.music.signatures import Signatures
from tests.generation_jobs.report_fakes import BUNDLE_HASH, make_dataset, make_music, make_notes, make_run

PIECES = [(f"seed-{index // 2}", index % 2, make_notes(30, rng_seed=index)) for index in range(6)]


@pytest.fixture(autouse=True)
def fake_sound(monkeypatch, threads_for_processes):
    """Sound that takes no time; each note makes a thousand bytes."""
    monkeypatch.setattr(audio_file, "encode", lambda samples, rate, **_: b"OggS" + bytes(len(samples) * 1000 // rate))
    monkeypatch.setattr(audio, "play", lambda strokes: np.zeros((len(strokes) * audio.RENDER_RATE, 2)))


@pytest.fixture
def folders(tmp_path) -> Path:
    """A small job, the dataset and the run it came from."""
    info = make_dataset(
        tmp_path / "data",
        {
            "train": [make_notes(60, rng_seed=seed) for seed in range(50, 55)],
            "validation": [make_notes(60, rng_seed=9)],
        },
    )
    make_music(tmp_path / "music", PIECES, dataset=info.hash)
    make_run(tmp_path / "run")
    return tmp_path


def make_report(root: Path, *flags: str, music: str = "music") -> str:
    output = root / "report.html"
    assert report.main(["--music", str(root / music), "--output", str(output), *flags]) == command.OK
    return output.read_text("utf-8")


def data_of(page: str) -> dict:
    block = re.search(r'<script type="application/json" id="report-data">(.*?)</script>', page, re.DOTALL)
    assert block
    return json.loads(block[1])


# ---------------------------------------------------------------------------------------------- contents


def test_a_page_with_everything(folders, capsys):
    page = make_report(folders, "--data", str(folders / "data"), "--run", str(folders / "run"))
    data = data_of(page)
    assert [(piece["seed_id"], piece["sample"]) for piece in data["pieces"]] == [piece[:2] for piece in PIECES]
    assert {piece["sound"] for piece in data["pieces"]} == {"inside"}
    assert [measure["title"] for measure in data["comparison"]] == [
        "Pitch", "Drum", "Pitch class", "Interval", "Step to the next note", "Duration", "Velocity",
        "Onsets per second", "Notes sounding at once", "Recurring patterns", "Phrase length", "Notes in key",
        "Longest note",
    ]  # fmt: skip
    assert [chart["title"] for chart in data["training"]] == ["Validation", "Validation by field", "Training loss"]
    assert "5-gram 7.00, bigram 7.40, unigram 9.10" in page
    assert "report.html: 6 pieces" in capsys.readouterr().out


def test_a_page_without_dataset_and_run(folders):
    page = make_report(folders)
    assert data_of(page)["comparison"] == [] and data_of(page)["training"] == []
    assert 'id="comparison"' not in page and 'id="training"' not in page


def test_the_comparison_is_of_generated_notes_with_the_training_split(folders):
    page = make_report(folders, "--data", str(folders / "data"))
    want = compare(
        Looks(measures(MILLISECONDS), [Part(notes, 8) for _, _, notes in PIECES]),
        [Part(make_notes(60, rng_seed=seed).take(slice(30)), 8) for seed in range(50, 55)],
        [Part(make_notes(60, rng_seed=9).take(slice(30)), 8)],
    )
    want = [comparison for comparison in want if comparison.corpus is not None]
    got = data_of(page)["comparison"]
    assert [m["title"] for m in got] == [c.measure.title for c in want]
    assert [(m["overlap"], m["ceiling"]) for m in got] == [(c.overlap, c.ceiling and c.ceiling.overlap) for c in want]
    assert [m["wasserstein"] for m in got] == [c.wasserstein for c in want]
    assert "5 of 5 training pieces" in page


def test_a_dataset_on_beats_is_compared_on_beats(tmp_path):
    pieces = [("seed", 0, make_notes(30, rng_seed=0, time_base=BEATS))]
    info = make_dataset(tmp_path / "data", {"train": [make_notes(60, time_base=BEATS)]}, time_base=BEATS)
    make_music(tmp_path / "music", pieces, dataset=info.hash)
    page = make_report(tmp_path, "--data", str(tmp_path / "data"))
    step = next(m for m in data_of(page)["comparison"] if m["title"] == "Step to the next note")
    assert step["ticks"][3] == [11, "1"]
    assert sum(step["generated"]) == pytest.approx(1, abs=1e-4)
    assert step["ceiling"] is None  # no validation split


def test_pieces_and_corpus_have_the_same_measures(folders):
    data = data_of(make_report(folders, "--data", str(folders / "data")))
    names = [measure["name"] for measure in data["measures"]]
    assert names == [
        "pitch", "drum", "pitch_class", "interval", "step", "duration", "velocity", "density", "polyphony",
        "recurrence", "phrase", "key_share", "longest_note",
    ]  # fmt: skip
    for number, piece in enumerate(data["pieces"]):
        part = Part(PIECES[number][2], 8)
        want = [measure.piece_figure(part) for measure in measures(MILLISECONDS) if measure.name in names]
        assert piece["figures"] == [round(figure, 4) for figure in want]
    low, middle, high = data["measures"][0]["corpus"]
    train = [make_notes(60, rng_seed=seed).take(slice(0, 30)) for seed in range(50, 55)]
    pitches = [notes.pitch[notes.program != 128][0:].mean() for notes in train]
    assert min(pitches) - 5 < low < middle < high < max(pitches) + 5
    assert all(measure["corpus"] is None for measure in data_of(make_report(folders))["measures"])


def test_a_large_set_is_shown_as_a_sample_that_says_so(tmp_path, monkeypatch):
    make_music(tmp_path / "music", [("seed", number, make_notes(20, rng_seed=number)) for number in range(9)])
    make_music(tmp_path / "less", [("seed", number, make_notes(20, rng_seed=number)) for number in range(8)])
    lines, num_all = generated_music.sample(str(tmp_path / "music"), num_pieces=4)
    names = [f"seed:{line['sample']}" for line in lines]
    wanted = sorted((f"seed:{number}" for number in range(9)), key=lambda name: hashlib.sha256(name.encode()).digest())
    assert (names, num_all) == (sorted(wanted[:4]), 9)
    others = generated_music.sample(str(tmp_path / "less"), num_pieces=4)[0]  # most stay where pieces are added
    assert sum(line in others for line in lines) >= 3
    assert list(page_texts.sample_note(4, 9)) == [
        "This page is about a sample: 4 of 9 pieces, chosen by a hash of their names. All its figures are those of the "
        "sample; generation_jobs.evaluate and generation_jobs.compare read all pieces."
    ]
    assert [page_texts.counted(*numbers) for numbers in ((1, 1), (9, 9), (4, 9))] == [
        "1 piece", "9 pieces", "4 of 9 pieces",
    ]  # fmt: skip
    assert list(page_texts.sample_note(9, 9)) == []


def test_settings_by_field_are_shown_as_flags_take_them(tmp_path):
    make_music(tmp_path / "music", PIECES[:2])
    pieces = []
    for line, min_p in zip(manifest.read(str(tmp_path / "music")), ({"pitch": 0.05, "step": 0.1}, None), strict=True):
        line["settings"] = {"min_p": min_p, "max_notes": 300}
        pieces.append(generated_music.GeneratedPiece(line, PIECES[0][2]))
    assert list(page_texts.origin(pieces))[-2:] == [
        ("Min p", "pitch=0.05,step=0.1, none"),
        ("Max notes", "300"),
    ]
    shown = [page_content._describe(piece, [])["settings"] for piece in pieces]
    assert shown == [{"min_p": "pitch=0.05,step=0.1", "max_notes": "300"}, {"max_notes": "300"}]


def test_screening_is_shown(tmp_path):
    make_music(tmp_path / "music", PIECES[:1])
    (line,) = manifest.read(str(tmp_path / "music"))
    line["screening"] = {"reasons": ["loop_notes"], "checks": {"loop_notes": 40.0}, "rejected": [{}, {}]}
    line["path"] = "midi/pieces-00000-of-00001.tar!seed-0/seed-0-00000.mid"
    piece = generated_music.GeneratedPiece(line, PIECES[0][2])
    described = page_content._describe(piece, [])
    assert (described["reasons"], described["num_rejected"]) == (["loop_notes"], 2)
    assert midi_files.links([piece], "music", "report.html") == {}  # a member of a tar has no address


def test_the_columns_for_the_script():
    notes = make_notes(5, time_base=BEATS)
    raw = base64.b64decode(page_content.pack_notes(notes))
    milliseconds = 1000 * notes.seconds_per_tick
    np.testing.assert_array_equal(np.frombuffer(raw, "<u4", 5), np.rint(notes.start * milliseconds))
    ends = np.frombuffer(raw, "<u4", 5) + np.frombuffer(raw, "<u4", 5, offset=20)
    np.testing.assert_array_equal(ends, np.rint(notes.end * milliseconds))
    np.testing.assert_array_equal(
        np.frombuffer(raw, np.uint8, 15, offset=40), np.concatenate([notes.pitch, notes.velocity, notes.program])
    )


@pytest.mark.parametrize(
    "times, origin, bars, note",
    [
        ("", None, [(0, 4, 4)], "bars of 4/4, counted from the first note; the time signature is unknown."),
        ("3/4@-24, 6/8@696", "primer", [(-1, 3, 3), (29, 3, 6)], "bars of 3/4, 6/8, as in the primer's piece."),
        ("2/2@96", "estimate", [(0, 4, 4), (4, 4, 2)], "bars of 2/2, estimated from the notes."),
    ],
)
def test_bars_are_those_of_the_time_signature(times, origin, bars, note):
    notes = dataclasses.replace(make_notes(30, time_base=BEATS), signatures=Signatures.parse(times))
    described = page_content._describe_notes(notes, 8)
    assert described["metre"] == [dict(zip(("from", "quarters", "beats"), bar, strict=True)) for bar in bars]
    assert described["seconds_per_quarter"] == 0.5
    assert page_content._metre_note(notes, origin) == f"The numbers are {note}"
    notes = make_notes(30)
    assert (page_content._describe_notes(notes, 8)["metre"], page_content._metre_note(notes, None)) == ([], "")


def test_a_run_or_dataset_of_other_music_is_reported(folders):
    make_run(folders / "other-run", bundle_hash="e" * 32)
    make_dataset(folders / "other-data", {"train": [make_notes(60)]})
    page = make_report(folders, "--data", str(folders / "other-data"), "--run", str(folders / "other-run"))
    assert f"The training run is that of bundle {'e' * 32}; the music was made by {BUNDLE_HASH}." in page
    assert "The corpus is dataset" in page


def test_a_packed_corpus_is_the_dataset_that_it_was_packed_from(tmp_path):
    info = make_dataset(tmp_path / "data", {"train": [make_notes(60)]})
    make_music(tmp_path / "music", PIECES[:1], dataset=info.hash)
    pieces = generated_music.read(str(tmp_path / "music"), time_base=info.time_base)
    packed = dataclasses.replace(info, settings={"packed_from": info.hash}, other_files=1)
    assert packed.hash != info.hash and not list(page_texts.warnings(pieces, None, packed, [], None))
    other = dataclasses.replace(packed, settings={})
    assert list(page_texts.warnings(pieces, None, other, [], None)) == [
        f"The corpus is dataset {other.hash}; the model was trained on {info.hash}."
    ]


def test_a_piece_without_notes_has_no_sound(tmp_path):
    make_music(tmp_path / "music", [("empty", 0, PIECES[0][2].take(slice(0))), ("whole", 0, PIECES[0][2])])
    empty, whole = data_of(make_report(tmp_path))["pieces"]
    assert (empty["num_notes"], empty["sound"], empty["log_likelihood_per_note"]) == (0, None, None)
    assert not empty["is_highlight"]
    assert whole["sound"] == "inside"


def test_links_to_midi_files_are_relative(folders):
    assert data_of(make_report(folders))["pieces"][1]["link"] == "./music/midi/seed-0/seed-0-00001.mid"


# -------------------------------------------------------------------------------------------- highlights


def test_highlights_are_spread_over_the_distance():
    distances = [9.0, 1.0, 5.0, 3.0, 7.0, None, 2.0]
    assert piece_figures.choose_highlights(distances, 3) == [0, 1, 3]  # the least, the most, and the middle: 3
    assert piece_figures.choose_highlights(distances, 20) == [0, 1, 2, 3, 4, 6]
    assert piece_figures.choose_highlights([None]) == []
    assert piece_figures.choose_highlights([2.0, 1.0, 1.0, 1.0], 2) == [0, 1]  # of equal ones the first


def test_twenty_highlights_of_a_hundred_pieces_are_evenly_spaced():
    chosen = piece_figures.choose_highlights([float(index) for index in range(1, 101)])
    assert len(chosen) == 20 and chosen[0] == 0 and chosen[-1] == 99
    assert set(np.diff(chosen)) <= {5, 6}


# ------------------------------------------------------------------------------------------------- sound


def test_only_the_highlights_are_rendered(folders, monkeypatch):
    monkeypatch.setattr(piece_figures, "choose_highlights", lambda distances: [0, 3])
    page = make_report(folders)
    assert [piece["sound"] for piece in data_of(page)["pieces"]] == ["inside", "made", "made", "inside", "made", "made"]
    assert re.findall(r'<script type="text/plain" id="sound-(\d+)">', page) == ["0", "3"]
    assert "this page synthesizes that of the others when they are played" in page


def test_sound_beyond_the_limit_is_left_to_the_page(folders, monkeypatch):
    sizes = [len(audio_file.encode(audio.render(notes), audio.SAMPLE_RATE, format="ogg")) for _, _, notes in PIECES]
    monkeypatch.setattr(piece_sounds, "MAX_BYTES", sum(sizes[:3]))
    pieces = data_of(make_report(folders))["pieces"]
    assert [piece["sound"] for piece in pieces] == ["inside"] * 3 + ["made"] * 3


def test_a_stop_leaves_no_page(folders, monkeypatch):
    todo = [signal.SIGTERM]  # sent once: the threads that go on must not end this process

    def encode(samples, rate, format):
        if todo:
            os.kill(os.getpid(), todo.pop())
        return b"OggS"

    monkeypatch.setattr(audio_file, "encode", encode)
    output = folders / "report.html"
    status = command.run("report", report.main, ["--music", str(folders / "music"), "--output", str(output)])
    assert status == command.INTERRUPTED
    assert not output.exists()


# ---------------------------------------------------------------------------------------------- mistakes


def mistakes(*flags: str) -> list[str]:
    with pytest.raises(UserError) as caught:
        report.main(list(flags))
    return caught.value.problems


def test_all_mistakes_are_reported(tmp_path):
    nowhere = str(tmp_path / "nowhere")
    problems = mistakes("--music", nowhere, "--data", nowhere, "--run", nowhere, "--output", str(tmp_path))
    assert len(problems) == 5
    assert "want a name that ends in .html" in problems[0]
    assert "is a folder" in problems[1]
    assert "no job.json" in problems[2]
    assert "no metrics.jsonl" in problems[3]
    assert "is not a complete dataset" in problems[4]


def test_missing_and_damaged_midi_files_are_named(folders):
    midi = folders / "music" / "midi"
    (midi / "seed-0" / "seed-0-00000.mid").unlink()
    (midi / "seed-2" / "seed-2-00001.mid").write_bytes(b"MThd")
    problems = mistakes("--music", str(folders / "music"), "--output", str(folders / "report.html"))
    assert len(problems) == 2
    assert "seed-0-00000.mid' does not exist" in problems[0]
    assert "seed-2-00001.mid' cannot be read" in problems[1]


def test_a_damaged_dataset(folders):
    shard = next((folders / "data").glob("train-*.tfrecord"))
    shard.write_bytes(shard.read_bytes()[:-3])
    flags = ["--music", str(folders / "music"), "--output", str(folders / "report.html")]
    (problem,) = mistakes(*flags, "--data", str(folders / "data"))
    assert "cannot be read" in problem and shard.name in problem


def test_a_dataset_without_training_pieces(tmp_path):
    make_music(tmp_path / "music", PIECES)
    make_dataset(tmp_path / "data", {"validation": [make_notes(9)]})
    flags = ["--music", str(tmp_path / "music"), "--output", str(tmp_path / "report.html")]
    (problem,) = mistakes(*flags, "--data", str(tmp_path / "data"))
    assert "no piece in its train split" in problem


@pytest.mark.parametrize("text, words", [("", "is empty"), ("{oops\n", "metrics.jsonl:1: not JSON: ")])
def test_a_run_that_cannot_be_read(folders, text, words):
    (folders / "run" / "metrics.jsonl").write_text(text)
    flags = ["--music", str(folders / "music"), "--output", str(folders / "report.html")]
    (problem,) = mistakes(*flags, "--run", str(folders / "run"))
    assert words in problem


def test_a_diverged_run_has_gaps_in_its_curves(folders):
    path = folders / "run" / "metrics.jsonl"
    points = [json.loads(line) for line in path.read_text().splitlines()]
    points[3]["validation_nll"] = float("nan")
    points[4]["validation_nll"] = None
    path.write_text("".join(f"{json.dumps(point)}\n" for point in points))
    whole, by_field, _ = data_of(make_report(folders, "--run", str(folders / "run")))["training"]
    assert len(whole["lines"][0]["points"]) == len(points) - 2
    assert len(by_field["lines"][0]["points"]) == len(points)


@pytest.mark.slow
def test_music_data_and_page_in_a_bucket(folders, gs_bucket, monkeypatch):
    monkeypatch.setattr(piece_figures, "choose_highlights", lambda distances: [0])
    for path in folders.rglob("*"):
        if path.is_file():
            storage.write_bytes(f"{gs_bucket}/{path.relative_to(folders)}", path.read_bytes())
    output = f"{gs_bucket}/pages/report.html"
    flags = ["--music", f"{gs_bucket}/music", "--data", f"{gs_bucket}/data", "--run", f"{gs_bucket}/run"]
    assert report.main([*flags, "--output", output]) == command.OK
    pieces = data_of(storage.read_text(output))["pieces"]
    assert len(pieces) == 6 and pieces[0]["sound"] == "inside" and pieces[0]["link"] is None
