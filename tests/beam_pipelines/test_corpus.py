from pathlib import Path

import pytest

from beam_pipelines import corpus
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


@pytest.fixture
def folder(tmp_path):
    return write_files(tmp_path / "music", MIXED)


def test_a_folder_means_everything_below_it(folder):
    found = corpus.find([folder])
    assert found.roots == {"": folder}
    assert found.sources == INPUTS
    assert found.sizes == tuple(len(MIXED[source]) for source in INPUTS)
    assert found.other_files == 2


def test_spelling_of_a_folder_does_not_matter(folder, monkeypatch):
    monkeypatch.chdir(folder)
    assert corpus.find([folder + "/"]) == corpus.find(["."]) == corpus.find(["deep/.."]) == corpus.find([folder])


def test_a_glob_takes_what_it_matches_and_counts_only_that(folder):
    found = corpus.find([f"{folder}/deep/*"])
    assert found.roots == {"": f"{folder}/deep"}
    assert found.sources == ("0-copy-of-c.mid", "copy-of-a.mid", "er/c.kar")
    assert found.other_files == 1
    assert corpus.find([f"{folder}/**/*.mid*"]).other_files == 0


def test_a_single_file(folder):
    found = corpus.find([f"{folder}/deep/er/c.kar"])
    assert (found.roots, found.sources) == ({"": f"{folder}/deep/er"}, ("c.kar",))


def test_a_name_with_wildcards_in_it_is_taken_as_it_stands(tmp_path):
    write_files(tmp_path, {"x[1].mid": b"1", "x1.mid": b"2", "f[1]/a.mid": b"3"})
    assert corpus.find([f"{tmp_path}/x[1].mid"]).sources == ("x[1].mid",)
    assert corpus.find([f"{tmp_path}/f[1]"]).sources == ("a.mid",)


def test_sources_of_several_inputs_begin_with_the_names_of_their_roots(folder, tmp_path):
    other = write_files(tmp_path / "elsewhere" / "others", {"x.mid": b"x", "a.mid": b"aa", "y.txt": b""})
    inputs = [f"{folder}/deep", other, f"{other}/../others/*.mid"]
    want = ("deep/0-copy-of-c.mid", "deep/copy-of-a.mid", "deep/er/c.kar", "others/a.mid", "others/x.mid")
    for order in (inputs, inputs[::-1], inputs * 2):
        found = corpus.find(order)
        assert (found.sources, found.other_files) == (want, 2)
        assert found.sizes[3] == 2
        assert corpus.path_of("others/a.mid", found.roots) == f"{other}/a.mid"
        assert corpus.path_of("deep/er/c.kar", found.roots) == f"{folder}/deep/er/c.kar"


def test_a_root_inside_another_counts_as_that_one(folder):
    inputs = [f"{folder}/deep/er", f"{folder}/deep/copy*", f"{folder}/a.mid"]
    found = corpus.find(inputs)
    assert (found.roots, found.sources) == ({"": folder}, ("a.mid", "deep/copy-of-a.mid", "deep/er/c.kar"))


def test_inputs_that_overlap_give_a_file_once(folder):
    assert corpus.find([f"{folder}/deep", folder, f"{folder}/**/*.kar"]) == corpus.find([folder])


@pytest.mark.parametrize(
    ("folders", "names"),
    [
        (["/m"], [""]),
        (["/"], [""]),
        (["/m", "/m/deep", "/m"], [""]),
        (["/m", "/m2"], ["m", "m2"]),
        (["/m/a", "/m/b/c"], ["a", "c"]),
        (["/x/midi", "/y/midi", "/y/other"], ["x/midi", "y/midi", "y/other"]),
        (["gs://b/midi", "gs://c/midi"], ["b/midi", "c/midi"]),
        (["gs://b", "/b/b"], ["/b/b", "gs://b"]),
        (["/a/x", "gs://a/x"], ["/a/x", "gs://a/x"]),
        (["/a", "/q/a", "/w/a/b"], ["a", "q/a", "w/a/b"]),  # with two names, a/b could mean two places
    ],
)
def test_names_of_roots(folders, names):
    named = corpus.name_roots(folders)
    assert list(named) == names
    for name, folder in named.items():
        source = f"{name}/b/x.mid" if name else "b/x.mid"
        assert corpus.path_of(source, named) == f"{folder.rstrip('/')}/b/x.mid"


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


def test_chunks(folder):
    chunks = list(corpus.find([folder]).chunks(3))
    assert [len(chunk) for chunk in chunks] == [3, 3, 2]
    assert chunks[0][1] == ("a.mid", len(MIXED["a.mid"]))
