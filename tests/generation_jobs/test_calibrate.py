"""The amount of copying at which music is most like its corpus, and where it is written."""

from __future__ import annotations

import dataclasses
import json
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from generation_jobs import calibrate
from generation_jobs.measures.corpus_comparison import Means
from generation_jobs.settings.requests import Request, Result
from job_runtime import command
from midi_codec.dataset import dataset_info
from midi_codec.measures.thresholds import Screen
from midi_codec.music.notes import BEATS, MILLISECONDS, Notes
from tests.generation_jobs.fakes import FakeDecoder, make_bundle
from tests.generation_jobs.report_fakes import make_dataset
from trainer import bundle

COPIES = {"attention": "copy"}
NUM_NOTES = 120


def music(number: int, *, repeats: int) -> Notes:
    """Of two pieces with equal numbers, each has the same notes; one repeats a phrase, the other hardly does."""
    rng = np.random.default_rng(number)
    phrase = NUM_NOTES // repeats
    return Notes.from_columns(
        pitch=np.tile(60 + rng.integers(0, 12, phrase), repeats),
        velocity=np.tile(rng.integers(60, 90, phrase), repeats),
        start=np.cumsum(np.tile(rng.integers(100, 300, phrase), repeats)) - 100,
        duration=np.full(NUM_NOTES, 90),
        program=np.zeros(NUM_NOTES, np.int64),
        time_base=MILLISECONDS,
    ).from_first_onset()


@dataclasses.dataclass
class Repeating(FakeDecoder):
    """Repeats itself as the corpus does if copying counts 1.2 times or more."""

    def _result(self, request: Request) -> Result:
        notes = music(100 + request.key[1] % 50, repeats=5 if request.copying >= 1.2 else 1)
        return Result(notes, 0 if request.primer is None else len(request.primer), -1.0, False)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    splits = {"train": range(8), "validation": range(20, 24), "test": ()}
    info = make_dataset(
        tmp_path / "data",
        {name: [music(number, repeats=4) for number in of_split] for name, of_split in splits.items()},
    )
    made = make_bundle()
    dataset = {**made.dataset, "hash": info.corpus_hash}
    bundle.save(str(tmp_path / "bundle"), dataclasses.replace(made, config=COPIES, dataset=dataset))
    monkeypatch.setattr(calibrate, "_make_decoder", lambda _: Repeating())
    monkeypatch.setattr(calibrate, "NUM_PIECES", 8)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*flags: str) -> int:
    line = ["--bundle", "bundle", "--data", "data", *flags]
    return command.run("calibrate", calibrate.main, line)


def test_copying_rises_until_patterns_recur_as_in_the_corpus(folder, capsys):
    before = bundle.load("bundle")
    assert run("--output", "copying.json") == command.OK
    after = bundle.load("bundle")
    best = {**calibrate.WAYS[0], "copying": 1.3}
    assert (before.sampling, after.sampling, after.hash) == ({}, best, before.hash)
    found = json.loads((folder / "copying.json").read_text())
    assert (found["bundle"], found["sampling"]) == (before.hash, best)
    assert [trial["sampling"] for trial in found["trials"]] == [
        {**way, "copying": amount} for way in calibrate.WAYS for amount in (1.0, 1.15, 1.3, 1.5)
    ]
    first, _, last = found["trials"][:3]
    assert (first["measure"], first["recurrence"] < 0.1) == ("recurrence", True)
    assert last["recurrence"] >= last["corpus_recurrence"] > 0.7
    lines = capsys.readouterr().out.splitlines()
    way = "--min-p 0.03 --temperature pitch=1.15"
    assert lines[0].startswith(f"{way} --copying 1: 0.0")
    assert lines[-1] == f"best: {way} --copying 1.3, written into bundle/bundle.json"


def test_no_other_way_is_tried_after_one_that_is_good_enough(folder, monkeypatch, capsys):
    monkeypatch.setattr(calibrate, "ENOUGH", 0.8)
    assert run() == command.OK
    assert [line.partition(":")[0] for line in capsys.readouterr().out.splitlines()[:-1]] == [
        f"--min-p 0.03 --temperature pitch=1.15 --copying {amount}" for amount in ("1", "1.15", "1.3")
    ]


