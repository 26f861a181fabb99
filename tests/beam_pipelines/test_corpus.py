from pathlib import Path

import pytest

from beam_pipelines import chunk_reader, chunks, corpus
from midi_codec.command import UserError
from tests.beam_pipelines.corpora import MIXED, write_files

INPUTS = (
    "B.MIDI",
    "a.mid",
    "deep/0-copy-of-c.mid",
    "deep/copy-of-a.mid",
    "deep/er/c.kar",
    "empty.mid",
    "riff.rmi",
    "text.mid",
)


def sources(found):
    return tuple(found.sources())


def sizes(found):
    return tuple(row.size for chunk in found.chunks for _, row in chunks.unpack(chunk))


def read(found, max_bytes=1 << 20):
    return {item.source: item.data for chunk in found.chunks for item in chunk_reader.read(chunk, max_bytes=max_bytes)}


@pytest.fixture
def folder(tmp_path):
    return write_files(tmp_path / "music", MIXED)


def test_a_folder_means_everything_below_it(folder):
    found = corpus.find([folder])
    assert sources(found) == INPUTS
    assert found.num_inputs == len(INPUTS)
    assert read(found) == {source: MIXED[source] for source in INPUTS}
    assert sizes(found) == tuple(len(MIXED[source]) for source in INPUTS)
    assert found.other_files == 2


def test_spelling_of_a_folder_does_not_matter(folder, monkeypatch):
    monkeypatch.chdir(folder)
    assert corpus.find([folder + "/"]) == corpus.find(["."]) == corpus.find(["deep/.."]) == corpus.find([folder])


def test_a_glob_takes_what_it_matches_and_counts_only_that(folder):
    found = corpus.find([f"{folder}/deep/*"])
    assert sources(found) == ("0-copy-of-c.mid", "copy-of-a.mid", "er/c.kar")
    assert found.other_files == 1
    assert corpus.find([f"{folder}/**/*.mid*"]).other_files == 0


def test_a_single_file(folder):
    found = corpus.find([f"{folder}/deep/er/c.kar"])
    assert sources(found) == ("c.kar",)


def test_a_name_with_wildcards_in_it_is_taken_as_it_stands(tmp_path):
    write_files(tmp_path, {"x[1].mid": b"1", "x1.mid": b"2", "f[1]/a.mid": b"3"})
    assert sources(corpus.find([f"{tmp_path}/x[1].mid"])) == ("x[1].mid",)
    assert sources(corpus.find([f"{tmp_path}/f[1]"])) == ("a.mid",)


def test_sources_of_several_inputs_begin_with_the_names_of_their_roots(folder, tmp_path):
    other = write_files(tmp_path / "elsewhere" / "others", {"x.mid": b"x", "a.mid": b"aa", "y.txt": b""})
    inputs = [f"{folder}/deep", other, f"{other}/../others/*.mid"]
    want = ("deep/0-copy-of-c.mid", "deep/copy-of-a.mid", "deep/er/c.kar", "others/a.mid", "others/x.mid")
    for order in (inputs, inputs[::-1], inputs * 2):
        found = corpus.find(order)
        assert (sources(found), found.other_files) == (want, 2)
        assert sizes(found)[3] == 2
        assert read(found)["others/a.mid"] == b"aa"
        assert read(found)["deep/er/c.kar"] == MIXED["deep/er/c.kar"]


def test_a_root_inside_another_counts_as_that_one(folder):
    inputs = [f"{folder}/deep/er", f"{folder}/deep/copy*", f"{folder}/a.mid"]
    found = corpus.find(inputs)
    assert sources(found) == ("a.mid", "deep/copy-of-a.mid", "deep/er/c.kar")


def test_inputs_that_overlap_give_a_file_once(folder):
    assert corpus.find([f"{folder}/deep", folder, f"{folder}/**/*.kar"]) == corpus.find([folder])


def test_the_output_below_an_input_is_no_part_of_it(folder):
    before = corpus.find([folder], output=f"{folder}/dataset")
    write_files(Path(folder), {"dataset/train.tfrecord": b"x", "dataset/a.mid": b"x"})
    assert corpus.find([folder], output=f"{folder}/dataset/") == before
    assert corpus.find([folder]).other_files == before.other_files + 1


def test_all_bad_inputs_are_named_at_once(folder):
    write_files(Path(folder), {"texts/a.txt": b""})
    Path(folder, "void").mkdir()
    with pytest.raises(UserError) as error:
        corpus.find([f"{folder}/{name}" for name in ("missing", "void", "texts", "*.xyz", "[z-a].mid", "a.mid")])
    assert sorted(problem.replace(folder, "") for problem in error.value.problems) == [
        "--input /*.xyz: matches no file; want files with a MIDI extension (.mid, .midi, .kar, .rmi)",
        "--input /[z-a].mid: not a glob: bad character range z-a",
        "--input /missing: no such file or folder",
        "--input /texts: none of 1 files has a MIDI extension (.mid, .midi, .kar, .rmi)",
        "--input /void: matches no file; want files with a MIDI extension (.mid, .midi, .kar, .rmi)",
    ]


def test_the_hash_follows_names_and_sizes(folder):
    first = corpus.find([folder])
    assert corpus.find([f"{folder}/**", folder]).hash == first.hash
    with open(f"{folder}/a.mid", "ab") as file:
        file.write(b"x")
    assert corpus.find([folder]).hash != first.hash


def test_chunks_are_some_two_hundred_within_bounds(tmp_path):
    write_files(tmp_path, {f"{number:03}.mid": b"" for number in range(120)})
    found = corpus.find([str(tmp_path)])
    assert [len(list(chunks.unpack(chunk))) for chunk in found.chunks] == [50, 50, 20]
    assert sources(found) == tuple(f"{number:03}.mid" for number in range(120))
