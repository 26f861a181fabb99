import dataclasses
import hashlib
import os
from typing import Any

import numpy as np
import pytest

from generation_jobs.seeds import inline_notes, primer_sources, primers
from generation_jobs.seeds.inline_notes import InlineNotes
from generation_jobs.seeds.seed_record import Seed
from job_runtime import storage
from midi_codec.midi import midi_writer
from midi_codec.music.notes import BEATS, Notes
from midi_codec.music.signatures import Signatures
from tests.generation_jobs.fakes import make_bundle

TABLE = make_bundle(programs=(0, 40)).fields
BEATS_TABLE = make_bundle(programs=(24,), time_base=BEATS).fields


def make_notes(num_notes: int, *, first_tick: int = 250, program: int = 0) -> Notes:
    """Onsets every 500 ms."""
    index = np.arange(num_notes)
    return Notes.from_columns(
        pitch=60 + index,
        velocity=np.full(num_notes, 80),
        start=first_tick + 500 * index,
        duration=np.full(num_notes, 400),
        program=np.full(num_notes, program),
    )


def inline(**columns: object) -> InlineNotes:
    notes, problems = inline_notes.parse(columns)
    assert problems == []
    assert notes is not None
    return notes


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "four.mid").write_bytes(midi_writer.serialize(make_notes(4)))
    return str(tmp_path)


def load_one(seed: Seed, folder: str, table=TABLE) -> Notes | list[str] | None:
    loaded, problems = primers.load([seed], folder=folder, table=table)
    assert len(loaded) == 1
    return [text for _, text in problems] if problems else loaded[0]


@pytest.mark.parametrize(
    ("seed", "pitches"),
    [
        (Seed(id="a", midi="four.mid"), [60, 61, 62, 63]),
        (Seed(id="a", midi="four.mid", from_note=1, num_notes=2), [61, 62]),
        (Seed(id="a", midi="four.mid", from_note=3), [63]),
        (Seed(id="a", midi="four.mid", from_seconds=0.75), [61, 62, 63]),
        (Seed(id="a", midi="four.mid", to_seconds=0.75), [60]),
        (Seed(id="a", midi="four.mid", from_seconds=0.751, to_seconds=1.751), [62, 63]),
    ],
)
def test_a_seed_selects_notes_of_a_file_which_then_start_at_zero(folder, seed, pitches):
    notes = load_one(seed, folder)
    assert notes.pitch.tolist() == pitches
    assert notes.start.tolist() == [500 * index for index in range(len(pitches))]
    assert notes.duration.tolist() == [400] * len(pitches)


def test_last_onsets_are_counted_from_the_first(folder):
    seeds = [Seed(id="a", midi="four.mid"), Seed(id="b"), Seed(id="c", midi="four.mid", from_note=1, num_notes=2)]
    loaded, _ = primers.load(seeds, folder=folder, table=TABLE)
    assert loaded.last_onset_seconds.tolist() == [1.5, 0.0, 0.5]
    notes = inline(pitch=[1, 2], velocity=[3, 3], start_beats=[1, 4], duration_beats=[1, 1])
    of_beats, _ = primers.load([Seed(id="a", notes=notes, tempo=90.0)], folder="", table=BEATS_TABLE)
    assert of_beats.last_onset_seconds.tolist() == [pytest.approx(2.0)]


def test_no_primer_is_none(folder):
    assert load_one(Seed(id="a"), folder) is None


def test_primers_keep_to_their_seeds(folder):
    seeds = [
        Seed(id="a"),
        Seed(id="b", midi="four.mid", num_notes=2),
        Seed(id="c"),
        Seed(
            id="d", notes=inline(pitch=[70, 65], velocity=[1, 2], start_seconds=[3, 1.5], duration_seconds=[0, 0.0005])
        ),
        Seed(id="e", midi=f"{folder}/four.mid", from_note=3),
    ]
    loaded, problems = primers.load(seeds, folder=folder, table=TABLE)
    assert problems == []
    assert [None if notes is None else notes.pitch.tolist() for notes in loaded] == [
        None,
        [60, 61],
        None,
        [65, 70],
        [63],
    ]
    assert loaded[1] == make_notes(2, first_tick=0)
    assert loaded[3] == Notes.from_columns(
        pitch=[65, 70], velocity=[2, 1], start=[0, 1500], duration=[1, 0], program=[0, 0]
    )


