"""The command as a whole, on small corpora, in one process."""

import json
import random
import shutil

import pytest

from beam_pipelines import encode_corpus
from beam_pipelines.encoding import encode_chunk
from beam_pipelines.encoding.encode_chunk import shard_of
from job_runtime.problem_report import UserError
from midi_codec.dataset import dataset_info, records
from midi_codec.dataset.dataset_info import COLUMNS, Histogram, SplitInfo
from midi_codec.dataset.records import Piece
from midi_codec.midi import midi_file
from midi_codec.music.notes import BEATS, MILLISECONDS
from tests.beam_pipelines.corpora import MIXED, make_midi, make_notes, write_files

MANY = {f"{'abc'[number % 3]}/{number:03d}.mid": make_midi(number % 110) for number in range(130)}
"""110 different pieces and 20 copies, which the larger numbers are."""


def encode(*flags: str) -> int:
    return encode_corpus.main(flags)


ALL_TRAIN = ("--split-percents", "100,0,0")


def files_of(folder) -> dict[str, bytes]:
    """Everything that the promise of equal bytes covers."""
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir()) if path.name != "run_info.json"}


def pieces_of(folder, split: str) -> list[Piece]:
    info = dataset_info.load(str(folder))
    paths = dataset_info.shard_paths(str(folder), info, split)
    return [piece for path in paths for piece in records.read_pieces(path, time_base=info.time_base)]


