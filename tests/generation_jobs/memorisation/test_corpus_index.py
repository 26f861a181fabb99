"""The longest run against a search that tries everything; copies that are planted; the index file."""

from __future__ import annotations

import dataclasses
import itertools

import google_crc32c
import numpy as np
import pytest

from generation_jobs.memorisation import __main__ as memorisation_command
from generation_jobs.memorisation import index_files, run_search
from generation_jobs.memorisation.corpus_index import Copied, Index
from generation_jobs.memorisation.index_build import Build
from job_runtime import command
from job_runtime.problem_report import UserError
from midi_codec.dataset.records import Piece
from midi_codec.measures.note_strings import CHORD_TICKS, SLACK_TICKS, TRIVIAL_STEPS
from midi_codec.music.notes import BEATS, DRUM_PROGRAM, MILLISECONDS, Notes
from tests.generation_jobs.report_fakes import make_dataset


def notes_of(pitch, start, *, program=0, time_base=MILLISECONDS) -> Notes:
    count = len(pitch)
    return Notes.from_columns(
        pitch=np.array(pitch, np.int64),
        start=np.array(start, np.int64),
        velocity=np.full(count, 64),
        duration=np.full(count, 10),
        program=np.broadcast_to(program, count),
        time_base=time_base,
    )


def index_of(*pieces: Notes, time_base: str = MILLISECONDS) -> Index:
    return Index.build(map(piece_of, pieces, itertools.count()), time_base=time_base, dataset="d" * 32)


def piece_of(notes: Notes, number: int) -> Piece:
    return Piece(f"id{number}", "group", f"{number}.mid", notes)


def build_of(sources: list[list[Piece]], folder) -> Build:
    return Build(str(folder), sources, MILLISECONDS, "d" * 32)


def files_of(folder) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def melody(num_notes: int, rng_seed: int, *, num_pitches: int = 12, time_base: str = MILLISECONDS) -> Notes:
    """Chords and single notes of a few pitches, so that much repeats."""
    rng = np.random.default_rng(rng_seed)
    choices = [0, 100, 200, 400] if time_base == MILLISECONDS else [0, 6, 12, 24]
    start = np.cumsum(rng.choice(choices, num_notes, p=[0.3, 0.4, 0.2, 0.1]))
    return notes_of(60 + rng.integers(0, num_pitches, num_notes), start, time_base=time_base).from_first_onset()


# What docs/memorisation.md says, note by note: nothing of the code under test is used.


def in_order_of_comparison(notes: Notes) -> list[tuple[int, int, int, bool]]:
    """(onset of the chord, pitch, place in `notes`, is a drum)"""
    rows = list(zip(notes.start.tolist(), notes.pitch.tolist(), notes.program.tolist(), range(len(notes)), strict=True))
    if any(program != DRUM_PROGRAM for _, _, program, _ in rows):
        rows = [row for row in rows if row[2] != DRUM_PROGRAM]
    found, onset, last = [], 0, None
    for start, pitch, program, place in rows:
        if last is None or start - last > CHORD_TICKS[notes.time_base]:
            onset = start
        last = start
        found.append((onset, pitch, place, program == DRUM_PROGRAM))
    return sorted(found)


def is_trivial(rows, k) -> bool:
    """The step to note k, which is from note k - 1 on."""

    def letter(j):
        return rows[j][1] - rows[j - 1][1] if not rows[j][3] else (rows[j - 1][1], rows[j][1])

    return k >= TRIVIAL_STEPS + 2 and all(letter(j) == letter(j - 2) for j in range(k - TRIVIAL_STEPS + 1, k + 1))


def step_agrees(a, b, c, d, time_base) -> bool:
    """From a to b as from c to d."""
    if b[3] != d[3] or (b[3] and (a[1], b[1]) != (c[1], d[1])) or b[1] - a[1] != d[1] - c[1]:
        return False
    first, second = sorted([b[0] - a[0], d[0] - c[0]])
    return second - first <= SLACK_TICKS[time_base] or second * 5 <= first * 7