@pytest.mark.parametrize(
    ("unit", "tempo", "table", "start", "duration", "want_tempo"),
    [
        ("seconds", None, TABLE, [0, 1500], [250, 500], 120.0),
        ("beats", None, TABLE, [0, 750], [125, 250], 120.0),
        ("beats", 60.0, TABLE, [0, 1500], [250, 500], 60.0),
        ("beats", 60.0, BEATS_TABLE, [0, 36], [6, 12], 60.0),
        ("seconds", None, BEATS_TABLE, [0, 72], [12, 24], 120.0),
        ("seconds", 60.0, BEATS_TABLE, [0, 36], [6, 12], 60.0),
    ],
)
def test_times_are_rounded_to_the_grid_of_the_bundle(unit, tempo, table, start, duration, want_tempo):
    times = {f"start_{unit}": [1, 2.5], f"duration_{unit}": [0.25, 0.5]}
    notes = load_one(Seed(id="a", tempo=tempo, notes=inline(pitch=[1, 2], velocity=[3, 4], **times)), "", table)
    assert notes.start.tolist() == start
    assert notes.duration.tolist() == duration
    assert (notes.tempo, notes.time_base) == (want_tempo, table.time_base)


def test_notes_without_a_program_take_the_only_one_of_the_bundle():
    notes = inline(pitch=[1], velocity=[3], start_beats=[0], duration_beats=[1])
    assert load_one(Seed(id="a", notes=notes), "", BEATS_TABLE).program.tolist() == [24]
    assert load_one(Seed(id="a", notes=notes), "", TABLE).program.tolist() == [0]


def test_a_program_the_model_does_not_know_is_a_problem_of_that_seed():
    def seed(line: int, program: int) -> Seed:
        times = {"start_seconds": [0, 1], "duration_seconds": [1, 1]}
        return Seed(
            id=f"s{line}", line=line, notes=inline(pitch=[1, 2], velocity=[3, 3], program=[0, program], **times)
        )

    _, problems = primers.load([seed(1, 40), seed(4, 41), seed(9, 128)], folder="", table=TABLE)
    fits = "the primer does not fit the bundle: program"
    assert problems == [
        (
            4,
            f"{fits} 41 does not occur in the model's corpus: want --map-programs 41:40 or --map-programs nearest, or "
            "map_programs of the seed",
        ),
        (
            9,
            f"{fits} 128 does not occur in the model's corpus: want --map-programs 128:drop, or map_programs "
            "of the seed",
        ),
    ]
    assert load_one(seed(1, 24), "", BEATS_TABLE) == [
        f"{fits} 0 given, but the model knows only 24: want --map-programs 0:24 or --map-programs nearest, or "
        "map_programs of the seed"
    ]
    loaded, problems = primers.load([seed(1, 41), Seed(id="a"), seed(3, 99), seed(4, 41)], folder="", table=TABLE)
    assert [(line, text.split()[8]) for line, text in problems] == [(1, "41"), (3, "99"), (4, "41")]
    assert list(loaded.with_values("program", np.array([0, 99]))) == [(0, (0,)), (2, (0, 99)), (3, (0,))]


@pytest.mark.parametrize(
    ("seed", "want"),
    [
        (Seed(id="a", midi="none.mid"), "midi '{}/none.mid' does not exist"),
        (Seed(id="a", midi="../none.mid"), "midi '{}/../none.mid' does not exist"),
        (Seed(id="a", midi="sub"), "midi '{}/sub' cannot be read: it is a folder, want a regular file"),
        (Seed(id="a", midi="/dev/zero"), "midi '/dev/zero' cannot be read: it is a device, want a regular file"),
        (Seed(id="a", midi="pipe"), "midi '{}/pipe' cannot be read: it is a pipe, want a regular file"),
        (Seed(id="a", midi="ftp://x/y"), "midi 'ftp://x/y' cannot be read: 'ftp://x/y' is on ftp://, "
         "want a local path, gs://bucket/name or s3://bucket/name"),
        (Seed(id="a", midi="four.mid", from_note=4), "from_note is 4, but the file has 4 notes, counted from 0"),
        (Seed(id="a", midi="four.mid", from_note=2, num_notes=3),
         "num_notes is 3, but the file has 4 notes, from_note is 2"),
        (Seed(id="a", midi="four.mid", from_seconds=1.76),
         "no note starts from 1.76 to inf seconds; the file has notes from 0.250 to 1.750"),
    ],
)  # fmt: skip
def test_a_missing_primer_is_a_problem(folder, tmp_path, seed, want):
    (tmp_path / "sub").mkdir()
    os.mkfifo(tmp_path / "pipe")
    assert load_one(seed, folder) == [want.format(folder)]


