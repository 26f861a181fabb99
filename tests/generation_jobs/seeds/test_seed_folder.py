import hashlib

import pytest

from generation_jobs.seeds import primers, seed_folder, seed_list
from job_runtime import storage
from midi_codec.midi import midi_writer
from tests.generation_jobs.fakes import make_bundle
from tests.trainer.tiny import make_notes


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


def test_a_new_file_changes_the_digest_but_no_id(folder):
    before = seed_list.read(str(folder))
    (folder / "a.mid").write_bytes(b"")
    after = seed_list.read(str(folder))
    assert [seed.id for seed in after.seeds if seed.midi != "a.mid"] == [seed.id for seed in before.seeds]
    assert after.digest != before.digest


def test_a_folder_without_midi_files_is_a_problem(tmp_path):
    (tmp_path / "a.txt").write_bytes(b"")
    wanted = "there is no MIDI file in this folder, want .mid, .midi, .kar, .rmi"
    assert seed_list.read(str(tmp_path)).problems == [(0, wanted)]


def test_a_missing_folder(tmp_path):
    with pytest.raises(FileNotFoundError):
        seed_list.read(f"{tmp_path}/none/")


@pytest.mark.parametrize("kind", ["gs", "s3"])
def test_a_folder_in_a_bucket_equals_the_local_one(kind, request, tmp_path):
    """In names are what URLs and shells take for something else; what begins like the folder is not in it."""
    bucket = request.getfixturevalue(f"{kind}_bucket")
    names = ("a.mid", "b/Ünï #1?.KAR", "c d%20/x+.midi", "notes.txt")
    for number, name in enumerate(names):
        for root in (bucket, str(tmp_path)):
            storage.write_bytes(f"{root}/in/{name}", midi_writer.serialize(make_notes(number, num_notes=4 + number)))
    storage.write_bytes(f"{bucket}/inner/z.mid", b"")
    want, got = (seed_list.read(f"{root}/in") for root in (str(tmp_path), bucket))
    assert [(seed.id, seed.midi) for seed in got.seeds] == [(seed.id, seed.midi) for seed in want.seeds]
    assert (got.digest, got.problems) == (want.digest, [])
    of_bucket, problems = primers.load(got.seeds, folder=got.folder, table=make_bundle().fields)
    here, _ = primers.load(want.seeds, folder=want.folder, table=make_bundle().fields)
    assert problems == [] and [len(of_bucket[index]) for index in range(3)] == [4, 5, 6]
    assert of_bucket.digest == here.digest
    assert seed_list.read(f"{bucket}/in/").seeds[1].midi == "b/Ünï #1?.KAR"
    (problem,) = seed_list.read(f"{bucket}/none/").problems
    assert problem[1].startswith("there is no MIDI file in this folder")


@pytest.mark.parametrize(
    ("path", "want"),
    [("a/b/bwv10.7.mid", "bwv10-7"), ("-x-.mid", "x"), ("...mid", "piece"), ("é.mid", "piece"), ("x" * 300, "x" * 60)],
)
def test_ids_are_safe_names(path, want):
    seed_id = seed_folder.make_id(path, "0123456789abcdef")
    assert seed_id == f"{want}-0123456789"
    assert seed_list.parse(f'{{"id": "{seed_id}"}}'.encode())[1] == []
