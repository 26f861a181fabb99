import json

import pytest

from generation_jobs.seeds import seed_list
from generation_jobs.seeds.seed_record import KEYS

NOTES = {"pitch": [60, 64], "velocity": [80, 90], "start_beats": [0, 1.5], "duration_beats": [1, 0.5]}


def parse(text: str):
    return seed_list.parse(text.encode(), csv=True)


def test_a_row_is_a_seed_and_an_empty_cell_is_an_absent_key():
    seeds, problems = parse(
        "id,midi,track,from_note,num_notes,temperature,top_k,num_samples\n"
        'bach,"a, b.mid",0,3,16,0.9,,2\n'
        "\n"
        "free,,,,,,null,\n"
        "7,x.mid,Right hand,,,,,\n"
        'eight,x.mid,"""8""",,,,,\n'
    )
    assert problems == []
    bach, free, seven, eight = seeds
    assert (bach.id, bach.line, bach.midi, bach.track, bach.from_note, bach.num_notes) == (
        "bach",
        2,
        "a, b.mid",
        0,
        3,
        16,
    )
    assert (bach.overrides, bach.num_samples) == ({"temperature": 0.9}, 2)
    assert (free.line, free.midi, free.overrides) == (4, None, {"top_k": None})
    assert (seven.id, seven.track, seven.from_note) == ("7", "Right hand", 0)
    assert eight.track == "8"


def test_lists_and_objects_are_cells_of_json():
    cell = json.dumps(NOTES).replace('"', '""')
    seeds, problems = parse(f'id,notes,tempo\na,"{cell}",75\n')
    assert problems == []
    assert seeds[0].notes.start.tolist() == [0.0, 1.5]
    assert seeds[0].tempo == 75.0


def test_all_problems_are_reported_with_their_lines():
    seeds, problems = parse(
        'id,temperature,notes\na,-1,\nb,hot,"{""pitch"": [1], ""pitch"": [2]}"\nc,1\n"d\nd",1,\nA,NaN,[1\n,1,\n'
    )
    assert seeds == []
    assert problems == [
        (2, "temperature is -1, want a number, 0 (greedy) or 0.001 to 1000"),
        (3, "notes: not JSON: the key 'pitch' is given twice"),
        (3, "temperature is 'hot', want a number, 0 (greedy) or 0.001 to 1000"),
        (4, "the row has 2 cells, want 3 as in the header"),
        (5, "id is 'd\\nd', want 1 to 100 ASCII letters, digits, '-', '_' or '.', the first neither '-' nor '.': "
         "it names files"),
        (7, "notes: not JSON: Expecting ',' delimiter: line 1 column 3 (char 2)"),
        (7, "id 'A' is taken by line 2, as 'a' (some file systems ignore case)"),
        (7, "temperature is 'NaN', want a number, 0 (greedy) or 0.001 to 1000"),
        (8, "there is no 'id'; every seed needs one"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "want"),
    [
        ("", [(0, "the list is empty, want at least one seed")]),
        ("id,temperature\n", [(0, "the list is empty, want at least one seed")]),
        ("name;id\n", [(1, f"unknown column 'name;id', want some of {', '.join(KEYS)}; cells are separated by commas"),
                       (1, "there is no column 'id'; every seed needs one")]),
        ("id,midi,id\n", [(1, "the column 'id' is given twice")]),
        ('id\n"a"b\n', [(2, "not CSV: ',' expected after '\"'")]),
        ('id\na\n"b\n\n', [(3, "not CSV: unexpected end of data")]),
    ],
)  # fmt: skip
def test_files_that_are_not_lists_are_refused(text, want):
    assert parse(text)[1] == want


def test_byte_order_mark_and_windows_line_ends_are_read():
    seeds, problems = seed_list.parse(b"\xef\xbb\xbfid,midi\r\na,x.mid\r\n", csv=True)
    assert problems == []
    assert [(seed.id, seed.midi, seed.line) for seed in seeds] == [("a", "x.mid", 2)]


def test_a_written_list_reads_back(tmp_path):
    (inline,), _ = seed_list.parse(json.dumps({"id": "x", "notes": NOTES}).encode())
    notes = inline.notes
    written = [
        seed_list.Seed(id="a", notes=notes, tempo=75.0, num_samples=3, overrides={"top_k": None}),
        seed_list.Seed(id="b", midi='a "b",c.mid', from_note=2, num_notes=5, track="12"),
        seed_list.Seed(id="c", midi="x.mid", to_seconds=2.5, track="Piano"),
        seed_list.Seed(id="d", piece_id="0123", track=None),
    ]
    path = str(tmp_path / "seeds.CSV")
    seed_list.write(path, written)
    read = seed_list.read(path)
    assert read.problems == []
    a, b, c, d = read.seeds
    assert (a.notes.to_record(), a.tempo, a.num_samples, a.overrides) == (notes.to_record(), 75.0, 3, {"top_k": None})
    assert (b.midi, b.from_note, b.num_notes, b.track) == ('a "b",c.mid', 2, 5, "12")
    assert (c.to_seconds, c.track) == (2.5, "Piano")
    assert (d.piece_id, d.midi, d.notes) == ("0123", None, None)


def test_problems_in_ten_thousand_rows():
    rows = "".join(f"s{row},{row % 5_000 // 4_999 * 200 + 1},x.mid\n" for row in range(10_000))
    seeds, problems = parse(f"id,num_notes,midi\n{rows.replace(',201,', ',-1,')}")
    assert len(seeds) == 9_998
    assert problems == [(n, "num_notes is -1, want a whole number, 1 or more") for n in (5_001, 10_001)]
