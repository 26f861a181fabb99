import dataclasses

import numpy as np
import pytest

from generation_jobs import make_seeds
from generation_jobs.seeds import primers, seed_list
from job_runtime import command, storage
from midi_codec.dataset import dataset_info, records
from midi_codec.dataset.records import Piece
from midi_codec.music.notes import BEATS, MILLISECONDS, Notes
from midi_codec.music.signatures import Signatures
from tests.generation_jobs.fakes import make_bundle


def make_piece(number: int, num_notes: int, time_base: str = MILLISECONDS) -> Piece:
    rng = np.random.default_rng(number)
    start = np.cumsum(rng.integers(0, 400, num_notes))
    notes = Notes.from_columns(
        pitch=rng.integers(0, 128, num_notes),
        velocity=rng.integers(1, 128, num_notes),
        start=start - start[0],
        duration=rng.integers(0, 900, num_notes),
        program=rng.choice([0, 40], num_notes),
        tempo=75.0,
        time_base=time_base,
    )
    return Piece(notes.piece_id, notes.piece_id, f"folder/Ünïcode piece {number}.mid", notes)


PIECES = [make_piece(number, 10 + number) for number in range(12)]


@pytest.fixture
def dataset(tmp_path):
    """A dataset whose validation split has two shards."""
    root = tmp_path / "data"
    root.mkdir()
    for index, part in enumerate((PIECES[:5], PIECES[5:])):
        shard = records.write_records(map(records.serialize_example, part))
        (root / dataset_info.shard_name("validation", index, 2)).write_bytes(shard)
    empty = dataset_info.SplitInfo()
    info = dataset_info.DatasetInfo.of_examples(
        time_base=MILLISECONDS,
        programs=(0, 40),
        splits={
            "train": empty,
            "validation": dataset_info.SplitInfo(num_pieces=12, num_notes=1, seconds=1.0, shard_lengths=(5, 7)),
            "test": empty,
        },
        histograms={
            split: {column: dataset_info.Histogram() for column in dataset_info.COLUMNS}
            for split in dataset_info.SPLITS
        },
    )
    dataset_info.save(str(root), info)
    return tmp_path


def run(folder, *flags: str) -> int:
    paths = ["--data", f"{folder}/data", "--output", f"{folder}/seeds.jsonl"]
    return command.run("make_seeds", make_seeds.main, [*paths, *flags])


def read(folder) -> list[seed_list.Seed]:
    seeds = seed_list.read(f"{folder}/seeds.jsonl")
    assert seeds.problems == []
    return seeds.seeds


def test_a_list_holds_the_openings_exactly(dataset, capsys):
    assert run(dataset, "--num-seeds", "4", "--num-notes", "15") == 0
    assert capsys.readouterr().out == f"4 seeds of 15 notes in {dataset}/seeds.jsonl\n"
    seeds = read(dataset)
    by_id = {f"n-code-piece-{n}-{piece.piece_id[:10]}": piece for n, piece in enumerate(PIECES)}
    assert len(seeds) == 4
    loaded, problems = primers.load(seeds, folder="", table=make_bundle().fields)
    assert problems == []
    for index, seed in enumerate(seeds):
        assert loaded[index] == by_id[seed.id].notes.take(slice(15))


@pytest.mark.parametrize("flags", [["--num-notes", "16"], ["--num-notes", "5"]])
def test_a_longer_list_begins_with_the_shorter_one(dataset, flags):
    assert run(dataset, "--num-seeds", "100", *flags) == 0
    long = [seed.id for seed in read(dataset)]
    for count in (1, 3, 7, 15):
        assert run(dataset, "--num-seeds", str(count), *flags) == 0
        assert [seed.id for seed in read(dataset)] == long[:count]


