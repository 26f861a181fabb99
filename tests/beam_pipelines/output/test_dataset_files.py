"""A complete dataset that has lost something is made again, byte for byte; one that has not is left alone."""

import shutil

import pytest

from beam_pipelines import encode_corpus
from beam_pipelines.output import dataset_files
from job_runtime import storage
from job_runtime.problem_report import UserError
from midi_codec.dataset import dataset_info
from tests.beam_pipelines.corpora import MIXED, make_midi, write_files
from tests.beam_pipelines.test_encode_corpus import encode, files_of

FILES = [
    "train-00000-of-00002.tfrecord",
    "validation-00001-of-00002.tfrecord",
    "rejects-00000-of-00001.jsonl",
    "duplicates-00000-of-00001.jsonl",
    "salvaged-00000-of-00001.jsonl",
    "input_hashes.npy",
    "file_sizes.json",
]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("made")
    more = {f"{number}.mid": make_midi(number) for number in range(10, 40)}
    write_files(folder / "music", {**MIXED, **more})
    assert encode(*flags(folder)) == 0
    return folder


def flags(folder) -> list[str]:
    return ["--input", str(folder / "music"), "--output", str(folder / "d"), "--num-shards", "2"]


@pytest.fixture
def folder(made, tmp_path):
    shutil.copytree(made, tmp_path / "made")
    return tmp_path / "made"


@pytest.mark.parametrize("name", FILES)
def test_what_is_gone_or_has_another_size_is_made_again(folder, capsys, name):
    want = files_of(folder / "d")
    path = folder / "d" / name
    for data in (None, b"", want[name][: len(want[name]) // 2], want[name] + b"\n"):
        if data == want[name]:
            continue
        if data is None:
            path.unlink()
            said = f"{name} is missing"
        else:
            path.write_bytes(data)
            said = f"{name} has {len(data):,} bytes, want {len(want[name]):,}"
        assert encode(*flags(folder)) == 0
        assert files_of(folder / "d") == want
        out = capsys.readouterr().out
        if name == "file_sizes.json":  # nothing of the dataset is lost
            assert out.startswith("already complete")
        else:
            assert out.startswith(f"{folder / 'd'} was complete and is now damaged; it is made again: {said}\n")
        assert encode(*flags(folder)) == 0
        assert capsys.readouterr().out.startswith("already complete")


def test_a_look_at_a_whole_dataset_is_a_listing_and_a_small_read(folder, monkeypatch):
    asked = []
    for name in ("list_files", "read_bytes", "look_up"):
        real = getattr(storage, name)

        def spy(*args, _name=name, _real=real, **options):
            asked.append(_name)
            return _real(*args, **options)

        monkeypatch.setattr(storage, name, spy)
    root = str(folder / "d")
    info = dataset_info.load(root)
    asked.clear()
    assert dataset_files.find_damage(root, info) == {}
    assert asked == ["list_files", "read_bytes"]


def test_a_dataset_of_an_older_version_is_read_through_once(folder, capsys):
    want = files_of(folder / "d")
    (folder / "d" / "file_sizes.json").unlink()
    shard = folder / "d" / FILES[0]
    shard.write_bytes(want[FILES[0]][:-100])
    encode(*flags(folder))
    assert "train-00000-of-00002.tfrecord is damaged (" in capsys.readouterr().out
    assert files_of(folder / "d") == want
    (folder / "d" / "file_sizes.json").unlink()
    shard.write_bytes((folder / "d" / "train-00001-of-00002.tfrecord").read_bytes())
    encode(*flags(folder))
    assert "train-00000-of-00002.tfrecord holds " in capsys.readouterr().out
    assert files_of(folder / "d") == want


def test_slices_and_a_last_step_make_it_again(folder, capsys):
    want = files_of(folder / "d")
    (folder / "d" / FILES[0]).unlink()
    for index in range(2):
        assert encode(*flags(folder), "--task-index", str(index), "--num-tasks", "2") == 0
    assert encode(*flags(folder)) == 0
    assert files_of(folder / "d") == want


def test_an_engine_makes_it_again(folder):
    want = files_of(folder / "d")
    (folder / "d" / FILES[1]).unlink()
    assert encode(*flags(folder), "--runner=FnApiRunner") == 0
    assert files_of(folder / "d") == want


def test_other_settings_do_not_touch_a_damaged_dataset(folder):
    (folder / "d" / FILES[0]).unlink()
    before = files_of(folder / "d")
    with pytest.raises(UserError, match="holds another dataset"):
        encode(*flags(folder), "--max-notes", "7")
    assert files_of(folder / "d") == before


def test_a_damaged_dataset_is_not_added_to(folder):
    (folder / "d" / FILES[0]).unlink()
    with pytest.raises(
        UserError, match=rf"--add-to {folder / 'd'} is not whole: {FILES[0]} is missing; start the command"
    ):
        encode("--input", str(folder / "music"), "--output", str(folder / "e"), "--add-to", str(folder / "d"))


def test_a_dataset_info_that_is_cut_says_what_to_do(folder):
    want = files_of(folder / "d")
    path = folder / "d" / "dataset_info.json"
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(UserError, match=rf"delete {path}, and the same command makes the dataset again"):
        encode(*flags(folder))
    path.unlink()
    encode(*flags(folder))
    assert files_of(folder / "d") == want


@pytest.mark.parametrize("scheme", ["gs", "s3"])
def test_in_a_bucket(scheme, request, folder):
    output = request.getfixturevalue(f"{scheme}_bucket") + "/d"
    line = ["--input", str(folder / "music"), "--output", output, "--num-shards", "2"]

    def files() -> dict[str, bytes]:
        found = {entry.path[len(output) + 1 :]: storage.read_bytes(entry.path) for entry in storage.list_files(output)}
        return {name: data for name, data in found.items() if name != "run_info.json"}

    encode_corpus.main(line)
    assert files() == files_of(folder / "d")
    assert not storage.is_folder(f"{output}/work")
    with pytest.raises(UserError, match="holds another dataset"):
        encode_corpus.main([*line, "--time-base", "beats"])
    for name in FILES[:3]:
        storage.delete(f"{output}/{name}")
        encode_corpus.main(line)
        assert files() == files_of(folder / "d")


@pytest.mark.parametrize("engine", [[], ["--runner=FnApiRunner"]])
def test_a_full_disk_is_one_sentence(tiny_disk, folder, capsys, engine):
    from job_runtime import command

    (tiny_disk / "ballast").write_bytes(bytes((1 << 20) - 12288))
    line = ["--input", str(folder / "music"), "--output", str(tiny_disk / "d"), "--num-shards", "2", *engine]
    assert command.run("encode", encode_corpus.main, line) == 1
    said = capsys.readouterr().err.splitlines()[-1]
    assert said.startswith(f"encode: '{tiny_disk}/d/")
    assert said.endswith(": No space left on device")
    (tiny_disk / "ballast").unlink()
    assert command.run("encode", encode_corpus.main, line) == 0
    assert files_of(tiny_disk / "d") == files_of(folder / "d")
