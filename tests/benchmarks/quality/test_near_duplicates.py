"""The benchmark of near-duplicates counts right, and runs."""

from __future__ import annotations

import json

import numpy as np
import pytest

from benchmarks.harness import synthetic
from benchmarks.quality import near_duplicates
from benchmarks.quality.near_duplicates import Change, Corpus, make_copy, rows_of, search_copies, search_corpus
from job_runtime.problem_report import UserError
from midi_codec.music.notes import DRUM_PROGRAM, Notes


def make_corpus(keys: list[int], same_piece: list[int], names: list[str]) -> Corpus:
    pieces = [synthetic.make_notes(key, 300) for key in keys]
    return Corpus("music", names, pieces, np.array(same_piece), rows_of(pieces))


def test_pairs_are_held_against_what_is_known(capsys):
    corpus = make_corpus([1, 1, 2, 2, 3, 4], [0, 0, 1, 2, 3, 3], ["a/score.mid", "a/x.mid", "b", "c", "d/x", "d/y"])
    report = search_corpus(corpus, show=True)
    assert report == {
        "pieces": 6,
        "with_fingerprint": 6,
        "pairs": 2,
        "pairs_of_two_pieces": 1,
        "groups": 2,
        "largest_group": 2,
        "recall_performance_performance": 0.0,
        "known_performance_performance": 1,
        "recall_score_performance": 1.0,
        "known_score_performance": 1,
    }
    assert "1.00 b c" in capsys.readouterr().out


def test_copies_found_and_false_pairs(monkeypatch):
    corpora = [make_corpus([1, 2, 3], [0, 1, 2], ["a", "b", "c"]), make_corpus([4, 5], [0, 1], ["d", "e"])]
    corpora[1] = corpora[1]._replace(name="other")
    found = search_copies(corpora[1], corpora, quick=False)
    assert found["copied"] == 2
    assert found["transposed 5"] == {"recall": 1.0, "pairs": 2, "false": 0, "agreeing": 1.0}
    monkeypatch.setattr(near_duplicates, "make_copy", lambda notes, *_: corpora[0].pieces[1])
    assert search_copies(corpora[1], corpora, quick=False)["transposed 5"]["recall"] == 0.0
    assert search_copies(corpora[1], corpora, quick=False)["transposed 5"]["false"] == 2


def test_a_copy_is_changed_as_asked():
    notes = Notes.from_columns(
        pitch=[60, 126, 36], velocity=[9, 9, 9], start=[0, 100, 200], duration=[5, 5, 5], program=[0, 1, DRUM_PROGRAM]
    )
    copy = make_copy(notes, Change(semitones=2, stretch=1.5, programs=True), np.random.default_rng(0))
    assert copy.pitch.tolist() == [62, 36]  # 128 is no pitch, and drums stay
    assert copy.start.tolist() == [0, 300]
    assert copy.program.tolist() == [11, DRUM_PROGRAM]
    assert 800 < len(make_copy(synthetic.make_notes(1, 1000), Change(dropped=0.1), np.random.default_rng(0))) < 1000


def test_a_folder_without_music_is_named(tmp_path):
    with pytest.raises(UserError, match="holds no MIDI file"):
        near_duplicates.main([str(tmp_path)])


@pytest.mark.slow
@pytest.mark.parametrize("folder", [False, True])
def test_quick_run(folder, tmp_path, capsys):
    synthetic.write_corpus(tmp_path, num_files=8, mean_notes=300)
    assert near_duplicates.main(["--quick", *([str(tmp_path)] if folder else [])]) == 0
    report = json.loads(capsys.readouterr().out.splitlines()[-1])
    name = tmp_path.name if folder else "made"
    assert report["benchmark"] == "near_duplicates"
    assert report["copies"][name]["transposed 5"]["recall"] == 1.0
    assert report["corpora"][name]["pieces"] == 8
    assert report["largest_group"] == 1
    assert report["cost"][f"microseconds_a_piece_of_2000_notes_{name}"] > 0
    assert report["cost"]["find_pairs_seconds"] > 0
    assert report["machine"]["versions"].keys() == {"numpy"}