def ledger_of(folder, kind: str) -> list[dict]:
    return [json.loads(line) for line in (folder / f"{kind}-00000-of-00001.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def mixed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("mixed")
    write_files(folder / "music", MIXED)
    encode("--input", str(folder / "music"), "--output", str(folder / "dataset"), "--split-percents", "100,0,0")
    return folder / "dataset"


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    folder = tmp_path_factory.mktemp("many")
    write_files(folder / "music", MANY)
    encode("--input", str(folder / "music"), "--output", str(folder / "dataset"), *MANY_FLAGS)
    return folder / "dataset"


MANY_FLAGS = ("--num-shards", "3", "--split-percents", "60,20,20")


def test_every_input_is_accounted_for(mixed):
    info = dataset_info.load(str(mixed))
    assert (info.inputs, info.other_files, info.examples, info.duplicates) == (8, 2, 3, {"exact": 2, "near": 0})
    assert info.rejects == {"empty": 1, "no_header": 2}
    accounted = [piece.source for piece in pieces_of(mixed, "train")]
    accounted += [line["path"] for kind in ("rejects", "duplicates") for line in ledger_of(mixed, kind)]
    assert sorted(accounted) == [
        "B.MIDI",
        "a.mid",
        "deep/0-copy-of-c.mid",
        "deep/copy-of-a.mid",
        "deep/er/c.kar",
        "empty.mid",
        "riff.rmi",
        "text.mid",
    ]


def test_the_ledgers(mixed):
    rejects = ledger_of(mixed, "rejects")
    assert [(line["path"], line["stage"], line["reason"]) for line in rejects] == [
        ("empty.mid", "parse", "empty"),
        ("riff.rmi", "parse", "no_header"),
        ("text.mid", "parse", "no_header"),
    ]
    assert rejects[0]["sha256"] == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"  # of nothing
    kept = {piece.source: piece.piece_id for piece in pieces_of(mixed, "train")}
    assert ledger_of(mixed, "duplicates") == [
        {
            "path": "deep/copy-of-a.mid",
            "kind": "exact",
            "piece_id": kept["a.mid"],
            "kept": "a.mid",
            "split": "train",
        },
        {
            "path": "deep/er/c.kar",
            "kind": "exact",
            "piece_id": kept["deep/0-copy-of-c.mid"],
            "kept": "deep/0-copy-of-c.mid",  # the smallest path, not the shortest
            "split": "train",
        },
    ]


def test_records_hold_the_music_from_its_first_onset_on(mixed):
    pieces = {piece.source: piece for piece in pieces_of(mixed, "train")}
    assert sorted(pieces) == ["B.MIDI", "a.mid", "deep/0-copy-of-c.mid"]
    want = midi_file.parse(MIXED["a.mid"]).from_first_onset()
    assert want.start[0] == 0 and make_notes(1).start[0] > 0
    assert pieces["a.mid"].notes == want
    assert pieces["a.mid"].piece_id == pieces["a.mid"].group_id == want.piece_id


def test_dataset_info_counts_what_the_shards_hold(many):
    info = dataset_info.load(str(many))
    assert (info.inputs, info.examples, info.duplicates["exact"], dict(info.rejects)) == (130, 110, 20, {})
    programs: set[int] = set()
    for split in ("train", "validation", "test"):
        pieces = pieces_of(many, split)
        lengths = tuple(
            len(list(records.read_pieces(path, time_base=MILLISECONDS)))
            for path in dataset_info.shard_paths(str(many), info, split)
        )
        assert info.splits[split] == SplitInfo(
            num_pieces=len(pieces),
            num_notes=sum(len(piece.notes) for piece in pieces),
            seconds=round(sum(piece.notes.seconds for piece in pieces), 3),
            shard_lengths=lengths,
        )
        for column in COLUMNS:
            values = [value for piece in pieces for value in getattr(piece.notes, column).tolist()]
            distinct = tuple(sorted(set(values)))
            want = Histogram(values=distinct, counts=tuple(values.count(value) for value in distinct))
            assert info.histograms[split][column] == want
            if column == "program":
                programs |= set(distinct)
    assert info.programs == tuple(sorted(programs)) == (0, 40, 128)


def test_shards_are_sorted_by_key_and_chosen_by_it(many):
    info = dataset_info.load(str(many))
    for split in ("train", "validation", "test"):
        for index, path in enumerate(dataset_info.shard_paths(str(many), info, split)):
            ids = [piece.piece_id for piece in records.read_pieces(path, time_base=MILLISECONDS)]
            assert ids == sorted(set(ids))
            assert {shard_of(piece_id, 3) for piece_id in ids} == {index}


def test_no_piece_lies_in_two_splits(many):
    ids = {split: {piece.piece_id for piece in pieces_of(many, split)} for split in ("train", "validation", "test")}
    assert all(ids.values())
    assert len(set().union(*ids.values())) == sum(len(group) for group in ids.values()) == 110


def test_the_same_bytes_in_any_order_of_inputs_and_any_number_of_them(many, tmp_path):
    inputs = [str(many.parent / "music" / name) for name in sorted(MANY)]
    random.Random(7).shuffle(inputs)
    flags = [flag for path in inputs for flag in ("--input", path)]
    encode(*flags, "--input", str(many.parent / "music" / "**" / "*.mid"), "--output", str(tmp_path / "d"), *MANY_FLAGS)
    assert files_of(tmp_path / "d") == files_of(many)


def test_a_larger_corpus_moves_nobody(many, tmp_path):
    """Splits as in `many` though half of the corpus is new, and the shards are others."""
    music = shutil.copytree(many.parent / "music", tmp_path / "music")
    write_files(music, {f"new/{number}.mid": make_midi(1000 + number) for number in range(100)})
    encode("--input", str(music), "--output", str(tmp_path / "d"), "--split-percents", "60,20,20")
    before = {piece.piece_id: split for split in dataset_info.SPLITS for piece in pieces_of(many, split)}
    after = {piece.piece_id: split for split in dataset_info.SPLITS for piece in pieces_of(tmp_path / "d", split)}
    assert len(after) == 210
    assert {piece_id: after[piece_id] for piece_id in before} == before


def test_splits_by_path(tmp_path):
    write_files(
        tmp_path / "music",
        {
            "train/z.mid": make_midi(1),
            "valid/a.mid": make_midi(1),  # the same music: only the smallest path survives, so nothing leaks
            "valid/b.mid": make_midi(2),
        },
    )
    out = tmp_path / "d"
    encode("--input", str(tmp_path / "music"), "--output", str(out), "--split-regex", "^(train|valid)/")
    info = dataset_info.load(str(out))
    assert [piece.source for piece in pieces_of(out, "train")] == ["train/z.mid"]
    assert [piece.source for piece in pieces_of(out, "validation")] == ["valid/b.mid"]
    assert info.splits["test"] == SplitInfo()
    assert [(line["path"], line["kept"], line["split"]) for line in ledger_of(out, "duplicates")] == [
        ("valid/a.mid", "train/z.mid", "train")
    ]
    assert info.settings["split_regex"] == "^(train|valid)/"
    assert sorted(path.name for path in out.glob("*.tfrecord")) == [
        "train-00000-of-00001.tfrecord",
        "validation-00000-of-00001.tfrecord",
    ]


def test_the_beats_grid(tmp_path):
    write_files(tmp_path / "music", {"a.mid": make_midi(1)})
    encode("--input", str(tmp_path / "music"), "--output", str(tmp_path / "d"), "--time-base", "beats", *ALL_TRAIN)
    info = dataset_info.load(str(tmp_path / "d"))
    (piece,) = [piece for split in dataset_info.SPLITS for piece in pieces_of(tmp_path / "d", split)]
    assert info.time_base == piece.notes.time_base == BEATS
    assert piece.notes == midi_file.parse(make_midi(1), time_base=BEATS).from_first_onset()
    assert sum(split.seconds for split in info.splits.values()) == round(piece.notes.seconds, 3)


def test_limits_reject(tmp_path):
    write_files(tmp_path / "music", {"a.mid": make_midi(1), "big.mid": make_midi(2) + b"\0" * 4000})
    out = tmp_path / "d"
    encode("--input", str(tmp_path / "music"), "--output", str(out), "--max-bytes", "4000", *ALL_TRAIN)
    (line,) = ledger_of(out, "rejects")
    assert (line["path"], line["stage"], line["reason"], line["sha256"]) == ("big.mid", "read", "too_large", None)
    flags = ("--max-notes", "7", "--max-seconds", "1000")
    with pytest.raises(UserError, match="too_many_notes: 2, such as a.mid"):
        encode("--input", str(tmp_path / "music"), "--output", str(tmp_path / "e"), *flags, *ALL_TRAIN)


def test_a_file_that_is_gone_when_its_turn_comes_is_a_reject(tmp_path, monkeypatch):
    music = write_files(tmp_path / "music", {"a.mid": make_midi(1), "b.mid": make_midi(2)})
    real = encode_corpus.local_run.run

    def run(*args, **kwargs):
        (tmp_path / "music" / "b.mid").unlink()
        return real(*args, **kwargs)

    monkeypatch.setattr(encode_corpus.local_run, "run", run)
    encode("--input", music, "--output", str(tmp_path / "d"), *ALL_TRAIN)
    (line,) = ledger_of(tmp_path / "d", "rejects")
    assert (line["path"], line["sha256"], line["stage"], line["reason"]) == ("b.mid", None, "read", "unreadable")
    assert "No such file" in line["message"]


def test_a_fault_of_ours_leaves_no_dataset(tmp_path, monkeypatch):
    write_files(tmp_path / "music", {"a.mid": make_midi(1)})
    monkeypatch.setattr(encode_chunk.midi_file, "parse_many", lambda *_, **__: 1 // 0)
    with pytest.raises(ZeroDivisionError):
        flags = ("--input", str(tmp_path / "music"), "--output", str(tmp_path / "d"), "--time-base", "milliseconds")
        encode(*flags, *ALL_TRAIN)
    assert [path.name for path in (tmp_path / "d").iterdir() if path.name != "work"] == ["run_info.json"]


def test_nothing_kept_is_a_mistake_that_names_the_reasons(tmp_path):
    write_files(tmp_path / "music", {name: b"x" for name in ("a.mid", "b.mid")} | {"c.mid": b""})
    flags = ("--input", str(tmp_path / "music"), "--output", str(tmp_path / "d"), *ALL_TRAIN)
    with pytest.raises(UserError) as error:
        encode(*flags)
    assert error.value.problems == [
        f"nothing to keep: all 3 inputs were rejected; see {tmp_path}/d/rejects-00000-of-00001.jsonl",
        "no_header: 2, such as a.mid: not a MIDI file: it starts with b'x', want b'MThd'",
        "empty: 1, such as c.mid: the file is empty",
    ]
    assert len(ledger_of(tmp_path / "d", "rejects")) == 3
    assert not (tmp_path / "d" / "dataset_info.json").exists()
    write_files(tmp_path / "music", {"d.mid": make_midi(1)})  # and the folder can be used again
    assert encode(*flags) == 0


def test_a_second_run_finds_the_work_done(mixed, monkeypatch, capsys):
    before = {path: path.stat().st_mtime_ns for path in mixed.iterdir()}
    monkeypatch.setattr(encode_chunk.midi_file, "parse_many", lambda *_, **__: pytest.fail("nothing is to be read"))
    flags = ("--input", str(mixed.parent / "music"), "--output", str(mixed), "--split-percents", "100,0,0")
    assert encode(*flags) == 0
    assert {path: path.stat().st_mtime_ns for path in mixed.iterdir()} == before
    assert capsys.readouterr().out.startswith(f"already complete: {mixed}\n8 inputs, 2 other files\n")
    with pytest.raises(UserError, match="holds another dataset"):
        encode(*flags, "--time-base", "beats")


def test_the_summary_and_run_info(tmp_path, capsys):
    write_files(tmp_path / "music", MIXED)
    flags = ("--input", str(tmp_path / "music"), "--output", str(tmp_path / "d"), "--split-percents", "100,0,0")
    encode(*flags)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("--time-base milliseconds suits this corpus")
    assert lines[1:4] == [
        "8 inputs, 2 other files",
        "  3 examples, 2 duplicates (exact 2), 3 rejects (empty 1, no_header 2)",
        "  train               3 pieces             72 notes        0.0 hours       1 shard",
    ]
    assert lines[-1].startswith("took ")
    run_info = json.loads((tmp_path / "d" / "run_info.json").read_text())
    assert run_info["command"] == ["python", "-m", "beam_pipelines.encode_corpus", *flags]
    assert run_info["started"] <= run_info["finished"]


def test_an_output_inside_the_input_is_no_input(tmp_path):
    music = write_files(tmp_path / "music", MIXED)
    flags = ("--input", music, "--output", f"{music}/dataset")
    encode(*flags)
    assert encode(*flags) == 0
    assert dataset_info.load(f"{music}/dataset").other_files == 2


def test_all_mistakes_at_once(tmp_path):
    with pytest.raises(UserError) as error:
        encode(
            *("--input", str(tmp_path / "missing"), "--time-base", "frames", "--num-shards", "0"),
            *("--split-percents", "90,5", "--split-regex", "(", "--max-notes", "many", "--max-seconds", "nan"),
            *("--max-bytes", "-1", "--num_workers", "3", "--flying", "high", "--abc=1"),
        )
    assert error.value.problems == [
        "--output is missing, want a folder for the dataset",
        f"--input {tmp_path}/missing: no such file or folder",
        "--split-percents and --split-regex are both given, want one of them",
        "--split-percents is '90,5', want three whole numbers that add up to 100: train, validation, test",
        "--split-regex is '(', which is not a regular expression: missing ), unterminated subpattern at position 0",
        "--time-base is 'frames', want milliseconds, beats or auto",
        "--num-shards is '0', want a whole number, 1 to 99999",
        "--max-bytes is '-1', want a whole number, 1 or more",
        "--max-notes is 'many', want a whole number, 1 or more",
        "--max-seconds is 'nan', want a number above 0",
        "unknown flag --flying: neither this command nor Apache Beam has it",
        "unknown flag --abc: neither this command nor Apache Beam has it",
    ]


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ((), "--input is missing, want a folder, a glob or a file"),
        (("--num-shards", "100000"), "--num-shards is '100000', want a whole number, 1 to 99999"),
        (("stray",), "unexpected argument 'stray'"),
        (("--split-regex", "^(train)/"), "matches nothing in 8 of 8 paths, such as 'B.MIDI', 'a.mid'"),
    ],
)
def test_a_mistake_is_found_before_any_work(tmp_path, flags, message):
    music = write_files(tmp_path / "music", MIXED)
    flags = (*flags, "--input", music) if flags else flags
    with pytest.raises(UserError) as error:
        encode(*flags, "--output", str(tmp_path / "d"))
    assert message in str(error.value)
    assert not (tmp_path / "d").exists()


def test_every_split_that_can_occur_has_all_its_shards(tmp_path):
    """Also those that no piece falls into, so that a reader may count them by their names."""
    music = write_files(tmp_path / "music", {"a.mid": make_midi(1), "b.mid": make_midi(2)})
    encode("--input", music, "--output", str(tmp_path / "d"), "--num-shards", "2", "--split-percents", "99,1,0")
    info = dataset_info.load(str(tmp_path / "d"))
    assert sum(info.splits["train"].shard_lengths + info.splits["validation"].shard_lengths) == 2
    assert len(list((tmp_path / "d").glob("*.tfrecord"))) == 4
    assert info.splits["test"].shard_lengths == ()


def test_no_secret_is_stored_in_run_info():
    argv = ["--input", "s3://b/x", "--s3_secret_access_key=hunter2", "--s3_session_token", "hunter3"]
    stored = encode_corpus._run_info(argv)["command"][3:]
    assert stored == ["--input", "s3://b/x", "--s3_secret_access_key=…", "--s3_session_token", "…"]


def test_labels_that_no_source_has_and_an_output_that_is_the_input(tmp_path):
    music = write_files(tmp_path / "music", {"a.mid": make_midi(1)})
    with pytest.raises(UserError) as error:
        encode("--input", music, "--output", str(tmp_path / "d"), "--label-regex", "(?P<x>none)/", *ALL_TRAIN)
    assert error.value.problems == ["--label-regex '(?P<x>none)/' matches none of the sources, such as 'a.mid'"]
    with pytest.raises(UserError) as error:
        encode("--input", music, "--output", f"{music}/", *ALL_TRAIN)
    assert error.value.problems == [f"--output {music}/ is an --input too, want another folder"]
