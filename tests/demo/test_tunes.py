import re
from fractions import Fraction

import pytest

from demo import abc_tune, tunes
from job_runtime import command
from midi_codec.midi import midi_file

BODY = "|:CDEF GABc|cBAG FEDC|CDEF GABc|c8:|\n"


def text(header: str = "T:The Reel\nR:reel\nM:C|\nL:1/8\nZ:Somebody", body: str = BODY) -> str:
    return f"X:7\n{header}\nK:C\n{body}"


def reason(text: str) -> str:
    with pytest.raises(tunes.LeftOut) as error:
        tunes.convert("a.abc", text)
    return str(error.value)


def test_a_tune_becomes_notes_under_its_title():
    path, notes = tunes.convert("1276-1375.abc", text())
    assert path == "reel--1276-1375-7.mid"
    assert len(notes) == 50
    assert (notes.program == 110).all() and notes.tempo == 120 and notes.time_base == "beats"
    assert notes.start[:3].tolist() == [0, 6, 12]  # a half note is a beat


@pytest.mark.parametrize(
    "given, want",
    [
        (text("T:A\nM:C|\nL:1/8\nZ:henrik.norbeck@example.org"), "a transcriber whose own terms are narrower"),
        (text("T:A\nM:C|\nL:1/8"), "no transcriber named"),
        (text("T:A\nM:C|\nL:1/8\nZ:Me\nN:Copyright 1999"), "words that may restrict its use"),
        (text("T:A\nM:C|\nL:1/8\nZ:Me\nN:Not for commercial use"), "words that may restrict its use"),
        (text("T:A\nL:1/8\nZ:Me"), "not one line of music with a meter"),
        (text(body="CDE|CDE|CDE|CDE|\n"), "bars that are not full"),
        (text(body="C8|C8|C8|C8|\n"), "fewer than 32 notes"),
    ],
)
def test_what_is_left_out_and_why(given, want):
    assert reason(given) == want


@pytest.mark.parametrize(
    "stem, header, body, want",
    [
        ("1276-1375", "R:reel\nM:C|", BODY, Fraction(2)),
        ("AReel", "M:C", BODY, Fraction(2)),
        ("AFling", "R:highland fling\nM:C", BODY, Fraction(1)),
        ("AHornpipe", "M:2/4", "CDEF|CDEF|CDEF|\n", Fraction(1)),
        ("AJig", "M:6/8", "CDE CDE|CDE CDE|CDE CDE|\n", Fraction(3, 2)),
        ("AWaltz", "M:3/4", "C2D2E2|C2D2E2|C2D2E2|\n", Fraction(1)),
        ("0101-0200", "M:6/8", "CDE CDE|CDE CDE|CDE CDE|\n", Fraction(1)),
        ("0101-0200", 'M:C\nN:"Very Slow"', BODY, Fraction(1, 2)),
        ("1625-1700", "R:air\nM:C", BODY, Fraction(1)),
    ],
)
def test_what_dancers_count_is_a_beat(stem, header, body, want):
    tune = abc_tune.parse(text(f"T:x\n{header}\nL:1/8\nZ:Me", body))
    assert tunes.quarters_per_beat(stem, tune) == want


def test_versions_of_a_tune_share_what_a_group_regex_reads():
    titles = ["The Acacia", "Acacia -- Reel", "ACACIA", "Acacia, The", "Acácia (2)"]
    assert {tunes.title_key(title) for title in titles} == {"acacia"}
    assert tunes.title_key("St. Patrick's Day") == "st-patricks-day"
    assert tunes.title_key("!") == "untitled"
    assert re.findall("([^/]+)--", "corpus/acacia--1276-1375-7.mid") == ["acacia"]


def test_tunes_of_a_file_in_any_encoding_and_with_any_line_ends():
    assert tunes.split("% a note\r\nX:1\r\nT:é\r\nX:2\r\n".encode()) == ["X:1\nT:é\n", "X:2\n"]
    assert tunes.split("X:1\rT:é\r".encode("latin-1")) == ["X:1\nT:é\n"]


def test_export(tmp_path, capsys):
    assert command.run("tunes", tunes.main, ["--output", str(tmp_path / "out"), "--limit", "3"]) == 0
    assert capsys.readouterr().out == f"3 tunes in {tmp_path}/out; left out:\n"
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert names == [
        "enchanted-valley--0001-0050-1.mid",
        "fare-you-well--0001-0050-2.mid",
        "little-heathy-hill--0001-0050-3.mid",
    ]
    notes = midi_file.parse((tmp_path / "out" / names[0]).read_bytes(), time_base="beats")
    assert notes.pitch[:6].tolist() == [67, 69, 70, 72, 74, 76]
    assert notes.start[:6].tolist() == [0, 36, 48, 60, 72, 84]  # "Very slow"


def test_a_limit_of_nothing_is_a_mistake(tmp_path, capsys):
    assert command.run("tunes", tunes.main, ["--output", str(tmp_path), "--limit", "0"]) == 2
    assert "--limit is '0', want a whole number, 1 or more" in capsys.readouterr().err