def test_what_the_screen_rejects_does_not_count(folder, capsys):
    screen = Screen({"loop_notes_32": 60.0}, MILLISECONDS, "d" * 32)  # those that repeat a phrase of 24 notes
    (folder / "screen.json").write_text(screen.to_json())
    assert run("--screen", "screen.json", "--output", "copying.json") == command.OK
    assert "--copying 1.3: 0 of 8 pieces pass the screen, too few" in capsys.readouterr().out
    trials = json.loads((folder / "copying.json").read_text())["trials"]
    assert [trial["sampling"]["copying"] for trial in trials] == [1.0, 1.15] * len(calibrate.WAYS)
    (folder / "screen.json").write_text(dataclasses.replace(screen, thresholds={"longest_repeat": 0.0}).to_json())
    assert run("--screen", "screen.json", "--output", "copying.json") == command.OK
    assert "--copying 1: 0 of 8 pieces pass the screen, too few" in capsys.readouterr().out
    assert json.loads((folder / "copying.json").read_text())["trials"] == []
    (folder / "screen.json").write_text(dataclasses.replace(screen, time_base=BEATS).to_json())
    assert run("--screen", "screen.json") == command.USER_ERROR
    said = capsys.readouterr().err
    assert "--screen is on the grid of beats, the model on that of milliseconds; want the same" in said


def test_a_model_that_does_not_copy_is_tried_once_in_each_way(folder, capsys):
    described = bundle.load("bundle")
    bundle.save("bundle", dataclasses.replace(described, config={}))
    assert run("--output", "copying.json") == command.OK
    found = json.loads((folder / "copying.json").read_text())
    assert [trial["sampling"] for trial in found["trials"]] == [dict(way) for way in calibrate.WAYS]
    assert bundle.load("bundle").sampling == found["sampling"] == dict(calibrate.WAYS[0])  # all are alike
    assert capsys.readouterr().out.splitlines()[-2].startswith("the defaults: 0.0")


def test_all_mistakes_at_once(folder, capsys):
    other = make_dataset(folder / "other", {"train": [music(1, repeats=1)]})
    trained_on = dataset_info.load("data").corpus_hash
    line = ["--bundle", "bundle", "--data", "other", "--output", "data", "--max-notes", "0"]
    assert command.run("calibrate", calibrate.main, line) == command.USER_ERROR
    said = capsys.readouterr().err
    assert "--max-notes is '0'" in said
    assert f"--data is dataset {other.corpus_hash}, the bundle was trained on {trained_on}; want the latter" in said
    assert "--split is validation, which has no notes in other; want one that has" in said
    assert "--output 'data' is a folder" in said
    assert command.run("calibrate", calibrate.main, ["--bundle", "box", "--data", "data"]) == command.USER_ERROR
    assert "--bundle is box, which is part of the program" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("means", "want"),
    [
        ((0.2, 0.3, 0.4), 0.2 / 0.3),
        ((0.35, 0.3, 0.4), 1.0),  # no more often than in held-out pieces
        ((0.0, 0.2, 0.0), 0.0),  # few held-out pieces may have none
        ((0.8, 0.3, 0.4), 0.5),  # too much is not like the corpus either
        ((0.3, 0.3, None), 1.0),
        ((None, None, None), 1.0),
    ],
)
def test_patterns_recur_as_in_the_corpus(means, want):
    likeness: dict[str, Any] = {
        "pitch": (0.8, (1.0, 1.0, 1.0)),
        "drum": (None, (None,) * 3),
        "recurrence": (0.1, means),
    }
    comparisons: list[Any] = [
        SimpleNamespace(measure=SimpleNamespace(name=name), of_ceiling=like, means=Means(*each))
        for name, (like, each) in likeness.items()
    ]
    trial = calibrate.judge({"copying": 1.3}, comparisons)
    margins = {"pitch": 0.8 / 0.8, "recurrence": want / 0.5}
    least = min(margins, key=lambda name: margins[name])
    assert (trial.sampling, trial.measure) == ({"copying": 1.3}, least)
    assert trial.margin == pytest.approx(margins[least])
