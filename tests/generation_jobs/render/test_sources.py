"""What can be rendered, how the files are named, and what of it a list selects."""

from __future__ import annotations

import lzma
from pathlib import Path

import numpy as np
import pytest

from generation_jobs.render import sources
from job_runtime.problem_report import UserError
from midi_codec.dataset import dataset_info, records
from midi_codec.dataset.records import Piece
from midi_codec.midi import midi_writer
from midi_codec.music.notes import BEATS
from tests.generation_jobs.report_fakes import make_dataset, make_music, make_notes

NOTES = [make_notes(10, rng_seed=seed) for seed in range(4)]


def write(path, data: bytes = b"") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data or midi_writer.serialize(NOTES[0]))


def outputs(source: sources.Source) -> list[str]:
    return [piece.output for piece in source.pieces]


# --------------------------------------------------------------------------------------------- MIDI files


def test_a_folder(tmp_path):
    for name in ("b.mid", "a/x.MID", "a/x.txt", "a/deep/y.midi"):
        write(tmp_path / name)
    source = sources.midi_files([str(tmp_path)])
    assert outputs(source) == ["a/deep/y", "a/x", "b"]
    assert [piece.ids for piece in source.pieces] == [("a/deep/y.midi", "a/deep/y"), ("a/x.MID", "a/x"), ("b.mid", "b")]
    assert list(source.read(source.pieces)) == [NOTES[0]] * 3


def test_a_glob_and_a_file(tmp_path):
    for name in ("a/x.mid", "a/y.mid", "b/x.mid"):
        write(tmp_path / name)
    assert outputs(sources.midi_files([f"{tmp_path}/*/x.mid"])) == ["a/x", "b/x"]
    assert outputs(sources.midi_files([f"{tmp_path}/b/x.mid"])) == ["x"]
    assert outputs(sources.midi_files([f"{tmp_path}/a/x.mid", f"{tmp_path}/a/y.mid"])) == ["x", "y"]
    assert outputs(sources.midi_files([f"{tmp_path}/b/x.mid", f"{tmp_path}/a"])) == ["a/x", "a/y", "b/x"]


def test_files_that_differ_only_in_the_extension_keep_it(tmp_path):
    for name in ("x.mid", "x.midi", "y.mid"):
        write(tmp_path / name)
    assert outputs(sources.midi_files([str(tmp_path)])) == ["x.mid", "x.midi", "y"]


def test_all_wrong_inputs_are_named(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError) as caught:
        sources.midi_files([f"{tmp_path}/empty", f"{tmp_path}/none", "[z-a].mid"])
    assert caught.value.problems == [
        f"--input {tmp_path}/empty: holds no file with a MIDI extension (.mid, .midi, .kar, .rmi)",
        f"--input {tmp_path}/none: no such file or folder",
        "--input [z-a].mid: not a glob: the range z-a runs backwards",
    ]


def test_a_file_that_cannot_be_read_is_a_sentence_in_its_place(tmp_path):
    write(tmp_path / "a.mid", b"nothing")
    write(tmp_path / "b.mid")
    (tmp_path / "c.mid").symlink_to("nowhere")
    source = sources.midi_files([str(tmp_path)])
    assert list(source.read(source.pieces)) == [
        f"'{tmp_path}/a.mid' cannot be rendered: not a MIDI file: it starts with b'noth', want b'MThd'",
        NOTES[0],
        f"'{tmp_path}/c.mid' cannot be read: No such file or directory",
    ]


def test_the_pedal_extends_notes_and_leading_silence_is_cut(tmp_path):
    header = bytes.fromhex("4d546864 00000006 0000 0001 01f4")  # 500 ticks per quarter, one per millisecond
    events = bytes.fromhex("8350 903c40 00 b0407f 64 803c00 8268 b04000 00 ff2f00")
    write(tmp_path / "pedal.mid", header + b"MTrk" + len(events).to_bytes(4, "big") + events)
    source = sources.midi_files([str(tmp_path)])
    (notes,) = source.read(source.pieces)
    assert (notes.start.tolist(), notes.duration.tolist()) == ([0], [460])


# ---------------------------------------------------------------------------------------- generated music


def make_job(root) -> None:
    pieces = [("bach", 0, NOTES[0]), ("bach", 1, NOTES[1]), ("abba", 0, NOTES[2].take(np.arange(0)))]
    make_music(root, [*pieces, ("abba", 1, NOTES[3])])


def test_the_pieces_of_a_job_that_have_notes(tmp_path):
    make_job(tmp_path)
    source = sources.generated_music(str(tmp_path))
    assert outputs(source) == ["bach/bach-00000", "bach/bach-00001", "abba/abba-00001"]
    assert source.num_empty == 1
    assert list(source.read(source.pieces[1:])) == [NOTES[1], NOTES[3]]