def test_a_file_that_is_not_midi_is_a_problem(tmp_path):
    (tmp_path / "bad.mid").write_bytes(b"RIFF....")
    (problem,) = load_one(Seed(id="a", midi="bad.mid"), str(tmp_path))
    assert problem.startswith(f"midi '{tmp_path}/bad.mid' cannot be used: ")


def test_a_file_that_many_seeds_use_is_read_once(folder, monkeypatch):
    reads = []
    read = storage.read_bytes
    monkeypatch.setattr(storage, "read_bytes", lambda path, **how: (reads.append(path), read(path, **how))[1])
    seeds = [Seed(id=f"s{n}", midi="four.mid", from_note=n) for n in range(4)]
    loaded, problems = primers.load(seeds, folder=folder, table=TABLE)
    assert (problems, reads) == ([], [f"{folder}/four.mid"])
    assert [notes.pitch.tolist() for notes in loaded] == [[60, 61, 62, 63], [61, 62, 63], [62, 63], [63]]


def test_the_digest_changes_with_any_note(folder):
    def digest(*seeds: Seed) -> str:
        return primers.load(seeds, folder=folder, table=TABLE)[0].digest

    first = Seed(id="a", midi="four.mid", num_notes=1)
    assert digest(first) == digest(Seed(id="b", midi=f"{folder}/four.mid", num_notes=1))
    others = [digest(), digest(Seed(id="a")), digest(Seed(id="a"), first), digest(first, Seed(id="a"))]
    others += [digest(Seed(id="a", midi="four.mid", num_notes=2)), digest(first)]
    notes = inline(pitch=[1], velocity=[2], start_seconds=[0], duration_seconds=[1])
    others += [digest(Seed(id="a", notes=notes, tempo=tempo)) for tempo in (60.0, 75.0)]
    assert len(set(others)) == len(others)


@pytest.mark.parametrize(
    ("seed", "times", "keys"),
    [
        (Seed(id="a", midi="song.mid"), "1/4@0, 4/4@24, 3/4@120", "G major@0"),
        (Seed(id="a", midi="song.mid", num_notes=3), "1/4@0, 4/4@24", "G major@0"),
        (Seed(id="a", midi="song.mid", from_note=3), "4/4@-48, 3/4@48", "G major@0"),
        (Seed(id="a", midi="song.mid", from_note=6), "3/4@-24", "G major@0"),
        (Seed(id="a"), "", ""),
    ],
)
def test_signatures_are_those_of_the_notes(tmp_path, seed, times, keys):
    tune = Notes.from_columns(
        pitch=np.full(8, 60),
        velocity=np.full(8, 80),
        start=24 * np.arange(8),
        duration=np.full(8, 24),
        program=np.full(8, 24),
        time_base=BEATS,
    )
    tune = dataclasses.replace(tune, signatures=Signatures.parse("1/4, 4/4@24, 3/4@120", "G major"))
    (tmp_path / "song.mid").write_bytes(midi_writer.serialize(tune))
    loaded, problems = primers.load([seed], folder=str(tmp_path), table=BEATS_TABLE)
    assert problems == []
    assert (loaded.signatures[0].times_text, loaded.signatures[0].keys_text) == (times, keys)


