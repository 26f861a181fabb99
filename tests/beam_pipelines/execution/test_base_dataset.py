"""A new version of a dataset beside the old one: what is new is encoded, nobody moves, everything is accounted for."""

import shutil

import pytest

from job_runtime.problem_report import UserError
from midi_codec.dataset import dataset_info
from tests.beam_pipelines.corpora import make_midi, write_files
from tests.beam_pipelines.test_encode_corpus import encode, files_of, ledger_of, pieces_of

OLD = {f"a/{number:02d}.mid": make_midi(number) for number in range(30)}
OLD["a/05.mid"] = make_midi(5, num_notes=200)
OLD |= {"a/copy.mid": make_midi(3), "a/broken.mid": b"no music", "a/large.mid": make_midi(98) + b"\0" * 9000}
NEW = {f"b/{number:02d}.mid": make_midi(number) for number in range(50, 60)}
NEW |= {"b/again.mid": make_midi(4), "b/empty.mid": b"", "a/near.mid": make_midi(5, num_notes=200, transpose=4)}
FLAGS = ("--split-percents", "50,30,20", "--max-bytes", "9000", "--num-shards", "2")


@pytest.fixture
def older(tmp_path):
    music = write_files(tmp_path / "music", OLD)
    encode("--input", music, "--output", str(tmp_path / "v1"), *FLAGS)
    return tmp_path / "v1"


def add(older, *flags: str, output: str = "v2"):
    folder = older.parent / output
    assert encode("--input", str(older.parent / "music"), "--add-to", str(older), "--output", str(folder), *flags) == 0
    return folder


def outcome(folder) -> dict[str, tuple[str, str, str]]:
    """Split, group and id of each piece by source."""
    return {
        piece.source: (split, piece.group_id, piece.piece_id)
        for split in dataset_info.SPLITS
        for piece in pieces_of(folder, split)
    }


def test_only_what_is_new_is_parsed_and_nobody_moves(older, parsed_files):
    write_files(older.parent / "music", NEW)
    before, bytes_before = outcome(older), files_of(older)
    newer = add(older, *FLAGS)
    assert sum(parsed_files) == len(NEW)
    after = outcome(newer)
    assert {source: after[source] for source in before} == before
    assert set(after) - set(before) == {*(f"b/{number:02d}.mid" for number in range(50, 60)), "a/near.mid"}
    assert after["a/near.mid"][:2] == before["a/05.mid"][:2]
    assert files_of(older) == bytes_before


def test_every_input_of_both_is_accounted_for(older):
    write_files(older.parent / "music", NEW)
    newer = add(older, *FLAGS)
    info = dataset_info.load(str(newer))
    assert (info.inputs, info.examples) == (46, 41)
    assert info.duplicates == {"exact": 2, "near": 0}
    assert info.rejects == {"empty": 1, "no_header": 1, "too_large": 1}
    paths = [line["path"] for kind in ("rejects", "duplicates") for line in ledger_of(newer, kind)]
    assert sorted([*paths, *outcome(newer)]) == sorted({**OLD, **NEW})
    assert info.settings["added_to"] == dataset_info.load(str(older)).hash


def test_the_histograms_are_those_of_all_pieces(older):
    write_files(older.parent / "music", NEW)
    newer = add(older, *FLAGS)
    info = dataset_info.load(str(newer))
    for split in dataset_info.SPLITS:
        pitches = [pitch for piece in pieces_of(newer, split) for pitch in piece.notes.pitch.tolist()]
        histogram = info.histograms[split]["pitch"]
        assert dict(zip(histogram.values, histogram.counts, strict=True)) == {p: pitches.count(p) for p in set(pitches)}


def test_only_the_new_files_may_be_given(older, parsed_files):
    write_files(older.parent / "more", {"c.mid": make_midi(77)})
    newer = older.parent / "v2"
    flags = ("--input", str(older.parent / "more"), "--add-to", str(older), "--output", str(newer))
    encode(*flags, *FLAGS)
    assert sum(parsed_files) == 1
    assert set(outcome(newer)) == {*outcome(older), "c.mid"}
    assert encode(*flags, *FLAGS) == 0  # already complete


