import pytest

from generation_jobs.seeds import dataset_pieces, primers
from generation_jobs.seeds.seed_record import Seed
from job_runtime.problem_report import UserError
from midi_codec.dataset import dataset_info, records
from midi_codec.music.notes import BEATS
from tests.generation_jobs.fakes import make_bundle
from tests.generation_jobs.test_make_seeds import PIECES, dataset

__all__ = ["dataset"]

TABLE = make_bundle().fields


def load(folder, *seeds: Seed, table=TABLE, data: str | None = "data"):
    path = None if data is None else f"{folder}/{data}"
    return primers.load(seeds, folder="", table=table, dataset=path)


def test_pieces_are_read_exactly(dataset):
    wanted = [PIECES[number].piece_id for number in (3, 11, 0)]
    pieces = dataset_pieces.load(f"{dataset}/data", [*wanted, "0" * 32])
    assert set(pieces.rows) == set(wanted)
    for piece in (PIECES[3], PIECES[11], PIECES[0]):
        row = pieces.rows[piece.piece_id]
        rows = slice(pieces.offsets[row], pieces.offsets[row + 1])
        for name, column in pieces.columns.items():
            want = getattr(piece.notes, name)
            assert column[rows].tolist() == want.tolist()
            assert column.dtype == want.dtype
        assert pieces.tempos[row] == piece.notes.tempo


def test_no_piece_at_all(dataset):
    pieces = dataset_pieces.load(f"{dataset}/data", ["none"])
    assert (pieces.rows, pieces.offsets.tolist()) == ({}, [0])


def test_a_seed_selects_notes_of_a_piece(dataset):
    piece = PIECES[7]
    seconds = piece.notes.start * 0.001
    loaded, problems = load(
        dataset,
        Seed(id="all", piece_id=piece.piece_id),
        Seed(id="some", piece_id=piece.piece_id, from_note=2, num_notes=5),
        Seed(id="silence"),
        Seed(id="seconds", piece_id=piece.piece_id, from_seconds=float(seconds[4]), to_seconds=float(seconds[9])),
    )
    assert problems == []
    assert loaded[0] == piece.notes
    assert loaded[1] == piece.notes.take(slice(2, 7)).from_first_onset()
    assert loaded[2] is None
    first, stop = (seconds < seconds[4]).sum(), (seconds < seconds[9]).sum()
    assert loaded[3] == piece.notes.take(slice(first, stop)).from_first_onset()


def test_problems_with_a_piece_have_its_line(dataset):
    piece_id = PIECES[0].piece_id  # of 10 notes
    _, problems = load(
        dataset,
        Seed(id="a", line=1, piece_id="abc"),
        Seed(id="b", line=2, piece_id=piece_id, from_note=10),
        Seed(id="c", line=3, piece_id=piece_id, num_notes=11),
        Seed(id="d", line=4, piece_id=piece_id, from_seconds=1000),
    )
    last = PIECES[0].notes.start[-1] / 1000
    assert problems == [
        (1, "piece_id 'abc' is not in the dataset"),
        (2, "from_note is 10, but the piece has 10 notes, counted from 0"),
        (3, "num_notes is 11, but the piece has 10 notes, from_note is 0"),
        (4, f"no note starts from 1000 to inf seconds; the piece has notes from 0.000 to {last:.3f}"),
    ]


def test_problems_with_the_dataset_are_reported_once(dataset):
    seeds = [Seed(id=f"s{line}", line=line, piece_id=PIECES[0].piece_id) for line in (2, 5)]
    assert load(dataset, *seeds, data=None)[1] == [
        (2, "piece_id names a piece of a dataset, want --seed-data; seeds that have one: 2")
    ]
    none = f"{dataset}/none"
    assert load(dataset, *seeds, data="none")[1] == [
        (0, f"--seed-data: {none} is not a complete dataset: no dataset_info.json")
    ]
    assert load(dataset, *seeds, table=make_bundle(time_base=BEATS).fields)[1] == [
        (0, f"--seed-data '{dataset}/data' is on a grid of milliseconds, the bundle on one of beats; "
         "want a dataset like the one it was trained on")
    ]  # fmt: skip


def test_a_damaged_shard_is_named(dataset):
    path = dataset / "data" / dataset_info.shard_name("validation", 1, 2)
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(UserError, match="validation-00001-of-00002.tfrecord' cannot be read: "):
        dataset_pieces.load(f"{dataset}/data", [PIECES[0].piece_id])


def test_a_record_with_columns_of_different_lengths_is_damage(dataset):
    path = dataset / "data" / dataset_info.shard_name("validation", 0, 2)
    (first, *_) = records.read_records(path.read_bytes())
    pitch = records.split_features(first)["pitch"]
    broken = first.replace(pitch, b"\x80" + pitch[1:])  # two values become one
    path.write_bytes(records.write_records([broken]))
    with pytest.raises(UserError, match="cannot be read: "):
        dataset_pieces.load(f"{dataset}/data", [PIECES[0].piece_id])