def brute_force(notes: Notes, num_given: int, pieces: list[Notes]) -> Copied:
    mine = in_order_of_comparison(notes.take(slice(num_given, None)))
    mine_trivial = {i for i in range(1, len(mine)) if is_trivial(mine, i)}
    best = Copied(0)
    runs = []
    for row, piece in enumerate(pieces):
        theirs = in_order_of_comparison(piece)
        theirs_trivial = {j for j in range(1, len(theirs)) if is_trivial(theirs, j)}
        lengths: dict[tuple[int, int], int] = {}
        for i in range(1, len(mine)):
            for j in range(1, len(theirs)):
                if (i in mine_trivial) or (j in theirs_trivial):
                    continue
                if step_agrees(mine[i - 1], mine[i], theirs[j - 1], theirs[j], notes.time_base):
                    lengths[i, j] = lengths.get((i - 1, j - 1), 0) + 1
        runs += [(-length, i - length, row, j - length, theirs) for (i, j), length in lengths.items()]
    if runs:
        length, at, row, found, theirs = min(runs, key=lambda run: run[:4])
        best = Copied(
            num_notes=1 - length,
            piece_id=f"id{row}",
            source=f"{row}.mid",
            at_note=mine[at][2] + num_given,
            from_note=theirs[found][2],
            from_tick=theirs[found][0],
            transposition=mine[at][1] - theirs[found][1],
        )
    return best


@pytest.mark.parametrize("time_base", [MILLISECONDS, BEATS])
@pytest.mark.parametrize("num_pitches", [1, 2, 4, 12])
@pytest.mark.parametrize("chunk", [7, None])
def test_equals_an_exhaustive_search(num_pitches, time_base, chunk, monkeypatch):
    if chunk:
        monkeypatch.setattr(run_search, "_CHUNK", chunk)
    for rng_seed in range(5):
        sizes = np.random.default_rng(rng_seed).integers(0, 60, 5)
        pieces = [
            melody(int(size), 100 * rng_seed + k, num_pitches=num_pitches, time_base=time_base)
            for k, size in enumerate(sizes)
        ]
        index = index_of(*pieces, time_base=time_base)
        notes = melody(50, 7000 + rng_seed, num_pitches=num_pitches, time_base=time_base)
        for num_given in (0, 13):
            assert index.longest_run(notes, num_given) == brute_force(notes, num_given, pieces), (rng_seed, num_given)


def test_equals_an_exhaustive_search_with_drums():
    rng = np.random.default_rng(5)
    pieces = [
        dataclasses.replace(melody(40, k, num_pitches=2), program=rng.choice([0, DRUM_PROGRAM], 40).astype(np.uint8))
        for k in range(4)
    ]
    drums = [
        dataclasses.replace(melody(40, 50 + k, num_pitches=3), program=np.full(40, DRUM_PROGRAM, np.uint8))
        for k in range(4)
    ]
    pieces += drums[1:]
    index = index_of(*pieces)
    for notes in (melody(40, 9, num_pitches=2), drums[0], pieces[0]):
        assert index.longest_run(notes) == brute_force(notes, 0, pieces)


@pytest.mark.parametrize("length", [2, 5, 31, 32, 33, 34, 70, 200])
@pytest.mark.parametrize("transposition", [-7, 0, 12])
def test_a_planted_copy_is_found_in_any_key_and_slightly_off_in_time(length, transposition):
    rng = np.random.default_rng(length)
    pieces = [melody(300, k, num_pitches=25) for k in range(5)]
    source = melody(300, 99, num_pitches=25).take(slice(40, 40 + length))
    # single notes, 200 ms apart: 25 ms off each way is 50 ms a step, which is within what counts as equal
    tune = notes_of(source.pitch, 200 * np.arange(length) + 1000)
    before, after = np.arange(3) * 200, 1000 + 200 * length + np.arange(3) * 200
    pieces[3] = notes_of([20, 127, 20, *tune.pitch, 1, 120, 0], [*before, *tune.start, *after])
    jitter = rng.integers(-25, 26, length)
    copy = notes_of(
        [*[90, 30, 99], *(tune.pitch.astype(int) + transposition), 100, 3],
        [0, 100, 200, *(tune.start + jitter), 10**6, 10**6 + 99],
    )
    found = index_of(*pieces).longest_run(copy)
    if length > 5:
        assert found == Copied(length, "id3", "3.mid", 3, 3, 1000, transposition)
    else:
        assert found.num_notes >= length