def test_a_list_selects_pieces_and_max_pieces_the_first_of_them(tmp_path):
    make_job(tmp_path)
    source = sources.generated_music(str(tmp_path))
    kept = tmp_path / "kept.csv"
    kept.write_text(f"piece,mark,note\nabba-00001,keep,\nbach:0,reject,\n{NOTES[1].piece_id},keep,\n")
    assert source.choose(str(kept), None) == source.pieces[1:]
    assert source.choose(str(kept), 1) == source.pieces[1:2]
    assert source.choose(None, 2) == source.pieces[:2]
    kept.write_text("zappa\n")
    with pytest.raises(UserError) as caught:
        source.choose(str(kept), None)
    want = "such as 'bach-00000', 'bach-00000.mid'"
    assert caught.value.problems == [f"{kept}:1: 'zappa' is none of the pieces, want {want}"]


def test_a_missing_file_of_a_job_is_a_sentence(tmp_path):
    make_job(tmp_path)
    (tmp_path / "midi/bach/bach-00001.mid").unlink()
    source = sources.generated_music(str(tmp_path))
    assert list(source.read(source.pieces[:2])) == [
        NOTES[0],
        "'midi/bach/bach-00001.mid' cannot be read: No such file or directory",
    ]


# ------------------------------------------------------------------------------------------------ datasets


def test_the_pieces_of_a_dataset(tmp_path):
    held_out = [make_notes(10, rng_seed=8, time_base=BEATS)]
    make_dataset(tmp_path, {"train": NOTES, "validation": held_out}, time_base=BEATS)
    assert len(sources.dataset_pieces(str(tmp_path), None).pieces) == 5
    source = sources.dataset_pieces(str(tmp_path), "validation")
    name = held_out[0].piece_id
    assert source.pieces == [sources.Piece(name, name, (name, f"{name}.mid", name))]
    assert list(source.read(source.pieces)) == held_out


def test_a_compressed_dataset_is_read(tmp_path):
    info = make_dataset(tmp_path, {"train": NOTES})
    (path,) = (Path(each) for each in dataset_info.shard_paths(str(tmp_path), info, "train"))
    Path(f"{path}.xz").write_bytes(lzma.compress(path.read_bytes()))
    path.unlink()
    source = sources.dataset_pieces(str(tmp_path), None)
    assert len(list(source.read(source.pieces))) == len(NOTES)


def test_chosen_pieces_of_a_dataset_are_read_in_its_order(tmp_path):
    make_dataset(tmp_path, {"train": NOTES})
    source = sources.dataset_pieces(str(tmp_path), None)
    assert list(source.read([source.pieces[1], source.pieces[3]])) == [NOTES[1], NOTES[3]]


def test_an_empty_split_has_nothing_to_render(tmp_path):
    make_dataset(tmp_path, {"train": NOTES})
    with pytest.raises(UserError, match="there is no piece to render"):
        sources.dataset_pieces(str(tmp_path), "test").choose(None, None)


def test_a_source_that_leaves_the_folder_is_refused(tmp_path):
    info = make_dataset(tmp_path, {"train": NOTES[:3]})
    names = ["../x.mid", "/etc/x.mid", "songs.zip!a/x.mid"]
    examples = [Piece(n.piece_id, n.piece_id, name, n) for n, name in zip(NOTES[:3], names, strict=True)]
    data = records.write_records([records.serialize_example(example) for example in examples])
    (path,) = dataset_info.shard_paths(str(tmp_path), info, "train")
    (tmp_path / path.rpartition("/")[2]).write_bytes(data)
    pieces, problems = sources.with_safe_names(sources.dataset_pieces(str(tmp_path), None).pieces)
    assert [piece.output for piece in pieces] == ["songs.zip/a/x"]
    assert problems == [
        f"'{NOTES[0].piece_id}' is not rendered: '../x' leads out of the output folder",
        f"'{NOTES[1].piece_id}' is not rendered: '/etc/x' leads out of the output folder",
    ]


def test_two_pieces_never_share_a_file():
    pieces = [sources.Piece("a", "1", ()), sources.Piece("b", "2", ()), sources.Piece("a", "3", ())]
    assert sources.with_safe_names(pieces) == (
        [pieces[1]],
        [f"'{where}' is not rendered: 'a' would be another piece's file, too" for where in "13"],
    )


def test_a_damaged_shard_is_the_users_to_know(tmp_path):
    info = make_dataset(tmp_path, {"train": NOTES})
    (path,) = dataset_info.shard_paths(str(tmp_path), info, "train")
    with open(path, "r+b") as file:
        file.truncate(100)
    with pytest.raises(UserError, match="cannot be read"):
        sources.dataset_pieces(str(tmp_path), None)
