"""The model in the box as it lies in the repository: what it must be, whatever its weights."""

import numpy as np
import pytest

from generation_jobs import generate
from generation_jobs.decoder import box_model
from generation_jobs.output import manifest
from job_runtime import command, storage
from job_runtime.storage import array_file
from trainer import bundle

NUM_PIECES = 16


def test_it_is_small_and_holds_a_bundle_and_nothing_else():
    entries = list(storage.list_files(box_model.folder()))
    described = bundle.load_description(box_model.folder())
    assert sorted(entry.path.rpartition("/")[2] for entry in entries) == ["bundle.json", described["weights"]]
    assert sum(entry.size for entry in entries) <= box_model.MAX_BYTES == 8_000_000


def test_it_is_stored_in_half_the_room_and_whole():
    described = bundle.load_description(box_model.folder())
    stored = array_file.read(storage.join(box_model.folder(), described["weights"]))
    assert {array.dtype for array in stored.values()} == {np.dtype(np.float16)}
    loaded = bundle.load(box_model.folder())
    assert loaded.hash == described["hash"]
    assert loaded.fields.time_base == "beats"


def test_it_learned_more_than_counting():
    metrics = bundle.load_description(box_model.folder())["metrics"]
    assert metrics["validation_nll"] < metrics["baselines"]["bigram"]["nll"] < metrics["baselines"]["unigram"]["nll"]


@pytest.mark.slow
def test_its_pieces_are_fiddle_tunes_that_end(tmp_path):
    line = ["--output", str(tmp_path / "music"), "--samples-per-seed", str(NUM_PIECES)]
    assert command.run("generate", generate.main, line) == 0
    lines = manifest.read(str(tmp_path / "music"))
    assert len({line["piece_id"] for line in lines}) == NUM_PIECES
    assert sum(line["ended"] for line in lines) > NUM_PIECES / 2
    assert np.median([line["num_notes"] for line in lines]) >= 32
    for line in lines:
        _, notes = manifest.parse_piece((tmp_path / "music" / line["path"]).read_bytes(), time_base="beats")
        assert notes is None or set(notes.program.tolist()) == {110}
