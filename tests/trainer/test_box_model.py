"""The model in the box as it lies in the repository: what it must be, whatever its weights."""

import numpy as np
import pytest

from generation_jobs import generate
from generation_jobs.output import manifest, piece_bytes
from job_runtime import command, storage
from job_runtime.problem_report import UserError
from job_runtime.storage import array_file
from trainer import box_model, bundle

NUM_PIECES = 16


def test_it_is_small_and_holds_bundles_and_styles_and_nothing_else():
    entries = {
        entry.path.removeprefix(f"{box_model.root()}/"): entry.size for entry in storage.list_files(box_model.root())
    }
    weights = {grid: bundle.load_description(box_model.folder(grid))["weights"] for grid in box_model.grids()}
    wanted = {f"{grid}/{name}" for grid, own in weights.items() for name in ("bundle.json", own)}
    assert wanted == {name for name in entries if not name.startswith("styles/")}
    assert sum(entries.values()) <= box_model.MAX_BYTES == 16_000_000
    assert "beats" in weights


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
def test_its_pieces_are_fiddle_tunes_that_end(tmp_path):
    line = ["--output", str(tmp_path / "music"), "--samples-per-seed", str(NUM_PIECES)]
    assert command.run("generate", generate.main, line) == 0
    lines = manifest.read(str(tmp_path / "music"))
    assert len({line["piece_id"] for line in lines}) == NUM_PIECES
    assert sum(line["ended"] is True for line in lines) > NUM_PIECES / 2
    assert np.median([line["num_notes"] for line in lines]) >= 32
    for line in lines:
        _, notes = piece_bytes.parse_midi((tmp_path / "music" / line["path"]).read_bytes(), time_base="beats")
        assert notes is None or set(notes.program.tolist()) == {110}
