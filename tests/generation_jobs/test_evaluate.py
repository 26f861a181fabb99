"""The command: its figures, its files, and what it refuses."""

from __future__ import annotations

import json

import pytest

from generation_jobs import evaluate
from generation_jobs.memorisation import __main__ as memorisation_command
from generation_jobs.screening import __main__ as screening_command
from job_runtime import command
from job_runtime.problem_report import UserError
from midi_codec.dataset import dataset_info, split_reader
from midi_codec.measures import thresholds
from midi_codec.music.notes import BEATS, MILLISECONDS
from tests.generation_jobs.report_fakes import make_dataset, make_music, make_notes


@pytest.fixture
def folders(tmp_path):
    train = [make_notes(200, rng_seed=seed) for seed in range(6)]
    held_out = [make_notes(200, rng_seed=seed) for seed in range(20, 24)]
    info = make_dataset(tmp_path / "data", {"train": train, "validation": held_out, "test": train[:1]})
    make_music(tmp_path / "music", [("a", k, make_notes(150, rng_seed=40 + k)) for k in range(3)], dataset=info.hash)
    screen = thresholds.fit(train, time_base=MILLISECONDS, dataset=info.hash)
    (tmp_path / "screen.json").write_text(screen.to_json())
    return tmp_path


def run(root, *flags: str) -> int:
    return evaluate.main(["--music", str(root / "music"), "--data", str(root / "data"), *flags])


def test_the_last_line_is_json(folders, capsys):
    assert run(folders) == command.OK
    lines = capsys.readouterr().out.splitlines()
    found = json.loads(lines[-1])
    assert (found["num_pieces"], found["num_notes_generated"], found["split"]) == (3, 3 * 142, "validation")
    assert [measure["name"] for measure in found["measures"]] == [
        "pitch", "drum", "pitch_class", "interval", "step", "duration", "velocity", "density", "polyphony",
        "key_clarity", "groove", "self_similarity", "recurrence", "phrase", "key_share", "longest_note",
    ]  # fmt: skip
    step = found["measures"][4]
    low, high = step["ceiling"]["overlap_interval"]
    assert 0.5 < low <= step["ceiling"]["overlap"] <= high <= 1
    assert step["overlap_of_ceiling"] == pytest.approx(step["overlap"] / step["ceiling"]["overlap"], abs=1e-5)
    assert lines[5].split()[0] == "step" and f"{step['overlap']:.3f}" in lines[5]
    assert found["screening"] is None
    recurrence = found["measures"][12]["means"]
    assert (
        f"{'recurrence':16}{recurrence['generated']:13.3f}{recurrence['corpus']:13.3f}{recurrence['held_out']:13.3f}"
        in lines
    )
    assert found["endings"]["ways"] == {"by themselves": 2, "cut": 1}
    assert found["endings"]["short_notes"] == 200
    assert [found["endings"][name]["short"] for name in ("generated", "train", "held_out")] == [
        pytest.approx(2 / 3, abs=1e-5),
        0.0,
        0.0,
    ]
    assert "endings: 2 by themselves, 1 cut" in lines
    assert f"{'fewer than 200 notes, of all':31}{2 / 3:13.3f}{0:13.3f}{0:13.3f}" in lines


def test_the_file_has_the_figures_of_each_piece_and_is_reproducible(folders, capsys):
    path = folders / "evaluation.json"
    texts = []
    for _ in range(2):
        assert run(folders, "--output", str(path), "--screen", str(folders / "screen.json")) == command.OK
        texts.append(path.read_text())
    assert texts[0] == texts[1]
    found = json.loads(texts[0])
    assert [(piece["seed_id"], piece["sample"]) for piece in found["pieces"]] == [("a", 0), ("a", 1), ("a", 2)]
    assert all(0 < piece["self_similarity"] <= 1 for piece in found["pieces"])
    assert set(found["screening"]) == {"generated", "corpus", "corpus_cut_alike"}
    assert "rejected of generated: " in capsys.readouterr().out


def test_a_discriminator_needs_ten_pieces(folders, capsys):
    assert run(folders, "--discriminator") == command.OK
    lines = capsys.readouterr().out.splitlines()
    reason = "6 real pieces have 64 notes after the primer, want at least 10"
    assert f"no discriminator: {reason}" in lines
    assert json.loads(lines[-1])["discriminator"] == reason


def test_music_equal_to_the_corpus_overlaps_completely(tmp_path, capsys):
    notes = [make_notes(100, rng_seed=seed) for seed in range(4)]
    make_dataset(tmp_path / "data", {"train": notes, "validation": notes})
    make_music(tmp_path / "music", [("a", k, piece) for k, piece in enumerate(notes)])
    assert run(tmp_path) == command.OK
    found = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert [(m["overlap"], m["wasserstein_bins"], m["kl_nats"]) for m in found["measures"]] == [(1.0, 0.0, 0.0)] * 16


def test_a_dataset_without_a_validation_split_has_no_ceiling(tmp_path, capsys):
    make_dataset(tmp_path / "data", {"train": [make_notes(100)]})
    make_music(tmp_path / "music", [("a", 0, make_notes(100))])
    assert run(tmp_path) == command.OK
    assert {m["ceiling"] for m in json.loads(capsys.readouterr().out.splitlines()[-1])["measures"]} == {None}


def test_an_index_makes_copied_notes_a_reason(folders, capsys):
    data = str(folders / "data")
    screen, index = str(folders / "with_copies.json"), str(folders / "index")
    assert screening_command.main(["--data", data, "--output", screen]) == command.OK
    assert memorisation_command.main(["--data", data, "--output", index]) == command.OK
    copy = next(split_reader.read_split(data, dataset_info.load(data), "train")).notes
    make_music(folders / "music", [("a", 0, copy)])
    for flags, is_counted in (([], False), (["--index", index], True)):
        capsys.readouterr()
        assert run(folders, "--screen", screen, *flags) == command.OK
        found = json.loads(capsys.readouterr().out.splitlines()[-1])["screening"]
        assert ("copied_notes" in found["generated"]) == is_counted
        assert "copied_notes" not in found["corpus"]


def test_an_index_without_thresholds_is_a_mistake(folders):
    with pytest.raises(UserError) as raised:
        run(folders, "--index", str(folders / "no.index"))
    assert [problem.split(" ")[0] for problem in raised.value.problems] == ["--index", "--index:"]


def test_all_mistakes_are_reported_at_once(folders):
    with pytest.raises(UserError) as raised:
        evaluate.main(["--music", "m", "--data", str(folders / "none"), "--screen", str(folders / "no.json")])
    assert len(raised.value.problems) == 2


def test_thresholds_of_another_grid_are_refused(folders):
    screen = thresholds.fit([make_notes(50, time_base=BEATS)], time_base=BEATS, dataset="d")
    (folders / "beats.json").write_text(screen.to_json())
    with pytest.raises(UserError, match="--screen is on the grid of beats"):
        run(folders, "--screen", str(folders / "beats.json"))
