import json

from beam_pipelines.encoding import ledger
from beam_pipelines.encoding.ledger import Duplicate, Reject, Salvaged

REJECTS = [
    Reject("z.mid", "ff", "parse", "no_header", "not a MIDI file"),
    Reject("a.mid", None, "read", "too_large", "the file has 9 bytes, want at most 3"),
    Reject("caf\udce9.mid", "00", "parse", "no_header", "not a MIDI file"),
]


def test_a_ledger_is_sorted_by_path_and_has_one_line_an_input(tmp_path):
    ledger.write(str(tmp_path), ledger.REJECTS, REJECTS)
    text = (tmp_path / "rejects-00000-of-00001.jsonl").read_text(encoding="utf-8")
    lines = [json.loads(line) for line in text.splitlines()]
    assert [line["path"] for line in lines] == ["a.mid", "caf\udce9.mid", "z.mid"]
    assert lines[0] == {
        "path": "a.mid",
        "sha256": None,
        "stage": "read",
        "reason": "too_large",
        "message": "the file has 9 bytes, want at most 3",
    }
    assert ledger.read(str(tmp_path), ledger.REJECTS) == [REJECTS[1], REJECTS[2], REJECTS[0]]


def test_any_path_is_in_its_place_and_lines_of_one_path_are_by_their_text(tmp_path):
    paths = ["a", "a\1", "a\1A", "a\0", "a\0z", "a\2", "ab", "A", "", "a\1\1", "\U0001f3b5", "\uffff"]
    lines = [Salvaged(path, sha256, "clamped") for path in paths for sha256 in ("b", "a\n", "a")]
    counts = ledger.write(str(tmp_path), ledger.SALVAGED, lines)
    assert ledger.read(str(tmp_path), ledger.SALVAGED) == sorted(lines, key=lambda line: (line.path, str(line)))
    assert counts == {"clamped": 36}


def test_an_empty_ledger_is_an_empty_file(tmp_path):
    ledger.write(str(tmp_path), ledger.DUPLICATES, [])
    assert (tmp_path / "duplicates-00000-of-00001.jsonl").read_bytes() == b""


def test_duplicates(tmp_path):
    ledger.write(str(tmp_path), ledger.DUPLICATES, [Duplicate("b.mid", "exact", "id", "a.mid", "train")])
    line = (tmp_path / "duplicates-00000-of-00001.jsonl").read_text()
    assert line == '{"path": "b.mid", "kind": "exact", "piece_id": "id", "kept": "a.mid", "split": "train"}\n'


def test_salvaged(tmp_path):
    lines = [Salvaged("b.mid", "ff", "clamped")]
    ledger.write(str(tmp_path), ledger.SALVAGED, lines)
    text = (tmp_path / "salvaged-00000-of-00001.jsonl").read_text()
    assert text == '{"path": "b.mid", "sha256": "ff", "rung": "clamped"}\n'
    assert ledger.read(str(tmp_path), ledger.SALVAGED) == lines


def test_count_reasons():
    assert ledger.count_reasons(REJECTS) == {"no_header": 2, "too_large": 1}


def test_nothing_kept_names_the_commonest_reason_first():
    problems = ledger.nothing_kept("out", REJECTS)
    assert problems == [
        "nothing to keep: all 3 inputs were rejected; see out/rejects-00000-of-00001.jsonl",
        "no_header: 2, such as z.mid: not a MIDI file",
        "too_large: 1, such as a.mid: the file has 9 bytes, want at most 3",
    ]
