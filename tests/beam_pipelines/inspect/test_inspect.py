import json
import lzma
import os
import subprocess
import sys
from pathlib import Path

import pytest

from beam_pipelines.encoding import ledger
from beam_pipelines.inspect import __main__ as inspect
from beam_pipelines.inspect import dataset_contents
from beam_pipelines.inspect.dataset_contents import Case, Group
from job_runtime import command, storage
from job_runtime.problem_report import UserError
from midi_codec.dataset import dataset_info
from tests.beam_pipelines.corpora import make_notes
from tests.beam_pipelines.made_datasets import make_dataset

ROOT = Path(__file__).parents[3]
GROUP = "a" * 32
NOTES = [make_notes(number, num_notes=4 + number) for number in range(7)]
REJECTS = [
    ledger.Reject("z.mid", None, "read", "too_large", "9 bytes, want at most 8"),
    *(ledger.Reject(f"bad/{n}.mid", "0" * 64, "parse", "truncated", f"cut at {n}") for n in range(5)),
]
DUPLICATES = [
    ledger.Duplicate("copy.mid", "exact", NOTES[0].piece_id, "0.mid", "train"),
    ledger.Duplicate("take2.mid", "near", "1" * 32, "1.mid", "train"),
]
SALVAGED = [ledger.Salvaged("3.mid", "0" * 64, "clamped")]


@pytest.fixture
def root(tmp_path) -> str:
    """Seven pieces, of which three are one group that lies in two splits."""
    splits = ["train", "train", "train", "train", "validation", "test", "train"]
    groups = [None, GROUP, None, None, GROUP, None, GROUP]
    rows = [(splits[n], f"{n}.mid", groups[n], notes) for n, notes in enumerate(NOTES)]
    make_dataset(tmp_path / "data", rows, rejects=REJECTS, duplicates=DUPLICATES, salvaged=SALVAGED)
    return str(tmp_path / "data")


def read(root: str, **changes) -> dataset_contents.Contents:
    return dataset_contents.read(root, **{"piece": None, "with_records": True, "with_piece": False, **changes})


# ----------------------------------------------------------------------------------------------- contents


def test_counts_come_with_examples_the_commonest_first(root):
    contents = read(root)
    cut = tuple((f"bad/{n}.mid", f"cut at {n}") for n in range(3))
    large = (("z.mid", "9 bytes, want at most 8"),)
    assert contents.rejects == [Case("truncated", 5, cut), Case("too_large", 1, large)]
    assert contents.salvaged == [Case("clamped", 1, (("3.mid", ""),))]
    assert contents.duplicates == [
        Case("exact", 1, (("copy.mid", "0.mid"),)),
        Case("near", 1, (("take2.mid", "1.mid"),)),
    ]


def test_heads_say_what_records_hold(root):
    heads = dataset_contents._read_heads(root, dataset_info.load(root))
    assert sorted((head.source, head.num_notes, head.split, head.piece_id) for head in heads) == [
        (f"{n}.mid", 4 + n, split, NOTES[n].piece_id)
        for n, split in enumerate(["train", "train", "train", "train", "validation", "test", "train"])
    ]


def test_groups_name_their_pieces_and_splits(root):
    assert read(root).groups == [Group(GROUP, ("1.mid", "4.mid", "6.mid"), ("train", "validation"))]


def test_the_largest_groups_come_first(monkeypatch):
    heads = [
        dataset_contents.Head(f"{n}", group, f"{n}.mid", 3, "train", 0) for n, group in enumerate("abbcccd" + "eeee")
    ]
    assert [len(group.sources) for group in dataset_contents.largest_groups(heads)] == [4, 3, 2]
    monkeypatch.setattr(dataset_contents, "NUM_GROUPS", 1)
    assert [group.group_id for group in dataset_contents.largest_groups(heads)] == ["e"]


def test_without_records_no_shard_is_read(root, tmp_path):
    for path in (tmp_path / "data").glob("*.tfrecord"):
        path.unlink()
    contents = read(root, with_records=False)
    assert (contents.num_notes, contents.groups, contents.piece) == (None, None, None)
    assert contents.rejects[0].count == 5


def test_a_compressed_dataset_is_read(root, tmp_path):
    before = read(root)
    for path in list((tmp_path / "data").glob("*.tfrecord")):
        path.with_name(f"{path.name}.xz").write_bytes(lzma.compress(path.read_bytes()))
        path.unlink()
    assert (read(root).num_notes, read(root).groups) == (before.num_notes, before.groups)


def test_a_dataset_without_ledgers_keeps_its_counts(root, tmp_path):
    for path in (tmp_path / "data").glob("*.jsonl"):
        path.unlink()
    assert read(root).rejects == [Case("truncated", 5, ()), Case("too_large", 1, ())]


@pytest.mark.parametrize("wanted", [NOTES[4].piece_id, NOTES[4].piece_id[:6].upper(), "4.mid"])
@pytest.mark.parametrize("with_records", [True, False])
def test_a_piece_is_found_by_id_prefix_or_source(root, wanted, with_records):
    contents = read(root, piece=wanted, with_records=with_records)
    assert contents.piece.notes == NOTES[4].from_first_onset()
    assert (contents.piece.source, contents.piece_split) == ("4.mid", "validation")


@pytest.mark.parametrize("wanted", ["5.midi", NOTES[5].piece_id[:3]])
def test_a_piece_that_is_not_there(root, wanted):
    with pytest.raises(
        UserError, match=f"--piece '{wanted}' is not in .*, want an id, its first 4 digits, or a source"
    ):
        read(root, piece=wanted)