def test_openings_come_first_then_further_excerpts_of_each_piece(dataset):
    assert run(dataset, "--num-seeds", "1000", "--num-notes", "5") == 0
    seeds = read(dataset)
    assert len(seeds) == 29
    assert ["-n" in seed.id[-4:] for seed in seeds] == [False] * 12 + [True] * 17
    sources = [seed.origin["source"] for seed in seeds]
    assert sources[12:20] == [source for source in sources[:12] if source in sources[12:20]]  # the same order
    by_source = {piece.source: piece.notes for piece in PIECES}
    loaded, problems = primers.load(seeds, folder="", table=make_bundle().fields)
    assert problems == []
    taken = set()
    for index, seed in enumerate(seeds):
        source, first = seed.origin["source"], seed.origin["from_note"]
        assert loaded[index] == by_source[source].take(slice(first, first + 5)).from_first_onset()
        rows = {(source, row) for row in range(first, first + 5)}
        assert not taken & rows  # excerpts of a piece do not overlap
        taken |= rows


def test_a_seed_says_where_its_notes_are_from(dataset):
    assert run(dataset, "--num-seeds", "13", "--num-notes", "5") == 0
    info = dataset_info.load(f"{dataset}/data")
    seed = read(dataset)[12]
    piece = next(piece for piece in PIECES if piece.source == seed.origin["source"])
    first = seed.origin["from_note"]
    assert first > 0
    assert seed.id == f"n-code-piece-{PIECES.index(piece)}-{piece.piece_id[:10]}-n{first}"
    assert seed.origin == {
        "piece_id": piece.piece_id,
        "source": piece.source,
        "from_note": first,
        "num_notes": 5,
        "dataset": info.hash,
    }


def test_several_splits(dataset, capsys):
    both = ["--split", "train,test", "--split", "validation"]
    assert run(dataset, "--num-seeds", "4", *both) == 0
    from_all = read(dataset)
    assert run(dataset, "--num-seeds", "4") == 0
    assert [seed.id for seed in from_all] == [seed.id for seed in read(dataset)]  # the others are empty
    capsys.readouterr()
    assert run(dataset, "--num-seeds", "4", "--split", "train,test") == 2
    assert "the train and test splits of" in capsys.readouterr().err
    assert run(dataset, "--split", "valid,train,tset") == 2
    wanted = "want some of train, validation, test, separated by commas"
    assert capsys.readouterr().err.splitlines() == [
        f"make_seeds: --split is 'valid', {wanted}",
        f"make_seeds: --split is 'tset', {wanted}",
    ]


def test_only_pieces_with_a_matching_source(dataset, capsys):
    assert run(dataset, "--num-notes", "15", "--source-regex", "piece (7|9|3)[.]mid$") == 0
    assert sorted(seed.id[:14] for seed in read(dataset)) == ["n-code-piece-7", "n-code-piece-9"]
    capsys.readouterr()
    assert run(dataset, "--num-notes", "15", "--source-regex", "^folder$") == 2
    assert "no piece of 15 notes or more whose source matches '^folder$'" in capsys.readouterr().err
    assert run(dataset, "--source-regex", "(") == 2
    assert "--source-regex is '(': missing ), unterminated subpattern" in capsys.readouterr().err


def test_the_order_of_pieces_does_not_matter():
    forward, backward = (
        make_seeds.choose(pieces, num_seeds=5, num_notes=3).seeds for pieces in (PIECES, reversed(PIECES))
    )
    assert [seed.id for seed in forward] == [seed.id for seed in backward]


@pytest.mark.parametrize(("kind", "flags"), [("gs", []), ("s3", ["--by-piece-id"])])
def test_a_dataset_and_a_list_in_a_bucket(dataset, kind, flags, request):
    bucket = request.getfixturevalue(f"{kind}_bucket")
    for entry in storage.list_files(f"{dataset}/data"):
        storage.write_bytes(f"{bucket}/data/{entry.path.rpartition('/')[2]}", storage.read_bytes(entry.path))
    there = ["--data", f"{bucket}/data", "--output", f"{bucket}/seeds.jsonl", "--num-notes", "12", *flags]
    assert command.run("make_seeds", make_seeds.main, there) == 0
    assert run(dataset, "--num-notes", "12", *flags) == 0
    assert storage.read_bytes(f"{bucket}/seeds.jsonl") == storage.read_bytes(f"{dataset}/seeds.jsonl")
    seeds = seed_list.read(f"{bucket}/seeds.jsonl").seeds
    table = make_bundle(programs=(0, 40)).fields
    loaded, problems = primers.load(seeds, folder=bucket, table=table, dataset=f"{bucket}/data")
    assert problems == []
    assert {len(loaded[index]) for index in range(10)} == {12}


