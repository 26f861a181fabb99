"""The command: its figures with copies that are planted, its text, and what it refuses."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest

from generation_jobs import compare
from generation_jobs.memorisation import __main__ as memorisation_command
from generation_jobs.output import generated_music
from job_runtime import command
from job_runtime.problem_report import UserError
from midi_codec.dataset import dataset_info
from midi_codec.music.notes import BEATS, Notes
from tests.generation_jobs.memorisation.test_corpus_index import melody, notes_of
from tests.generation_jobs.report_fakes import make_dataset, make_music

GIVEN = 8


def copy_of(source: Notes, first: int, num_notes: int, *, semitones: int, rng_seed: int) -> Notes:
    """A piece of 60 notes that ends with a copy of single notes."""
    opening = melody(60 - num_notes, rng_seed, num_pitches=25)
    part = source.take(slice(first, first + num_notes))
    start = part.start.astype(int) - int(part.start[0]) + int(opening.start[-1]) + 5000
    return notes_of([*opening.pitch, *(part.pitch.astype(int) + semitones)], [*opening.start, *start])


@pytest.fixture
def folders(tmp_path):
    rng = np.random.default_rng(0)
    train = [notes_of(rng.integers(40, 80, 100), 150 * np.arange(100)) for _ in range(4)]
    held_out = [melody(80, 20 + k, num_pitches=25) for k in range(3)]
    make_dataset(tmp_path / "data", {"train": train, "validation": held_out, "test": held_out[:1]})
    free = melody(60, 50, num_pitches=25)
    pieces = [
        ("a", 0, free),
        ("a", 1, copy_of(train[2], 30, 40, semitones=3, rng_seed=51)),
        ("a", 2, copy_of(train[1], 0, 25, semitones=0, rng_seed=52)),
        ("b", 0, dataclasses.replace(free, pitch=free.pitch - np.uint8(2))),
        ("b", 1, free),
    ]
    make_music(tmp_path / "music", pieces, num_primer_notes=GIVEN)
    return tmp_path, train


def run(root, *flags: str) -> int:
    return compare.main(["--music", str(root / "music"), "--data", str(root / "data"), *flags])


def test_finds_and_prints_copies(folders, capsys):
    root, train = folders
    assert run(root) == command.OK
    lines = capsys.readouterr().out.splitlines()
    found = json.loads(lines[-1])
    worst = found["worst"]
    assert [(figure["seed_id"], figure["sample"], figure["num_notes"]) for figure in worst[:2]] == [
        ("a", 1, 40),
        ("a", 2, 25),
    ]
    assert worst[0] == {
        "seed_id": "a", "sample": 1, "path": "midi/a/a-00001.mid", "num_notes": 40, "piece_id": train[2].piece_id,
        "source": f"{train[2].piece_id}.mid", "at_note": 20, "from_note": 30, "from_tick": 4500, "transposition": 3,
        "shared": worst[0]["shared"],
    }  # fmt: skip
    limit = found["threshold_notes"]
    assert found["generated"]["longest"] == 40 and found["reference"]["longest"] == limit < 20
    assert (found["num_above_threshold"], found["num_pieces"], found["reference"]["num_pieces"]) == (2, 5, 3)
    assert f"pieces with a run of more than {limit} notes (the 99.9 % quantile of validation): 2" in lines
    source = f"{train[2].piece_id}.mid"
    sentence = f"  midi/a/a-00001.mid: 40 notes from note 20 on are in {source} from note 30 (4.5 s) on, +3 semitones"
    assert sentence in lines


def test_finds_duplicates_among_the_pieces(folders, capsys):
    root, _ = folders
    assert run(root) == command.OK
    found = json.loads(capsys.readouterr().out.splitlines()[-1])["duplicates"]
    assert found["exact"] == [["midi/a/a-00000.mid", "midi/b/b-00001.mid"]]
    assert (found["num_exact_groups"], found["num_exact_pieces"], found["num_near_pieces"]) == (1, 2, 3)
    near = {figure["path"]: figure for figure in found["near"]}
    assert near["midi/b/b-00000.mid"] == {
        "path": "midi/b/b-00000.mid", "with": "midi/a/a-00000.mid", "num_notes": 60 - GIVEN, "transposition": -2,
    }  # fmt: skip


def test_an_index_gives_the_same_result(folders, capsys):
    root, _ = folders
    flags = ["--index", str(root / "index"), "--output", str(root / "copied.json")]
    assert memorisation_command.main(["--data", str(root / "data"), "--output", str(root / "index")]) == command.OK
    assert run(root, *flags) == command.OK
    first = (root / "copied.json").read_bytes()
    assert run(root, *flags) == command.OK
    assert (root / "copied.json").read_bytes() == first
    capsys.readouterr()
    assert run(root) == command.OK
    found = json.loads(first)
    pieces = found.pop("pieces")
    assert [(piece["seed_id"], piece["sample"]) for piece in pieces] == [
        ("a", 0), ("a", 1), ("a", 2), ("b", 0), ("b", 1),
    ]  # fmt: skip
    assert pieces[4]["shared"] == {"num_notes": 60 - GIVEN, "with": "midi/a/a-00000.mid", "transposition": 0}
    assert found == json.loads(capsys.readouterr().out.splitlines()[-1])


def test_without_a_validation_split_there_is_no_threshold(folders, tmp_path, capsys):
    root, train = folders
    make_dataset(tmp_path / "bare", {"train": train})
    argv = ["--music", str(root / "music"), "--data", str(tmp_path / "bare")]
    assert compare.main(argv) == command.OK
    out = capsys.readouterr().out
    assert "no threshold: the validation split has no piece to compare" in out
    found = json.loads(out.splitlines()[-1])
    assert (found["threshold_notes"], found["num_above_threshold"]) == (None, None)
    assert found["reference"] == {"num_pieces": 0, "median": None, "90 %": None, "99 %": None, "longest": None}


def test_music_of_primers_alone_copies_nothing(folders, tmp_path, capsys):
    root, train = folders
    make_music(tmp_path / "bare", [("a", 0, train[0].take(slice(0, 8)))], num_primer_notes=8)
    assert compare.main(["--music", str(tmp_path / "bare"), "--data", str(root / "data")]) == command.OK
    found = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert found["generated"]["longest"] == 0 and found["duplicates"]["num_exact_groups"] == 0


def test_all_mistakes_are_reported_at_once(folders):
    root, train = folders
    with pytest.raises(UserError) as raised:
        compare.main(["--music", "m", "--data", str(root / "none"), "--index", str(root / "no.index")])
    assert [problem.partition(":")[0] for problem in raised.value.problems] == ["--data", "--index"]
    make_dataset(root / "other", {"test": train})
    with pytest.raises(UserError, match="has no piece in its train split"):
        compare.main(["--music", "m", "--data", str(root / "other")])


def test_an_index_of_another_dataset_is_refused(folders):
    root, train = folders
    info = make_dataset(root / "other", {"train": [melody(30, 1, time_base=BEATS)]}, time_base=BEATS)
    assert memorisation_command.main(["--data", str(root / "other"), "--output", str(root / "index")]) == command.OK
    with pytest.raises(UserError, match=f"--index is of dataset {info.hash}, --data is "):
        run(root, "--index", str(root / "index"))


def test_the_longest_runs_of_generated_and_held_out_pieces(folders, monkeypatch):
    root, _ = folders
    info = dataset_info.load(str(root / "data"))
    pieces = generated_music.read(str(root / "music"), time_base=info.time_base)
    runs = compare.longest_runs(pieces, str(root / "data"), info)
    assert runs.generated == 40 and 0 < runs.held_out < 20
    assert str(runs) == (
        f"at most 40 notes in a row from a training piece; in held-out pieces of the same lengths: {runs.held_out}"
    )
    (sentence,) = runs.doubts()
    assert sentence.startswith("A generated piece has 40 notes in a row from a training piece; held-out pieces have")
    monkeypatch.setattr(compare, "MAX_INDEXED", info.splits["train"].num_notes - 1)
    assert compare.longest_runs(pieces, str(root / "data"), info) is None


@pytest.mark.parametrize("generated, held_out, num", [(30, 20, 0), (31, 20, 1), (9, None, 0), (5, 0, 1), (0, 0, 0)])
def test_only_clearly_longer_runs_are_doubted(generated, held_out, num):
    assert len(list(compare.LongestRuns(generated, held_out).doubts())) == num
    assert ("held-out" in str(compare.LongestRuns(generated, held_out))) == (held_out is not None)