def test_a_source_that_two_pieces_have(tmp_path):
    make_dataset(tmp_path, [("train", "same.mid", None, notes) for notes in NOTES[:2]])
    with pytest.raises(UserError, match="--piece 'same.mid' matches 2 pieces"):
        read(str(tmp_path), piece="same.mid")


def test_a_damaged_shard_is_named(root, tmp_path):
    path = tmp_path / "data" / dataset_info.shard_name("train", 0, 2)
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(UserError, match=f"{path} cannot be read: the record at byte .* is cut off"):
        read(root)


def test_a_damaged_ledger_is_named(root, tmp_path):
    path = tmp_path / "data" / ledger.file_name(ledger.REJECTS)
    path.write_text('{"path": "a"}\n{"path"')
    with pytest.raises(UserError, match=f"{path}:2: not JSON"):
        read(root)


# ------------------------------------------------------------------------------------------------ command


def run(*argv: str) -> int:
    return command.run(inspect.PROGRAM, inspect.main, argv)


def test_the_text_says_it_all(root, capsys):
    assert run(root) == command.OK
    out = capsys.readouterr().out
    assert out.splitlines()[1] == f"dataset {dataset_info.load(root).hash}, milliseconds"
    for part in (
        "           15 inputs, 1 other file\n            7 examples\n",
        "            2 duplicates\n            6 rejects\n",
        "  train                5             32       0.0        2\n",
        "Rejects\n            5 truncated\n              bad/0.mid: cut at 0\n",
        "Salvaged\n            1 clamped\n              3.mid\n",
        "Duplicates\n            1 exact\n              copy.mid: kept: 0.mid\n            1 near\n",
        "Groups of pieces that belong together: 1, with 3 pieces\n  1 of them are in several splits\n"
        "            3 pieces in train, validation\n              1.mid\n              4.mid\n              6.mid\n",
        "Notes per piece\n  smallest 4, quartiles 6, 7, 8, largest 10\n",
        "\nPitch\n",
        "\nTime between onsets\n",
        "\nProgram\n  ",
        "Settings\n  limits.max_notes: 1000000\n  num_shards: 2\n  split_percents: 90,5,5\n",
    ):
        assert part in out


def test_one_pieces_notes(root, capsys):
    assert run(root, "--piece", "2.mid") == command.OK
    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == ["2.mid", f"piece {NOTES[2].piece_id} of group {NOTES[2].piece_id}, train"]
    assert len(lines) == 5 + 6
    notes = NOTES[2].from_first_onset()
    assert lines[5].split()[0] == "0" and int(lines[6].split()[0]) == notes.start[1]
    assert int(lines[6].split()[3]) == notes.pitch[1]


def test_json_is_for_programs(root, capsys):
    assert run(root, "--json", "--piece", "2.mid") == command.OK
    got = json.loads(capsys.readouterr().out)
    assert got["splits"]["train"]["pieces"] == 5
    assert got["rejects"]["too_large"] == {"count": 1, "examples": [["z.mid", "9 bytes, want at most 8"]]}
    assert got["groups"]["largest_groups"][0]["sources"] == ["1.mid", "4.mid", "6.mid"]
    assert sum(got["histograms"]["step"]["counts"]["train"]) == 32
    assert sum(got["histograms"]["num_notes"]["counts"]["train"]) == 5
    assert got["piece"]["notes"]["pitch"] == NOTES[2].pitch.tolist()


def test_mistakes_are_sentences(tmp_path, capsys):
    assert run(str(tmp_path / "none"), "--html", "page.txt", "--json") == command.USER_ERROR
    assert capsys.readouterr().err.splitlines() == [
        f"{inspect.PROGRAM}: --html is 'page.txt', want a name that ends in .html",
        f"{inspect.PROGRAM}: --html and --json are both given, want one of them",
    ]
    assert run(str(tmp_path / "none")) == command.USER_ERROR
    assert "is not a complete dataset: no dataset_info.json" in capsys.readouterr().err


def test_a_dataset_without_pieces_of_several_programs_in_beats(tmp_path, capsys):
    notes = make_notes(3).take(slice(0, 1))
    make_dataset(tmp_path, [("test", "only.mid", None, notes)])
    assert run(str(tmp_path)) == command.OK
    out = capsys.readouterr().out
    assert "Groups" not in out and "Rejects" not in out


def test_a_reader_may_leave_early(root):
    read_end, write_end = os.pipe()
    os.close(read_end)
    line = [sys.executable, "-m", "beam_pipelines.inspect", root]
    done = subprocess.run(line, stdout=write_end, stderr=subprocess.PIPE, text=True, cwd=ROOT)
    os.close(write_end)
    assert (done.returncode, "Traceback" in done.stderr, "BrokenPipe" in done.stderr) == (0, False, False)


@pytest.mark.slow
@pytest.mark.parametrize("bucket", ["gs_bucket", "s3_bucket"])
def test_a_dataset_in_a_bucket(root, bucket, request, capsys):
    url = request.getfixturevalue(bucket)
    for path in Path(root).iterdir():
        storage.write_bytes(f"{url}/data/{path.name}", path.read_bytes())
    assert run(root) == command.OK
    local = capsys.readouterr().out
    assert run(f"{url}/data") == command.OK
    assert capsys.readouterr().out == local.replace(root, f"{url}/data")
    assert run(f"{url}/data", "--html", f"{url}/page.html") == command.OK
    assert b"truncated" in storage.read_bytes(f"{url}/page.html")
