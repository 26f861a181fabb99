import json

import numpy as np
import pytest

from generation_jobs.seeds import inline_notes, seed_list
from generation_jobs.seeds.inline_notes import InlineNotes
from generation_jobs.settings.requests import SETTINGS
from midi_codec.music.notes import BEATS, MILLISECONDS, Notes
from midi_codec.music.signatures import Signatures

NOTE = {"pitch": 60, "velocity": 80, "start_seconds": 0.5, "duration_seconds": 0.25}
COLUMNS = {"pitch": [60, 64], "velocity": [80, 90], "start_beats": [0, 1.5], "duration_beats": [1, 0.5]}


def lines(*records: object) -> bytes:
    return "".join(f"{json.dumps(record)}\n" for record in records).encode()


def problems_of(**record: object) -> list[str]:
    """What is wrong with one seed; its id is added."""
    _, problems = seed_list.parse(lines({"id": "a", **record}))
    assert {line for line, _ in problems} <= {1}
    return [text for _, text in problems]


def test_a_list_with_every_kind_of_seed():
    data = lines(
        {"id": "silence"},
        {"id": "file", "midi": "a/b.mid", "from_note": 3, "num_notes": 16, "num_samples": 2},
        {"id": "span", "midi": "gs://bucket/b.mid", "from_seconds": 1, "to_seconds": 2.5},
        {"id": "inline", "notes": [NOTE, {**NOTE, "pitch": 62}], "tempo": 100, "temperature": 1, "top_k": None},
        {"id": "columns", "notes": COLUMNS, "max_notes": 5, "origin": {"source": "a.mid", "from_note": 3}},
    )
    seeds, problems = seed_list.parse(data)
    assert problems == []
    assert [seed.id for seed in seeds] == ["silence", "file", "span", "inline", "columns"]
    assert [seed.line for seed in seeds] == [1, 2, 3, 4, 5]
    silence, file, span, inline, columns = seeds
    assert (silence.midi, silence.notes, silence.num_samples, silence.overrides) == (None, None, None, {})
    assert (file.midi, file.from_note, file.num_notes, file.num_samples) == ("a/b.mid", 3, 16, 2)
    assert (span.from_seconds, span.to_seconds) == (1, 2.5)
    assert inline.overrides == {"temperature": 1, "top_k": None}
    assert inline.tempo == 100.0
    assert inline.notes.unit == "seconds"
    assert inline.notes.pitch.tolist() == [60, 62]
    assert inline.notes.start.tolist() == [0.5, 0.5]
    assert inline.notes.duration.tolist() == [0.25, 0.25]
    assert inline.notes.program is None
    assert columns.notes.unit == "beats"
    assert columns.notes.start.tolist() == [0.0, 1.5]
    assert columns.overrides == {"max_notes": 5}
    assert columns.origin == {"source": "a.mid", "from_note": 3}


def test_all_problems_of_a_list_are_reported_with_their_lines():
    data = b"\n".join(
        [
            b'{"id": "a", "temperature": -1, "top_p": 0}',
            b"",
            b"{nonsense",
            b'["id"]',
            b'{"id": "A"}',
            b'{"midi": "x.mid"}',
            b'{"id": "b", "id": "c"}',
            b'{"id": "d", "temperature": NaN}',
            b'{"id": "e", "id": "f"} x',
        ]
    )
    seeds, problems = seed_list.parse(data)
    assert seeds == []
    assert problems == [
        (1, "temperature is -1, want a number, 0 (greedy) or 0.001 to 1000"),
        (1, "top_p is 0, want a number above 0, at most 1"),
        (3, "not JSON: Expecting property name enclosed in double quotes: line 1 column 2 (char 1)"),
        (4, "the line is a list, want a JSON object"),
        (5, "id 'A' is taken by line 1, as 'a' (some file systems ignore case)"),
        (6, "there is no 'id'; every seed needs one"),
        (7, "not JSON: the key 'id' is given twice"),
        (8, "not JSON: NaN is not a number"),
        (9, "not JSON: Extra data: line 1 column 24 (char 23)"),
    ]


@pytest.mark.parametrize(
    "seed_id",
    [
        "",
        ".",
        "..",
        "../up",
        "/etc/passwd",
        "a/b",
        "a\\b",
        ".hidden",
        "-flag",
        "a b",
        "ü",
        "a\n",
        "a\0",
        "x" * 101,
        7,
        None,
    ],
)
def test_an_id_that_is_not_a_safe_file_name_is_refused(seed_id):
    seeds, problems = seed_list.parse(lines({"id": seed_id}))
    assert seeds == []
    assert problems == [
        (
            1,
            f"id is {seed_id!r}, want 1 to 100 ASCII letters, digits, '-', '_' or '.', the first neither '-' "
            "nor '.': it names files",
        )
    ]


@pytest.mark.parametrize("seed_id", ["a", "0", "_x", "BWV-10.7_b..", "x" * 100])
def test_valid_ids(seed_id):
    seeds, problems = seed_list.parse(lines({"id": seed_id}))
    assert (problems, [seed.id for seed in seeds]) == ([], [seed_id])