def test_a_file_of_the_same_name_with_other_notes_is_new(older):
    write_files(older.parent / "music", {"a/07.mid": make_midi(70)})
    after = add(older, *FLAGS)
    ids = [piece.piece_id for split in dataset_info.SPLITS for piece in pieces_of(after, split)]
    assert len(ids) == 31
    assert dataset_info.load(str(after)).inputs == 34


def test_versions_can_follow_each_other(older):
    write_files(older.parent / "music", NEW)
    second = add(older, *FLAGS)
    write_files(older.parent / "music", {"z.mid": make_midi(90)})
    third = add(second, *FLAGS, output="v3")
    assert dataset_info.load(str(third)).inputs == 47
    assert {source: place for source, place in outcome(third).items() if source != "z.mid"} == outcome(second)


def test_what_could_not_be_read_once_is_tried_again_and_counted_once(older):
    """First too large, later not; then the same again, when it is known."""
    write_files(older.parent / "music", {"a/large.mid": make_midi(98)})
    second = add(older, *FLAGS)
    info = dataset_info.load(str(second))
    assert (info.inputs, dict(info.rejects)) == (33, {"no_header": 1})
    third = add(second, *FLAGS, output="v3")
    assert dataset_info.load(str(third)).inputs == 33


def test_an_older_piece_does_not_excuse_a_reject_of_its_name(older):
    """v2 meets an unreadable file of an old piece's name; v3, which does not list it, keeps the line."""
    write_files(older.parent / "music", {"a/07.mid": make_midi(7) + b"\0" * 9000})
    second = add(older, *FLAGS)
    assert dataset_info.load(str(second)).rejects["too_large"] == 2
    write_files(older.parent / "more", {"c.mid": make_midi(77)})
    flags = ("--input", str(older.parent / "more"), "--add-to", str(second), "--output", str(older.parent / "v3"))
    encode(*flags, *FLAGS)
    info = dataset_info.load(str(older.parent / "v3"))
    assert info.rejects["too_large"] == 2
    assert info.inputs == dataset_info.load(str(second)).inputs + 1


def test_slices_add_too(older):
    write_files(older.parent / "music", NEW)
    whole = add(older, *FLAGS)
    for index in range(2):
        add(older, *FLAGS, "--task-index", str(index), "--num-tasks", "2", output="sliced")
    assert files_of(add(older, *FLAGS, output="sliced")) == files_of(whole)


def test_mistakes(older, tmp_path):
    def problems(*flags: str) -> list[str]:
        with pytest.raises(UserError) as error:
            encode("--input", str(tmp_path / "music"), *flags)
        return error.value.problems

    assert problems("--add-to", str(tmp_path / "v0"), "--output", str(tmp_path / "v2")) == [
        f"--add-to: {tmp_path}/v0 is not a complete dataset: no dataset_info.json"
    ]
    assert problems("--add-to", str(older), "--output", str(older), *FLAGS) == [
        f"--output {older} is the dataset to add to, want a new folder"
    ]
    wrong = problems("--add-to", str(older), "--output", str(tmp_path / "v2"), "--time-base", "beats", *FLAGS)
    assert wrong == [f"--add-to {older}: its time_base is 'milliseconds', but 'beats' is asked for; want the same"]
    shutil.copytree(older, tmp_path / "v1b")
    (tmp_path / "v1b" / "input_hashes.npy").unlink()
    assert problems("--add-to", str(tmp_path / "v1b"), "--output", str(tmp_path / "v2"), *FLAGS) == [
        f"--add-to {tmp_path}/v1b: it has no input_hashes.npy, so new inputs cannot be told from old ones"
    ]
    assert not (tmp_path / "v2" / "dataset_info.json").exists()
