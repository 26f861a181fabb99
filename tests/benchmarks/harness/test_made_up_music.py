"""Made-up music is what `merge` takes for a finished job."""

from __future__ import annotations

from benchmarks.harness import made_up_music
from generation_jobs import merge
from generation_jobs.output import generated_music, manifest
from job_runtime import command
from job_runtime.command import StopSignal
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
