"""The command with the real decoder, on a small model that was not trained."""

import numpy as np
import pytest

from generation_jobs import generate
from generation_jobs.output import manifest
from job_runtime import command
from midi_codec.dataset import records
from midi_codec.fields import build_field_table
from midi_codec.midi import midi_file
from midi_codec.music.notes import BEATS
from trainer import bundle

pytestmark = pytest.mark.slow

SEEDS = """\
{"id": "silence", "max_seconds": 20}
{"id": "greedy", "temperature": 0, "notes": {"pitch": [60, 64], "velocity": [80, 90], "start_beats": [0, 1], \
"duration_beats": [1, 1]}, "num_samples": 2, "max_notes": 12}
{"id": "narrow", "top_k": 3, "top_p": 0.9, "num_samples": 5}
"""
NUM_PIECES = 13
SAMPLES = ("--samples-per-seed", "6", "--max-notes", "40", "--num-slots", "16")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    from trainer.model.model_config import ModelConfig
    from trainer.model.note_model import NoteModel

    config = {"units": 16, "layers": 2, "head_units": 16, "dropout": 0.0}
    histograms = {name: (np.array([0, 6, 12, 24]), np.array([3, 2, 5, 1])) for name in ("step", "duration")}
    table = build_field_table(histograms, programs=(0, 40), time_base=BEATS)
    root = tmp_path_factory.mktemp("real")
    weights = bundle.get_weights(NoteModel(ModelConfig(**config), table))
    weights["head_bias"][len(table) * config["head_units"]] = -3.0  # END seldom comes
    made = bundle.Bundle(
        config=config,
        fields=table,
        dataset={"hash": "d" * 32, "time_base": BEATS},
        metrics={},
        deviations={},
        weights=weights,
    )
    bundle.save(str(root / "bundle"), made)
    (root / "seeds.jsonl").write_text(SEEDS)
    return root


@pytest.fixture(scope="module")
def decoder(folder):
    """Compiled once for all runs in this process."""
    from generation_jobs.decoder.decoder import Decoder

    return Decoder(bundle.load(str(folder / "bundle")), num_slots=16)


@pytest.fixture
def run(folder, decoder, monkeypatch):
    """Runs the command in this process and gives its status."""
    monkeypatch.setattr(generate, "_make_decoder", lambda *_: decoder)
    return lambda output, *flags: command.run("generate", generate.main, [*paths(folder, output), *flags])


def paths(folder, output: str) -> list[str]:
    return ["--bundle", f"{folder}/bundle", "--seeds", f"{folder}/seeds.jsonl", "--output", f"{folder}/{output}"]


@pytest.fixture
def music(folder, run):
    """The output of one task."""
    assert run("one", *SAMPLES) == 0
    return folder / "one"


def lines_of(root) -> list[manifest.Line]:
    """All that a manifest says but which source made it: that may be edited while tests run."""
    return [{**line, "code_version": ""} for line in manifest.read(str(root))]


def test_one_task_and_four_give_the_same(folder, run, music):
    for index in ("3", "1", "0", "2"):
        assert run("four", *SAMPLES, "--num-tasks", "4", "--task-index", index) == 0
    assert lines_of(folder / "four") == lines_of(music)


def test_pieces_are_what_their_settings_say(music):
    lines = manifest.read(str(music))
    assert len(lines) == NUM_PIECES
    greedy = [line for line in lines if line["seed_id"] == "greedy"]
    assert {line["piece_id"] for line in greedy} == {greedy[0]["piece_id"]}
    assert greedy[0]["num_primer_notes"] == 2
    assert greedy[0]["num_notes"] <= 14
    assert len({line["piece_id"] for line in lines if line["seed_id"] == "silence"}) == 6
    for line in lines:
        generated = line["num_notes"] - line["num_primer_notes"]
        assert generated == line["checks"]["num_notes_generated"] <= line["settings"]["max_notes"]
        if line["seed_id"] == "silence" and line["num_notes"]:
            notes = midi_file.parse((music / line["path"]).read_bytes(), time_base=BEATS)
            assert notes.start[-1] * notes.seconds_per_tick <= 20


def test_records_and_files_hold_the_same_notes(music):
    shards = sorted(map(str, (music / "records").iterdir()))
    pieces = [piece for shard in shards for piece in records.read_pieces(shard, time_base=BEATS)]
    assert len(shards) == 2 and len(pieces) == sum(line["num_notes"] > 0 for line in manifest.read(str(music)))
    for piece in pieces:
        parsed = midi_file.parse((music / piece.source).read_bytes(), time_base=BEATS)
        assert parsed.from_first_onset() == piece.notes  # a file begins at the bar line
