"""The benchmark of copied runs finds what it plants, and times an index of the size asked for."""

from __future__ import annotations

import json

from benchmarks.harness import synthetic
from benchmarks.quality import memorisation
from generation_jobs.memorisation.corpus_index import Index
from job_runtime import command
from tests.generation_jobs.report_fakes import make_dataset


def test_a_line_of_json_with_figures_of_each_dataset(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(memorisation, "NUM_COPIES", 10)
    train = [synthetic.make_notes(key, 400) for key in range(4)]
    make_dataset(tmp_path / "tunes", {"train": train, "validation": [synthetic.make_notes(9, 350)]})
    assert memorisation.main([str(tmp_path / "tunes"), "--num-notes", "3000"]) == command.OK
    report = json.loads(capsys.readouterr().out.splitlines()[-1])
    copies = report["copies"]["tunes"]
    assert copies["transposed 5"]["median"] >= 98  # a chord that the first or the last note was cut out of
    assert copies["transposed 5"]["found"] == 1
    assert copies["2 % dropped"]["median"] < copies["noise 5 ms"]["median"]
    assert report["cost"]["notes"] == 3200
    whole, cut = (report["reference"]["tunes"][name] for name in ("whole", "cut"))
    assert len(set(whole)) == len(set(cut)) == 1 and whole[0] >= cut[0] > 1


def test_copies_are_found_when_they_are_longer_than_the_reference(monkeypatch):
    monkeypatch.setattr(memorisation, "NUM_COPIES", 5)
    pieces = [memorisation.Piece("", "", "", synthetic.make_notes(key, 150)) for key in range(2)]
    index = Index.build(pieces, time_base="milliseconds", dataset="")
    found = memorisation.search_copies(index, pieces, longest=94)
    assert found["transposed 5"]["found"] == 1 and found["2 % dropped"]["found"] == 0
    assert memorisation.search_copies(index, pieces, longest=100)["transposed 5"]["found"] == 0
