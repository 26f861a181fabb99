"""What a path names: a file, a folder, a glob; and from which folder names start."""

from __future__ import annotations

import pytest

from midi_codec.listing.file_listing import open_listing


@pytest.fixture
def root(tmp_path):
    for name in ("b.mid", "a/x.mid", "a/deep/y.txt", "a/[z].mid"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


def names(path: str) -> tuple[str, list[str]]:
    root, entries = open_listing(path)
    return root, [entry.path.removeprefix(f"{root}/") for entry in entries]


def test_a_folder_is_everything_below_it(root):
    want = f"{root}", ["a/[z].mid", "a/deep/y.txt", "a/x.mid", "b.mid"]
    assert names(f"{root}") == names(f"{root}/") == want


def test_a_file_is_named_from_its_folder(root):
    assert names(f"{root}/a/x.mid") == (f"{root}/a", ["x.mid"])
    assert names(f"{root}/a/[z].mid") == (f"{root}/a", ["[z].mid"])  # there is such a file, so it is no glob


def test_a_glob_is_named_from_where_it_starts(root):
    assert names(f"{root}/*/x.mid") == (f"{root}", ["a/x.mid"])
    assert names(f"{root}/a/*.MID") == (f"{root}/a", ["[z].mid", "x.mid"])


def test_a_relative_path_counts_from_the_working_folder(root, monkeypatch):
    monkeypatch.chdir(root / "a")
    assert names("deep") == (f"{root}/a/deep", ["y.txt"])


def test_what_cannot_be_listed(root):
    with pytest.raises(FileNotFoundError):
        names(f"{root}/nowhere")
    with pytest.raises(ValueError, match="a bucket's name takes no wildcards"):
        names("gs://bucket*/x")
    with pytest.raises(ValueError, match="not a glob: the range z-a runs backwards"):
        names(f"{root}/[z-a].mid")
