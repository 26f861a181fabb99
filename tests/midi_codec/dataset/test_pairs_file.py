"""Pairs survive their file; a wrong file is refused with everything that is wrong with it."""

from __future__ import annotations

import json

import numpy as np
import pytest

from job_runtime.problem_report import UserError
from midi_codec.dataset import pairs_file
from midi_codec.dataset.pairs_file import Example, Pair
from midi_codec.music.notes import BEATS, Notes


def make_notes(*pitches: int) -> Notes:
    ones = np.ones(len(pitches), np.int64)
    return Notes.from_columns(
        pitch=np.array(pitches),
        velocity=90 * ones,
        start=24 * np.arange(len(pitches)),
        duration=12 * ones,
        program=0 * ones,
        tempo=96.0,
        time_base=BEATS,
    )


EXAMPLES = [
    Example("a", make_notes(60, 62), True),
    Example("b", make_notes(), False),
    Example("c", make_notes(1), True),
]


def test_pairs_survive_their_file(tmp_path):
    path = str(tmp_path / "pairs.json")
    pairs_file.write(path, EXAMPLES, [Pair("b", "a"), Pair("a", "b")], time_base=BEATS)
    pairs, time_base = pairs_file.read(path)
    assert time_base == BEATS
    assert [(better.name, worse.name) for better, worse in pairs] == [("b", "a"), ("a", "b")]
    assert pairs[0][1].notes == EXAMPLES[0].notes and pairs[0][1].ended is True
    assert len(pairs[0][0].notes) == 0 and pairs[0][0].ended is False
    assert set(json.loads((tmp_path / "pairs.json").read_text())["pieces"]) == {"a", "b"}


def test_everything_wrong_is_said(tmp_path):
    path = tmp_path / "pairs.json"
    pairs_file.write(str(path), EXAMPLES, [Pair("a", "c")], time_base=BEATS)
    found = json.loads(path.read_text())
    found["pieces"]["a"]["pitch"][1] = 128
    found["pairs"] += [{"better": "a", "worse": "d"}, {"better": "c", "worse": "c"}]
    path.write_text(json.dumps(found))
    with pytest.raises(UserError) as refused:
        pairs_file.read(str(path))
    assert refused.value.problems == [
        f"{path}: pieces.a: pitch[1] is 128, want 0 to 127",
        f"{path}: pairs[1] names 'd', want one of the pieces",
        f"{path}: pairs[2] compares 'c' with itself, want another piece",
    ]
    found = {**found, "pairs": [], "pieces": {}, "format_version": 2}
    path.write_text(json.dumps(found))
    with pytest.raises(UserError, match="format_version is 2, want 1"):
        pairs_file.read(str(path))
    path.write_text(json.dumps({**found, "format_version": 1}))
    with pytest.raises(UserError, match="pairs is empty, want at least one"):
        pairs_file.read(str(path))
    with pytest.raises(UserError, match="does not exist, want a file that generation_jobs.pairs wrote"):
        pairs_file.read(str(tmp_path / "no"))