@pytest.mark.parametrize(
    ("record", "want"),
    [
        ({"temprature": 1}, "unknown key 'temprature', want some of id, midi, track, piece_id, from_note, num_notes, "
         f"from_seconds, to_seconds, notes, tempo, time_signatures, key_signatures, origin, num_samples, "
         f"{', '.join(SETTINGS)}"),
        ({"temperature": None}, "temperature is None, want a number, 0 (greedy) or 0.001 to 1000"),
        ({"temperature": 10**400}, f"temperature is {10**400}, want a number, 0 (greedy) or 0.001 to 1000"),
        ({"num_samples": 0}, "num_samples is 0, want a whole number, 1 to 1000000"),
        ({"midi": ""}, "midi is '', want the path of a MIDI file"),
        ({"midi": 3}, "midi is 3, want the path of a MIDI file"),
        ({"midi": "a.mid", "notes": [NOTE]}, "there are 'midi' and 'notes', want one primer"),
        ({"midi": "a", "notes": [NOTE], "piece_id": "b"},
         "there are 'midi' and 'piece_id' and 'notes', want one primer"),
        ({"piece_id": ""}, "piece_id is '', want the id of a piece of the dataset"),
        ({"midi": "a", "track": -1}, "track is -1, want the number of a track, from 0, or its name"),
        ({"midi": "a", "track": 1.0}, "track is 1.0, want the number of a track, from 0, or its name"),
        ({"midi": "a", "track": ""}, "track is '', want the number of a track, from 0, or its name"),
        ({"piece_id": "a", "track": 1}, "'track' chooses a track of a MIDI file, and there is no 'midi'"),
        ({"num_notes": 3}, "'num_notes' chooses notes of a file or a piece, and there is no 'midi' or 'piece_id'"),
        ({"midi": "a", "from_note": -1}, "from_note is -1, want a whole number, 0 or more"),
        ({"midi": "a", "num_notes": 0}, "num_notes is 0, want a whole number, 1 or more"),
        ({"midi": "a", "from_note": 1, "to_seconds": 2},
         "there are both 'from_note', 'to_seconds', want a range of notes or one of seconds"),
        ({"midi": "a", "from_seconds": -0.5}, "from_seconds is -0.5, want a number, 0 or more"),
        ({"midi": "a", "from_seconds": 2, "to_seconds": 2}, "to_seconds is 2, want more than from_seconds, 2"),
        ({"tempo": 120}, "'tempo' is for inline 'notes', and there are none"),
        ({"key_signatures": "C major"}, "'key_signatures' is for inline 'notes', and there are none"),
        ({"notes": COLUMNS, "time_signatures": "4/5"},
         "time_signatures is '4/5', want time signatures such as '4/4' or '4/4@0, 3/4@384', by tick"),
        ({"notes": COLUMNS, "key_signatures": 3}, "key_signatures is 3, want text"),
        ({"origin": {"source": "a.mid"}}, "'origin' is for inline 'notes', and there are none"),
        ({"notes": COLUMNS, "origin": ["a.mid"]}, "origin is ['a.mid'], want an object of texts and whole numbers"),
        ({"notes": COLUMNS, "origin": {"at": 1.5}}, "origin is {'at': 1.5}, want an object of texts and whole numbers"),
        ({"notes": [NOTE], "tempo": "fast"}, "tempo is 'fast', want a number, quarter notes per minute"),
        ({"notes": [NOTE], "tempo": 0}, "tempo is 0, want quarter notes per minute above 0"),
        ({"notes": [NOTE], "tempo": 1}, "tempo is 1, want 3.58 to 60e6"),
        ({"notes": 7}, "notes is 7, want a list of notes or an object of columns"),
        ({"notes": None}, "notes is None, want a list of notes or an object of columns"),
        ({"notes": []}, "notes is empty, want at least one; to start from silence leave the key out"),
        ({"notes": [NOTE, 3]}, "notes[1] is 3, want an object"),
        ({"notes": [NOTE, {**NOTE, "program": 1}]},
         "notes[1] has the keys duration_seconds, pitch, program, start_seconds, velocity, want those of notes[0]: "
         "duration_seconds, pitch, start_seconds, velocity"),
        ({"notes": [{**NOTE, "pitch": 128}]}, "notes.pitch[0] is 128, want a whole number, 0 to 127"),
        ({"notes": [{**NOTE, "pitch": 60.0}]}, "notes.pitch[0] is 60.0, want a whole number, 0 to 127"),
        ({"notes": [{**NOTE, "velocity": 0}]}, "notes.velocity[0] is 0, want a whole number, 1 to 127"),
        ({"notes": [{**NOTE, "program": 129}]}, "notes.program[0] is 129, want a whole number, 0 to 128"),
        ({"notes": [NOTE, {**NOTE, "start_seconds": -1}]}, "notes.start_seconds[1] is -1, want a number, 0 to 100000"),
        ({"notes": [{**NOTE, "duration_seconds": 1}, {**NOTE, "duration_seconds": "x"}]},
         "notes.duration_seconds[1] is 'x', want a number, 0 to 100000"),
        ({"notes": [{**NOTE, "duration_seconds": 1e999}]}, "not JSON: Infinity is not a number"),
        ({"notes": [{**NOTE, "start_beats": 1}]}, "notes has times in seconds and in beats, want one of them"),
        ({"notes": {**COLUMNS, "pan": [0, 0]}},
         "notes has the unknown key 'pan', want duration_beats, pitch, program, start_beats, velocity"),
        ({"notes": {**COLUMNS, "velocity": 80}}, "notes.velocity is 80, want a list"),
        ({"notes": {**COLUMNS, "velocity": [80]}},
         "notes has columns of different lengths: pitch 2, velocity 1, start_beats 2, duration_beats 2"),
        ({"notes": {key: [] for key in COLUMNS}},
         "notes is empty, want at least one; to start from silence leave the key out"),
    ],
)  # fmt: skip
def test_each_mistake_has_its_own_message(record, want):
    assert problems_of(**record) == [want]