def test_times_that_differ_more_end_a_run():
    tune = [60, 64, 62, 67, 65, 60, 59, 70]
    index = index_of(notes_of(tune, 200 * np.arange(8)))
    for late, wanted in ((60, 8), (80, 8), (81, 4)):  # 280 ms is 1.4 times 200 ms
        start = 200 * np.arange(8) + late * (np.arange(8) >= 4)
        assert index.longest_run(notes_of(tune, start)).num_notes == wanted, late
    assert index.longest_run(notes_of(tune, 280 * np.arange(8))).num_notes == 8
    assert index.longest_run(notes_of(tune, 400 * np.arange(8))).num_notes == 0


def test_the_order_inside_a_chord_does_not_count():
    pitch = [60, 64, 67, 62, 65, 69, 59, 62, 67]
    chords = np.repeat([0, 500, 1000], 3)
    index = index_of(notes_of(pitch, chords))
    rolled = chords + [20, 10, 0, 0, 40, 20, 30, 0, 30]
    assert index.longest_run(notes_of(pitch, rolled)).num_notes == 9
    assert index.longest_run(notes_of(pitch, chords + [60, 0, 0, 0, 0, 0, 0, 0, 0])).num_notes < 9


def test_a_trill_counts_for_at_most_ten_notes():
    trill = notes_of([60, 62] * 50, 100 * np.arange(100))
    same = notes_of([60] * 100, 100 * np.arange(100))
    triplets = notes_of(([60, 64, 67] * 40)[:100], 100 * np.arange(100))
    index = index_of(trill, same, triplets)
    assert [index.longest_run(notes).num_notes for notes in (trill, same, triplets)] == [10, 10, 100]
    ending = notes_of([60, 62] * 20 + [70, 50, 71, 52, 80], 100 * np.arange(45))
    assert index_of(ending).longest_run(ending).num_notes == 10
    assert index_of(ending).longest_run(ending, 38).num_notes == 6  # the last of the trill and five


def test_primers_are_not_copies_but_continuations_of_their_source_are():
    source = melody(60, 1, num_pitches=25)
    other = melody(60, 2, num_pitches=25)
    index = index_of(source)
    going_on = source.take(slice(0, 36))
    assert index.longest_run(going_on, 16) == dataclasses.replace(index.longest_run(going_on, 16), num_notes=20)
    assert index.longest_run(going_on, 36) == index.longest_run(going_on, 35) == Copied(0)
    leaving = notes_of(
        [*source.pitch[:20], *other.pitch[:20]],
        [*source.start[:20], *(other.start[:20] + 1000 + source.start[20])],
    )
    assert index.longest_run(leaving, 20).num_notes < 8 < index.longest_run(leaving).num_notes


def test_runs_end_with_the_piece():
    tune = melody(40, 1, num_pitches=25)
    index = index_of(tune.take(slice(0, 20)), tune.take(slice(20, 40)).from_first_onset())
    assert index.longest_run(tune).num_notes == 20


def test_the_same_drums_in_another_key_are_other_drums():
    start = 100 * np.arange(6)
    groove = notes_of([36, 42, 38, 42, 36, 38], start, program=DRUM_PROGRAM)
    index = index_of(groove)
    assert index.longest_run(groove) == Copied(6, "id0", "0.mid", 0, 0, 0, 0)
    assert index.longest_run(notes_of(groove.pitch + 1, start, program=DRUM_PROGRAM)) == Copied(0)
    assert index.longest_run(notes_of(groove.pitch, start)) == Copied(0)  # a piano