def test_signatures_of_inline_notes_change_the_digest():
    notes = inline(pitch=[60], velocity=[80], start_beats=[0], duration_beats=[1])
    signatures = [Signatures(), Signatures.parse("3/4"), Signatures.parse("4/4"), Signatures.parse(keys="C major")]
    seeds = [Seed(id="a", notes=notes, signatures=each) for each in signatures]
    loaded = [primers.load([seed], folder="", table=BEATS_TABLE)[0] for seed in seeds]
    assert [each.signatures for each in loaded] == [[each] for each in signatures]
    assert len({each.digest for each in loaded}) == 4


def test_midi_path():
    assert primer_sources.midi_path("a/b.mid", "") == "a/b.mid"
    assert primer_sources.midi_path("a/b.mid", "gs://bucket/x") == "gs://bucket/x/a/b.mid"
    assert primer_sources.midi_path("/a/b.mid", "x") == "/a/b.mid"
    assert primer_sources.midi_path("gs://bucket/b.mid", "x") == "gs://bucket/b.mid"


def test_a_track_of_a_file(tmp_path):
    header = b"MThd\0\0\0\x06\0\x01\0\x03\x01\xf4"  # 500 ticks a quarter note: 1 ms each
    events = [b"", b"\0\xff\x03\x05Piano\0\x90\x3c\x50\x64\x3c\0\0\x3e\x50\x64\x3e\0", b"\x0a\x90\x40\x50\x64\x40\0"]
    tracks = [b"MTrk" + (len(event) + 4).to_bytes(4, "big") + event + b"\0\xff\x2f\0" for event in events]
    (tmp_path / "a.mid").write_bytes(header + b"".join(tracks))

    def load(**keys: Any) -> object:
        found = load_one(Seed(id="a", midi="a.mid", **keys), str(tmp_path))
        return found.pitch.tolist() if isinstance(found, Notes) else found

    assert load() == [60, 64, 62]
    assert load(track=1) == load(track="Piano") == [60, 62]
    assert load(track=1, from_note=1) == [62]
    assert load(track=2) == [64]
    assert load(track=2, num_notes=2) == ["num_notes is 2, but the track has 1 notes, from_note is 0"]
    there = "the file has the tracks 0, 1 'Piano', 2"
    assert load(track=3) == [f"midi '{tmp_path}/a.mid': there is no track 3; {there}"]
    assert load(track=0) == [f"midi '{tmp_path}/a.mid': track 0 has no notes; {there}"]


def test_a_file_of_a_folder_that_does_not_fit_is_named(tmp_path):
    (tmp_path / "drums.mid").write_bytes(midi_writer.serialize(make_notes(2, program=128)))
    _, problems = primers.load([Seed(id="a", midi="drums.mid")], folder=str(tmp_path), table=TABLE)
    assert problems == [
        (
            0,
            "the primer of 'drums.mid' does not fit the bundle: program 128 does not occur in the model's corpus: want "
            "--map-programs 128:drop, or map_programs of the seed",
        )
    ]


def test_where_primers_are_from(folder):
    seeds = [
        Seed(id="a", midi="four.mid", from_seconds=0.75, to_seconds=1.6, track=0),
        Seed(id="b"),
        Seed(
            id="c", notes=inline(pitch=[1], velocity=[3], start_beats=[1], duration_beats=[1]), origin={"source": "x"}
        ),
        Seed(id="d", midi="four.mid"),
    ]
    loaded, problems = primers.load(seeds, folder=folder, table=TABLE)
    assert problems == []
    digest = hashlib.sha256(midi_writer.serialize(make_notes(4))).hexdigest()
    assert loaded.origins == {
        0: {"midi": "four.mid", "sha256": digest, "track": 0, "from_note": 1, "num_notes": 2},
        2: {"source": "x"},
        3: {"midi": "four.mid", "sha256": digest, "from_note": 0, "num_notes": 4},
    }


def test_notes_that_sound_beyond_the_last_onset_are_counted():
    long = inline(pitch=[60, 64, 67], velocity=[80] * 3, start_seconds=[0, 0.5, 1], duration_seconds=[1.001, 0.5, 0])
    seeds = [Seed(id="a", notes=long), Seed(id="b"), Seed(id="c", notes=long)]
    loaded, problems = primers.load(seeds, folder="", table=TABLE)
    assert problems == [] and loaded.num_sounding.tolist() == [2, 0, 2]  # the one that ends at the onset does not
