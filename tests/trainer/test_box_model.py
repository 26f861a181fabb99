"""The model in the box as it lies in the repository: what it must be, whatever its weights."""

import numpy as np
import pytest

from generation_jobs import generate
from generation_jobs.output import manifest, piece_bytes
from job_runtime import command, storage
from job_runtime.problem_report import UserError
from job_runtime.storage import array_file
from midi_codec.dataset import split_reader
from midi_codec.measures import thresholds
from trainer import box_model, bundle

NUM_PIECES = 16


def test_it_is_small_and_holds_bundles_styles_corpora_and_terms_and_nothing_else():
    entries = {
        entry.path.removeprefix(f"{box_model.root()}/"): entry.size for entry in storage.list_files(box_model.root())
    }
    weights = {grid: bundle.load_description(box_model.folder(grid))["weights"] for grid in box_model.grids()}
    wanted = {f"{grid}/{name}" for grid, own in weights.items() for name in ("bundle.json", own)}
    corpora = {
        f"corpus_{grid}/{name}"
        for grid in box_model.grids()
        for name in (
            "dataset_info.json",
            "thresholds.json",
            "train-00000-of-00001.tfrecord.xz",
            "validation-00000-of-00001.tfrecord.xz",
        )
    }
    terms = {"terms/freedoom.txt", "terms/groove.txt"}
    assert wanted | corpora | terms == {name for name in entries if not name.startswith("styles/")}
    assert sum(size for name, size in entries.items() if name not in corpora) <= box_model.MAX_BYTES == 16_000_000
    assert sum(entries[name] for name in corpora) <= len(weights) * 5_500_000
    assert "beats" in weights


@pytest.mark.parametrize("grid", box_model.grids())
def test_its_corpus_is_what_it_learned_from_and_has_thresholds(grid):
    folder = box_model.resolve_data("box", grid)
    info = split_reader.load_trainable(folder)
    learned = bundle.load_description(box_model.folder(grid))["dataset"]
    assert info.time_base == grid
    assert info.splits["train"].num_notes <= learned["num_notes"]
    assert info.corpus_hash == learned["hash"]
    held_out = list(split_reader.read_split(folder, info, "validation"))
    assert len(held_out) == info.splits["validation"].num_pieces > 100
    screen = thresholds.load(box_model.resolve_data("box", grid, box_model.THRESHOLDS))
    assert screen.dataset == info.hash and "copied_notes" in screen.thresholds
    rejected = [screen.judge_notes(piece.notes, 0, ended=True).reasons for piece in held_out]
    assert sum(map(bool, rejected)) / len(held_out) < 0.05


def test_its_name_stands_for_its_corpus(tmp_path, monkeypatch):
    assert box_model.resolve_data("box", None) == box_model.corpus_folder("beats")
    assert box_model.resolve_data("./box", None) == "./box"
    described = bundle.load_description(box_model.folder("beats"))
    assert box_model.time_base_of(described["hash"]) == box_model.time_base_of("another") == "beats"
    assert (box_model.has(described["hash"]), box_model.has("another")) == (True, False)
    monkeypatch.setattr(box_model, "root", lambda: str(tmp_path))
    with pytest.raises(UserError, match="the model in the box has no corpus on a grid of milliseconds"):
        box_model.resolve_data("box", "milliseconds")


@pytest.mark.parametrize("grid", box_model.grids())
def test_it_is_stored_in_half_the_room_and_whole(grid):
    described = bundle.load_description(box_model.folder(grid))
    stored = array_file.read(storage.join(box_model.folder(grid), described["weights"]))
    assert {array.dtype for array in stored.values()} == {np.dtype(np.float16)}
    loaded = bundle.load(box_model.folder(grid))
    assert loaded.hash == described["hash"]
    assert loaded.fields.time_base == grid


def test_its_name_stands_for_its_folder_on_a_grid(monkeypatch):
    assert box_model.resolve("box", "beats") == box_model.folder("beats")
    assert box_model.resolve("./box", "beats") == "./box"
    monkeypatch.setattr(box_model, "grids", lambda: ("beats",))
    with pytest.raises(UserError, match="the model in the box knows a grid of beats, but the dataset has one of milli"):
        box_model.resolve("box", "milliseconds")


@pytest.mark.parametrize("grid", box_model.grids())
def test_it_learned_more_than_counting(grid):
    metrics = bundle.load_description(box_model.folder(grid))["metrics"]
    assert metrics["validation_nll"] < metrics["baselines"]["bigram"]["nll"] < metrics["baselines"]["unigram"]["nll"]


@pytest.mark.slow
def test_its_tunes_are_fiddle_tunes_that_end(tmp_path):
    line = ["--style", "tunes", "--output", str(tmp_path / "music"), "--samples-per-seed", str(NUM_PIECES)]
    assert command.run("generate", generate.main, line) == 0
    lines = manifest.read(str(tmp_path / "music"))
    assert len({line["piece_id"] for line in lines}) == NUM_PIECES
    assert sum(line["ended"] is True for line in lines) > NUM_PIECES / 2
    assert np.median([line["num_notes"] for line in lines]) >= 32
    for line in lines:
        _, notes = piece_bytes.parse_midi((tmp_path / "music" / line["path"]).read_bytes(), time_base="beats")
        assert notes is None or set(notes.program.tolist()) == {110}


def test_box_is_the_path_of_the_model_in_the_box():
    assert bundle.load(box_model.BOX).hash == bundle.load_description(box_model.folder())["hash"]