def test_a_note_without_its_keys_names_them_all():
    assert problems_of(notes=[{"pitch": 60}]) == [
        "notes has no 'duration_seconds' (or beats)",
        "notes has no 'start_seconds' (or beats)",
        "notes has no 'velocity'",
    ]


def test_times_that_json_makes_infinite_are_refused():
    data = b'{"id": "a", "notes": {"pitch": [1], "velocity": [1], "start_seconds": [1e999], "duration_seconds": [1]}}'
    assert seed_list.parse(data)[1] == [(1, "notes.start_seconds[0] is inf, want a number, 0 to 100000")]


def test_deep_nesting_is_a_problem_and_not_a_crash():
    _, problems = seed_list.parse(b'{"id": ' + b"[" * 100_000)
    assert [line for line, _ in problems] == [1]


def test_a_list_that_is_not_utf8_names_the_line():
    assert seed_list.parse(b'{"id": "a"}\n\xff') == ([], [(2, "byte 0xff is not UTF-8; want a list in UTF-8")])


def test_byte_order_mark_and_windows_line_ends_are_read():
    seeds, problems = seed_list.parse(b'\xef\xbb\xbf{"id": "a"}\r\n\r\n{"id": "b"}\r\n')
    assert problems == []
    assert [(seed.id, seed.line) for seed in seeds] == [("a", 1), ("b", 3)]


def test_a_line_separator_inside_a_string_does_not_end_the_line():
    seeds, problems = seed_list.parse('{"id": "a", "midi": "x\u2028y.mid"}\n'.encode())
    assert (problems, [seed.midi for seed in seeds]) == ([], ["x\u2028y.mid"])


@pytest.mark.parametrize("data", [b"", b"\n \n"])
def test_an_empty_list_is_a_problem(data):
    assert seed_list.parse(data) == ([], [(0, "the list is empty, want at least one seed")])


@pytest.mark.parametrize("time_base", [MILLISECONDS, BEATS])
def test_a_written_list_reads_back_exactly(tmp_path, time_base):
    rng = np.random.default_rng(0)
    notes = Notes.from_columns(
        pitch=rng.integers(0, 128, 500),
        velocity=rng.integers(1, 128, 500),
        start=rng.integers(0, 2_000_000, 500),
        duration=rng.integers(0, 99_999, 500),
        program=rng.integers(0, 129, 500),
        time_base=time_base,
    )
    path = str(tmp_path / "seeds.jsonl")
    written = [
        seed_list.Seed(
            id="a",
            notes=InlineNotes.from_notes(notes),
            tempo=75.0,
            signatures=Signatures.parse("4/4@-9, 3/4@99", "D minor"),
            num_samples=3,
            overrides={"top_k": None},
        ),
        seed_list.Seed(id="b", midi="x.mid", from_note=2, num_notes=5),
        seed_list.Seed(id="c", midi="x.mid", to_seconds=2.5),
    ]
    seed_list.write(path, written)
    read = seed_list.read(path)
    assert read.problems == []
    a, b, c = read.seeds
    ticks = inline_notes.to_ticks([a.notes], tempos=[None], time_base=time_base, program=0)
    assert Notes.from_columns(**ticks, time_base=time_base) == notes
    assert (a.tempo, a.num_samples, a.overrides) == (75.0, 3, {"top_k": None})
    assert a.signatures == Signatures.parse("4/4@-9, 3/4@99", "D minor")
    assert (b.midi, b.from_note, b.num_notes) == ("x.mid", 2, 5)
    assert (c.from_seconds, c.to_seconds) == (None, 2.5)
    again = str(tmp_path / "again.jsonl")
    seed_list.write(again, read.seeds)
    assert seed_list.read(again).digest == read.digest


def test_problems_in_ten_thousand_lines():
    text = '{"id": "s%d", "notes": {"pitch": [60], "velocity": [%d], "start_beats": [0], "duration_beats": [1]}}'
    data = "\n".join(text % (i, i % 5_000 // 4_999 * 200 + 1) for i in range(10_000)).encode()
    seeds, problems = seed_list.parse(data)
    assert len(seeds) == 9_998
    assert problems == [(n, "notes.velocity[0] is 201, want a whole number, 1 to 127") for n in (5_000, 10_000)]
