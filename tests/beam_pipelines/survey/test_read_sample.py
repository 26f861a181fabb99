"""`--survey`: what it says is what an encode would do, and it leaves nothing behind."""

import pytest

from beam_pipelines.survey import read_sample
from job_runtime.problem_report import UserError
from midi_codec.dataset import dataset_info
from tests.beam_pipelines.corpora import MIXED, make_midi, write_files
from tests.beam_pipelines.test_encode_corpus import encode

NEAR = {f"near/{number}.mid": make_midi(7, num_notes=200, transpose=number) for number in range(3)}


@pytest.fixture
def music(tmp_path) -> str:
    return write_files(tmp_path / "music", {**MIXED, **NEAR})


def test_all_of_a_small_corpus_is_read(music, tmp_path, capsys):
    assert encode("--survey", "--input", music, "--output", str(tmp_path / "d")) == 0
    assert not (tmp_path / "d").exists()
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("11 inputs (") and lines[0].endswith("), 2 other files")
    assert lines[1] == "all of them were examined"
    figures = {line[:26].strip(): line[26:].strip() for line in lines[2:]}
    assert (figures["examples"], figures["notes"], figures["rejects"]) == ("8", f"{5 * 24 + 3 * 200}", "3")
    assert (figures["exact duplicates"], figures["near duplicates"]) == ("2", "2")


def test_the_size_it_says_is_the_size_that_comes(tmp_path, monkeypatch):
    files = {f"{number}.mid": make_midi(number) for number in range(40)}
    music = write_files(tmp_path / "music", files)
    seen = []
    real = read_sample.estimate.estimate
    monkeypatch.setattr(
        read_sample.estimate, "estimate", lambda *args, **more: seen.append(real(*args, **more)) or seen[0]
    )
    encode("--survey", "--input", music)
    encode("--input", music, "--output", str(tmp_path / "d"))
    shards = sum(path.stat().st_size for path in (tmp_path / "d").glob("*.tfrecord"))
    info = dataset_info.load(str(tmp_path / "d"))
    assert seen[0].dataset_bytes.value == shards
    assert seen[0].notes.value == sum(split.num_notes for split in info.splits.values())
    assert seen[0].num_bytes == sum(map(len, files.values()))


def test_of_a_large_corpus_a_sample_is_read(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(read_sample, "SAMPLE_FILES", 60)
    music = write_files(tmp_path / "music", {f"{number}.mid": make_midi(number) for number in range(300)})
    encode("--survey", "--input", music)
    text = capsys.readouterr().out
    encode("--survey", "--input", music)
    other = capsys.readouterr().out
    assert "chosen by a hash of their names" in text
    number = int(text.splitlines()[1].split()[0])
    assert 40 <= number <= 80
    assert other.splitlines()[:6] == text.splitlines()[:6]


def test_it_reads_in_this_process_alone(music):
    with pytest.raises(UserError) as error:
        encode("--survey", "--input", music, "--runner=FnApiRunner")
    assert error.value.problems == [
        "--survey reads a sample in this process, want no engine, no tasks and no --add-to with it"
    ]
