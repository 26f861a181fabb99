import os
from pathlib import Path

import pytest

from beam_pipelines.corpus import chunk_reader, chunks
from beam_pipelines.corpus import inputs as corpus
from job_runtime import storage
from job_runtime.problem_report import UserError
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
        "--input /[z-a].mid: not a glob: the range z-a runs backwards",
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


# ----------------------------------------------------------------------------------------------------------- lists


def test_a_list_names_files_from_its_own_folder_on(folder):
    lines = ["# chosen by hand", "", "deep/copy-of-a.mid", "./a.mid", f"{folder}/B.MIDI", "notes.txt", "a.mid\r"]
    write_files(Path(folder), {"lists/few.txt": b"", "few.txt": "\n".join(lines).encode()})
    found = corpus.find([f"@{folder}/few.txt"])
    assert sources(found) == ("B.MIDI", "a.mid", "deep/copy-of-a.mid")
    assert found.other_files == 1
    assert read(found)["deep/copy-of-a.mid"] == MIXED["deep/copy-of-a.mid"]


def test_a_list_beside_the_corpus_counts_from_the_folder_its_files_share(folder, tmp_path):
    paths = [f"{folder}/{name}" for name in ("deep/copy-of-a.mid", "deep/er/c.kar")]
    write_files(tmp_path / "lists", {"few.txt": "\n".join(paths).encode("utf-8-sig")})
    assert sources(corpus.find([f"@{tmp_path}/lists/few.txt"])) == ("copy-of-a.mid", "er/c.kar")
    both = corpus.find([f"@{tmp_path}/lists/few.txt", folder])
    assert both == corpus.find([folder])


def test_mistakes_in_a_list_are_named_at_once(folder):
    lines = ["a.mid", "deep", *(f"missing{number}.mid" for number in range(1200)), "http://host/a.mid"]
    write_files(Path(folder), {"bad.txt": "\n".join(lines).encode(), "empty.txt": b"# nothing\n\n"})
    with pytest.raises(UserError) as error:
        corpus.find([f"@{folder}/{name}" for name in ("bad.txt", "empty.txt", "none.txt")])
    assert [problem.replace(folder, "") for problem in error.value.problems] == [
        "--input @/bad.txt: http://host is neither a local path nor on gs:// or s3://; /deep is a folder, want a file; "
        "/missing0.mid is missing; and 1,199 more like these",
        "--input @/empty.txt: names no file",
        "--input @/none.txt: no such file or folder",
    ]


@pytest.mark.parametrize("scheme", ["gs", "s3"])
def test_objects_of_a_list_are_not_asked_for_before_they_are_read(scheme, request, folder, monkeypatch):
    bucket = request.getfixturevalue(f"{scheme}_bucket")
    for name in ("a/x.mid", "a/large.mid", "b/y.mid"):
        storage.write_bytes(f"{bucket}/{name}", name.encode() * (100 if "large" in name else 1))
    lines = [f"{bucket}/{name}" for name in ("b/y.mid", "a/x.mid", "a/gone.mid", "a/large.mid")]
    write_files(Path(folder), {"list.txt": "\n".join([*lines, "a.mid"]).encode()})
    storage.write_bytes(f"{bucket}/list.txt", "\n".join(lines + ["b/y.mid"]).encode())
    with monkeypatch.context() as patch:
        patch.setattr(storage, "_backend", only_local(storage._backend))
        found = corpus.find([f"@{folder}/list.txt"])
    name = bucket.partition("://")[2]
    assert sources(found) == (
        *(f"{name}/{each}" for each in ("a/gone.mid", "a/large.mid", "a/x.mid", "b/y.mid")),
        "music/a.mid",
    )
    items = [item for chunk in found.chunks for item in chunk_reader.read(chunk, max_bytes=500)]
    assert [(item.reason, item.size) for item in items] == [
        ("unreadable", -1),
        ("too_large", 501),
        (None, 7),
        (None, 7),
        (None, len(MIXED["a.mid"])),
    ]
    in_bucket = corpus.find([f"@{bucket}/list.txt"])
    assert sources(in_bucket) == ("a/gone.mid", "a/large.mid", "a/x.mid", "b/y.mid")
    known = corpus.find([f"@{bucket}/list.txt", bucket])
    assert (sources(known), sizes(known)) == (sources(in_bucket), (-1, 1100, 7, 7))


def only_local(real):
    def backend(path):
        assert "://" not in path
        return real(path)

    return backend


# --------------------------------------------------------------------------------------------------------- buckets


@pytest.mark.parametrize("scheme", ["gs", "s3"])
def test_folders_and_globs_of_buckets(scheme, request, folder):
    bucket = request.getfixturevalue(f"{scheme}_bucket")
    for name, data in MIXED.items():
        storage.write_bytes(f"{bucket}/music/{name}", data)
    found = corpus.find([f"{bucket}/music"])
    local = corpus.find([folder])
    assert read(found) == read(local)
    assert (found.hash, found.other_files) == (local.hash, 2)
    assert sources(corpus.find([f"{bucket}/music/**/*.{{kar,mid}}"])) == tuple(
        name for name in INPUTS if name.endswith((".kar", ".mid"))
    )
    assert sources(corpus.find([f"{bucket}/music/a.mid", f"{bucket}/music/deep/"])) == (
        "a.mid",
        "deep/0-copy-of-c.mid",
        "deep/copy-of-a.mid",
        "deep/er/c.kar",
    )
    with pytest.raises(UserError, match="a bucket's name takes no wildcards"):
        corpus.find([f"{scheme}://bucket-*/music"])
    with pytest.raises(UserError, match="matches no file"):
        corpus.find([f"{bucket}/nothing"])


def test_a_chunk_names_the_version_it_was_listed_with(folder):
    before = corpus.find([folder])
    os.utime(f"{folder}/a.mid", (1, 1))
    after = corpus.find([folder])
    assert after.hash == before.hash
    assert after.chunks != before.chunks


def test_too_large_and_unreadable_files_give_reasons(folder):
    found = corpus.find([f"{folder}/deep"])
    os.unlink(f"{folder}/deep/er/c.kar")
    Path(folder, "deep/copy-of-a.mid").write_bytes(bytes(1001))
    items = [item for chunk in found.chunks for item in chunk_reader.read(chunk, max_bytes=1000)]
    assert [(item.source, item.reason, item.message) for item in items if item.data is None] == [
        ("copy-of-a.mid", "too_large", "the file has more than 1,000 bytes"),
        ("er/c.kar", "unreadable", "the file cannot be read: No such file or directory"),
    ]
    (item, *_) = chunk_reader.read(found.chunks[0], max_bytes=5)
    assert item.message == f"the file has {len(MIXED['deep/0-copy-of-c.mid'])} bytes, want at most 5"


def test_names_that_are_no_utf_8(tmp_path):
    name = os.fsdecode(b"\xff.mid")
    (tmp_path / name).write_bytes(b"x")
    (tmp_path / "list.txt").write_bytes(b"\xff.mid\n")
    for given in (str(tmp_path), f"@{tmp_path}/list.txt"):
        assert read(corpus.find([given])) == {name: b"x"}
