import hashlib

import pytest

from generation_jobs import seed_folder, seed_list


def hashed(path: str) -> str:
    return hashlib.sha256(path.encode()).hexdigest()[:10]


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "b").mkdir()
    for name in ("x.mid", "X.MIDI", "b/x.mid", "b/Ünï code.kar", "notes.txt", "x.mid.partial"):
        (tmp_path / name).write_bytes(b"")
    return tmp_path


@pytest.mark.parametrize("slash", ["", "/"])
def test_every_midi_file_is_a_seed(folder, slash):
    seeds = seed_list.read(f"{folder}{slash}")
    assert seeds.problems == []
    assert [seed.midi for seed in seeds.seeds] == ["X.MIDI", "b/x.mid", "b/Ünï code.kar", "x.mid"]
    assert [seed.id for seed in seeds.seeds] == [
        f"X-{hashed('X.MIDI')}",
        f"x-{hashed('b/x.mid')}",
        f"n-code-{hashed('b/Ünï code.kar')}",
        f"x-{hashed('x.mid')}",
    ]
    assert seeds.folder == f"{folder}{slash}"


def test_a_newcomer_changes_no_id_but_the_digest(folder):
    before = seed_list.read(str(folder))
    (folder / "a.mid").write_bytes(b"")
    after = seed_list.read(str(folder))
    assert [seed.id for seed in after.seeds if seed.midi != "a.mid"] == [seed.id for seed in before.seeds]
    assert after.digest != before.digest


def test_a_folder_without_midi_files_is_a_problem(tmp_path):
    (tmp_path / "a.txt").write_bytes(b"")
    wanted = "there is no MIDI file in this folder, want some of .mid, .midi, .kar, .rmi"
    assert seed_list.read(str(tmp_path)).problems == [(0, wanted)]


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(FileNotFoundError):
        seed_list.read(f"{tmp_path}/none/")


@pytest.mark.parametrize(
    ("path", "want"),
    [("a/b/bwv10.7.mid", "bwv10-7"), ("-x-.mid", "x"), ("...mid", "piece"), ("é.mid", "piece"), ("x" * 300, "x" * 60)],
)
def test_ids_are_safe_names(path, want):
    seed_id = seed_folder.make_id(path, "0123456789abcdef")
    assert seed_id == f"{want}-0123456789"
    assert seed_list.parse(f'{{"id": "{seed_id}"}}'.encode())[1] == []