def test_fewer_seeds_than_asked_for_with_the_reason(dataset, capsys):
    assert run(dataset, "--num-seeds", "3", "--num-notes", "21") == 0
    assert len(read(dataset)) == 1
    assert capsys.readouterr().err == (
        "asked for 3 seeds, made 1: in the validation split there are 12 pieces, 11 of them shorter than 21 notes, "
        "and excerpts do not overlap; want more splits in --split or a lower --num-notes\n"
    )
    flags = ["--split", "train,validation,test", "--source-regex", "piece [89]", "--num-notes", "6"]
    assert run(dataset, "--num-seeds", "7", "--max-per-piece", "2", *flags) == 0
    assert len(read(dataset)) == 4
    assert capsys.readouterr().err == (
        "asked for 7 seeds, made 4: in the train and validation and test splits there are 2 pieces whose source "
        "matches 'piece [89]', and excerpts do not overlap, at most 2 per piece; want a lower --num-notes or a higher "
        "--max-per-piece\n"
    )


def test_openings_on_the_beats_grid_come_back_exactly():
    piece = make_piece(3, 40, BEATS)
    signatures = Signatures.parse("4/4@-48, 3/4@48", "Bb major")
    piece = dataclasses.replace(piece, notes=dataclasses.replace(piece.notes, signatures=signatures))
    seeds = make_seeds.choose([piece], num_seeds=1, num_notes=30).seeds
    loaded, problems = primers.load(seeds, folder="", table=make_bundle(time_base=BEATS).fields)
    assert problems == []
    assert loaded[0] == piece.notes.take(slice(30))
    assert loaded.signatures == [signatures.until(int(piece.notes.start[29]))]


@pytest.mark.parametrize(
    ("flags", "want"),
    [
        (["--num-seeds", "0", "--num-notes", "-1"],
         ["--num-seeds is '0', want a whole number, 1 or more", "--num-notes is '-1', want a whole number, 1 or more"]),
        (["--num-notes", "22"], ["the validation split of '{}/data': no piece of 22 notes or more"]),
        (["--max-per-piece", "0"], ["--max-per-piece is '0', want a whole number, 1 or more"]),
        (["--split", "test"], ["the test split of '{}/data': no piece of 16 notes or more"]),
        (["--output", "/dev"], ["--output '/dev' is a folder, want a file"]),
    ],
)  # fmt: skip
def test_each_mistake_is_status_2(dataset, capsys, flags, want):
    assert run(dataset, *flags) == 2
    assert capsys.readouterr().err.splitlines() == [f"make_seeds: {line}".format(dataset) for line in want]
    assert not (dataset / "seeds.jsonl").exists()


def test_no_dataset_is_status_2(tmp_path, capsys):
    assert run(tmp_path, "--num-seeds", "0") == 2
    assert len(capsys.readouterr().err.splitlines()) == 2


@pytest.mark.parametrize("name", ["seeds.jsonl", "seeds.csv"])
def test_a_list_by_piece_id_gives_the_same_primers(dataset, name):
    table = make_bundle().fields
    flags = ["--num-seeds", "14", "--num-notes", "5"]  # two of them are not openings
    assert run(dataset, *flags) == 0
    inline, _ = primers.load(read(dataset), folder="", table=table)
    path = f"{dataset}/{name}"
    assert run(dataset, *flags, "--by-piece-id", "--output", path) == 0
    seeds = seed_list.read(path)
    assert seeds.problems == []
    assert [(seed.num_notes, seed.notes) for seed in seeds.seeds] == [(5, None)] * 14
    assert [seed.from_note > 0 for seed in seeds.seeds] == [False] * 12 + [True] * 2
    named, problems = primers.load(seeds.seeds, folder="", table=table, dataset=f"{dataset}/data")
    assert problems == []
    assert [named[index] for index in range(14)] == [inline[index] for index in range(14)]
    assert named.digest == inline.digest
