import json
import sys

import pytest

from benchmarks.correctness import check_salvage, fuzz_midi, tool_notes
from midi_codec.midi import midi_file
from tests.midi_codec.midi_bytes import midi

SONG = "00 90 3c 40  60 80 3c 00  00 90 3e 40  60 80 3e 00"
LOUD = "00 90 3c c0  60 80 3c 00"


def verdicts(data: bytes) -> dict[str, tuple[str, str]]:
    parsed = midi_file.parse_many([data])
    notes = None if parsed.errors else parsed.batch.piece(0)
    judged = tool_notes.judge(data, notes, parsed.salvage_levels.get(0, "strict"))
    return {tool: (verdict.kind, verdict.rule) for tool, verdict in judged.items()}


def test_tools_that_read_the_same_agree():
    assert verdicts(midi(SONG)) == dict.fromkeys(("symusic", "sanitized", "mido", "pretty_midi"), ("equal", ""))
    assert verdicts(midi(LOUD)) == dict.fromkeys(("sanitized", "mido"), ("equal", ""))
    assert verdicts(b"<html>") == {}


def test_differences_are_explained_by_the_rule_that_makes_them():
    judged = verdicts(midi(SONG + "00 90 40 40  60 ff 01 00"))  # a note without an end
    assert judged["symusic"] == ("by rule", "a key that lacks an end")
    assert judged["pretty_midi"] == ("by rule", "pairing, and tempos of track 0 only")
    assert judged["mido"] == ("equal", "")
    judged = verdicts(midi(SONG + "00 ff 2f 00  00 90 3c 40  60 80 3c 00"))
    assert judged["mido"] == ("by rule", "events after an end of track")
    judged = verdicts(midi(SONG, SONG, num_tracks=1))
    assert judged["mido"] == ("by rule", "tracks beyond those the header claims")


def test_other_notes_are_unexplained():
    judged = tool_notes.judge(midi(SONG), midi_file.parse(midi(SONG.replace("3e", "3f"))), "strict")
    assert {verdict.kind for verdict in judged.values()} == {"unexplained"}
    judged = tool_notes.judge(midi(SONG), None, "refused")
    assert {verdict.kind for verdict in judged.values()} == {"unexplained"}


def test_the_table(tmp_path, capsys, monkeypatch):
    for fault, data in (("loud", midi(LOUD)), ("loud", midi(SONG)), ("pages", b"<html>")):
        (tmp_path / fault).mkdir(exist_ok=True)
        (tmp_path / fault / f"{len(data)}.mid").write_bytes(data)
    monkeypatch.setattr(sys, "argv", ["check_salvage", str(tmp_path)])
    assert check_salvage.main() == 0
    lines = capsys.readouterr().out.splitlines()
    assert "| loud | 2 | 1 | 1 |  |  |  | 1 | 2 | 2 | 1 | 2 |  |  |" in lines
    assert "| pages | 1 |  |  |  |  | 1 `no_header` |  |  |  |  |  |  |  |" in lines
    assert json.loads(lines[-1])["equal"] == 2


def test_the_fuzzer_keeps_what_breaks_a_promise(tmp_path, capsys, monkeypatch):
    (tmp_path / "a.mid").write_bytes(midi(SONG))
    monkeypatch.setattr(
        sys, "argv", ["fuzz_midi", str(tmp_path), "--files", "20", "--offenders", str(tmp_path / "offenders")]
    )
    assert fuzz_midi.main() == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["offenders"] == 0
    monkeypatch.setattr(fuzz_midi, "REASONS", frozenset())
    assert fuzz_midi.main() == 1
    assert "unknown reason" in capsys.readouterr().out
    assert list((tmp_path / "offenders").iterdir())


def test_reasons_are_checked(monkeypatch):
    assert fuzz_midi.examine(midi(SONG)) == "strict"
    assert fuzz_midi.examine(midi(LOUD)) == "clamped"
    assert fuzz_midi.examine(b"") == "refused: empty"
    monkeypatch.setattr(fuzz_midi, "REASONS", frozenset())
    with pytest.raises(AssertionError, match="unknown reason 'empty'"):
        fuzz_midi.examine(b"")