@pytest.mark.parametrize("num_notes", [0, 1])
def test_very_short_pieces(num_notes):
    few, many = melody(num_notes, 0), melody(50, 1)
    assert index_of(few).longest_run(many) == Copied(0)
    assert index_of(many).longest_run(few) == Copied(0)
    assert index_of().longest_run(many) == Copied(0)


def test_another_grid_is_an_error():
    index = index_of(melody(10, 0))
    with pytest.raises(ValueError, match="piece 0 is on the grid of beats, want milliseconds"):
        index.longest_run(melody(10, 0, time_base=BEATS))


def test_the_file_gives_the_same_answers_and_has_the_same_bytes_every_time(tmp_path, capsys):
    pieces = [melody(80, k, num_pitches=6) for k in range(5)]
    info = make_dataset(tmp_path / "data", {"train": pieces, "test": [melody(9, 9)]})
    for name in ("a", "b"):
        argv = ["--data", str(tmp_path / "data"), "--output", str(tmp_path / name)]
        assert memorisation_command.main(argv) == command.OK
    assert files_of(tmp_path / "a") == files_of(tmp_path / "b")
    assert files_of(tmp_path / "a").keys() == {*index_files.COLUMNS, "index.json"}
    num_pitched = sum(int((piece.program != DRUM_PROGRAM).sum()) for piece in pieces)
    assert capsys.readouterr().out.splitlines()[0] == f"{num_pitched} notes of 5 pieces in {tmp_path / 'a'}"
    loaded, built = Index.load(str(tmp_path / "a")), index_of(*pieces)
    assert loaded.dataset == info.hash
    notes = melody(60, 77, num_pitches=6)
    found = loaded.longest_run(notes)
    assert found.num_notes == built.longest_run(notes).num_notes >= 4
    assert found.piece_id in {piece.piece_id for piece in pieces} and found.source == f"{found.piece_id}.mid"


def test_files_that_are_not_an_index_are_refused(tmp_path):
    with pytest.raises(UserError, match="holds no whole index"):
        Index.load(str(tmp_path / "none"))
    (tmp_path / "old").write_bytes(b"PK: the one file of an earlier version")
    with pytest.raises(UserError, match="'.*old' is a file, want the folder of an index; an earlier version wrote one"):
        Index.load(str(tmp_path / "old"))
    folder = tmp_path / "index"
    build_of([[piece_of(melody(10, 0), 0)]], folder).finish()
    note = (folder / "note").read_bytes()
    damaged = note[:-4] + b"\0\0\0\1"
    (folder / "note").write_bytes(damaged)
    checksums = f"{google_crc32c.value(damaged)}, want {google_crc32c.value(note)}"
    with pytest.raises(UserError, match=f"not a whole index of .*: the checksum of note is {checksums}$"):
        Index.load(str(folder))
    (folder / "note").write_bytes(note[:-4])
    with pytest.raises(UserError, match="not a whole index .*: note has 36 bytes, want 40; note has 9 values, want 10"):
        Index.load(str(folder))
    (folder / "note").unlink()
    with pytest.raises(UserError, match="holds no whole index"):
        Index.load(str(folder))
    info = (folder / "index.json").read_text()
    (folder / "index.json").write_text(info.replace('"format_version": 2', '"format_version": 3'))
    with pytest.raises(UserError, match="format_version is 3, want 2"):
        Index.load(str(folder))


def test_a_dataset_without_training_pieces_has_no_index(tmp_path):
    make_dataset(tmp_path / "data", {"test": [melody(9, 9)]})
    with pytest.raises(UserError, match="has no piece in its train split"):
        memorisation_command.main(["--data", str(tmp_path / "data"), "--output", str(tmp_path / "a")])
    assert not (tmp_path / "a").exists()
