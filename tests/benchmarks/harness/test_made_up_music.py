"""Made-up music is what `merge` takes for a finished job, and a dataset what readers of datasets take."""

from __future__ import annotations

from benchmarks.harness import made_up_music
from generation_jobs import merge
from generation_jobs.output import generated_music, manifest
from job_runtime import command
from job_runtime.command import StopSignal
from midi_codec.dataset import split_reader
from midi_codec.music.notes import MILLISECONDS


def test_pieces_repeat_with_other_names_and_merge_finds_no_fault(tmp_path, monkeypatch):
    monkeypatch.setattr(made_up_music, "NUM_ORIGINALS", 2)
    monkeypatch.setattr(made_up_music, "PIECES_PER_SHARD", 20)
    with StopSignal() as stop:
        made_up_music.write(tmp_path, 100, stop)
        made_up_music.write(tmp_path, 100, stop)
    assert merge.main(["--output", str(tmp_path)]) == command.OK
    assert len(manifest.shards_of(str(tmp_path))) == 5
    pieces = generated_music.read(str(tmp_path), time_base=MILLISECONDS)
    assert [piece.line["seed_id"] for piece in pieces[::10]] == [f"seed-{number:07d}" for number in range(10)]
    ids = [piece.line["piece_id"] for piece in pieces]
    assert len({*ids[:40]}) == 40 and ids[40:] == [*ids[:40], *ids[:20]]


def test_a_dataset_has_its_pieces_once(tmp_path, monkeypatch):
    monkeypatch.setattr(made_up_music, "PIECES_PER_SHARD", 20)
    made_up_music.write_dataset(tmp_path, 50)
    info = split_reader.load_trainable(str(tmp_path))
    pieces = list(split_reader.read_split(str(tmp_path), info, "train", label="reading"))
    assert [int(piece.piece_id, 16) for piece in pieces] == [*range(60)]
    assert (pieces[45].group_id, pieces[45].source) == (pieces[45].piece_id, f"{pieces[45].piece_id}.mid")
    assert pieces[45].notes.piece_id == made_up_music.make_notes(5).piece_id
    assert sum(len(piece.notes) for piece in pieces) == info.splits["train"].num_notes
