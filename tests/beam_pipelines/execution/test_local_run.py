"""Slices and a last step, a run that goes on, and what is left of a damaged part."""

import os

import pytest

from beam_pipelines import encode_corpus
from beam_pipelines.encoding import encode_chunk
from job_runtime.command import Interrupted
from job_runtime.problem_report import UserError
from midi_codec.dataset import dataset_info, records
from midi_codec.music.notes import MILLISECONDS
from tests.beam_pipelines.corpora import make_midi, make_notes, write_files
from tests.beam_pipelines.test_encode_corpus import encode, files_of

NUM_FILES = 130  # three chunks of at most 50


@pytest.fixture
def music(tmp_path) -> str:
    files = {f"{number:03d}.mid": make_midi(number % 120) for number in range(NUM_FILES)}
    return write_files(tmp_path / "music", files)


@pytest.fixture
def whole(music, tmp_path) -> dict[str, bytes]:
    encode("--input", music, "--output", str(tmp_path / "whole"))
    return files_of(tmp_path / "whole")


@pytest.mark.parametrize("num_tasks", [2, 3, 7])
def test_slices_and_a_last_step_make_the_same_dataset(music, whole, tmp_path, parsed_files, num_tasks, capsys):
    flags = ("--input", music, "--output", str(tmp_path / "d"))
    for index in reversed(range(num_tasks)):
        assert encode(*flags, "--task-index", str(index), "--num-tasks", str(num_tasks)) == 0
    assert capsys.readouterr().out.splitlines()[-1] == (
        "when all tasks are done, the same command without --task-index and --num-tasks writes the dataset"
    )
    assert sum(parsed_files) == NUM_FILES
    assert encode(*flags) == 0
    assert sum(parsed_files) == NUM_FILES  # the last step parsed nothing
    assert files_of(tmp_path / "d") == whole


def test_records_have_the_signatures_of_their_files(whole, tmp_path):
    found = {}
    for name in whole:
        if name.endswith(".tfrecord"):
            for piece in records.read_pieces(str(tmp_path / "whole" / name), time_base=MILLISECONDS):
                found[piece.source] = (piece.notes.signatures.times_text, piece.notes.signatures.keys_text)
    assert len(found) == 120
    bars_before = -(int(make_notes(7).start[0]) % 1500)  # a bar of 3/4 lasts 1.5 s
    assert found["007.mid"] == (f"3/4@{bars_before}", "D minor@0")
    assert found["008.mid"] == ("", "")


def test_the_last_step_makes_what_a_task_has_not(music, whole, tmp_path, parsed_files):
    flags = ("--input", music, "--output", str(tmp_path / "d"))
    encode(*flags, "--task-index", "1", "--num-tasks", "3")
    assert parsed_files == [50]
    encode(*flags)
    assert sum(parsed_files) == NUM_FILES
    assert files_of(tmp_path / "d") == whole


def test_a_task_takes_its_index_from_the_job(music, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("JOB_COMPLETION_INDEX", "2")
    encode("--input", music, "--output", str(tmp_path / "d"), "--num-tasks", "3")
    assert capsys.readouterr().out.splitlines()[1].startswith("task 2 of 3: 30 inputs in 1 parts, all whole")


def interrupt_after(monkeypatch, num_parts: int) -> None:
    real = encode_chunk.encode_chunk
    calls = []

    def encode_one(*args, **kwargs):
        calls.append(1)
        if len(calls) > num_parts:
            raise Interrupted("stopped")
        return real(*args, **kwargs)

    monkeypatch.setattr(encode_corpus.encode_job, "encode_chunk", encode_one)


def test_an_interrupted_run_goes_on_where_it_was(music, whole, tmp_path, monkeypatch, parsed_files):
    flags = ("--input", music, "--output", str(tmp_path / "d"))
    with monkeypatch.context() as patched:
        interrupt_after(patched, 2)
        with pytest.raises(Interrupted):
            encode(*flags)
    assert sum(parsed_files) == 100
    assert not (tmp_path / "d" / "dataset_info.json").exists()
    encode(*flags)
    assert sum(parsed_files) == NUM_FILES
    assert files_of(tmp_path / "d") == whole


def test_other_settings_or_a_changed_file_find_no_parts(music, tmp_path, monkeypatch, parsed_files):
    flags = ("--input", music, "--output", str(tmp_path / "d"))
    with monkeypatch.context() as patched:
        interrupt_after(patched, 2)
        with pytest.raises(Interrupted):
            encode(*flags)
    changed = tmp_path / "music" / "007.mid"
    changed.write_bytes(changed.read_bytes()[:-1] + b"\1")  # as long as it was
    os.utime(changed, (1, 1))
    with pytest.raises(Interrupted), monkeypatch.context() as patched:
        interrupt_after(patched, 0)
        encode(*flags)
    with pytest.raises(Interrupted), monkeypatch.context() as patched:
        interrupt_after(patched, 0)
        encode(*flags, "--time-base", "beats")
    assert sum(parsed_files) == 100
    encode(*flags)
    assert sum(parsed_files) == 100 + 50 + 30  # the chunk with the changed file, and the last one


@pytest.mark.parametrize("damage", [lambda data: data[:-9], lambda data: data[:99] + b"?" + data[100:], lambda _: b""])
def test_a_part_that_a_crash_left_damaged_is_made_again(music, whole, tmp_path, damage, parsed_files):
    flags = ("--input", music, "--output", str(tmp_path / "d"))
    encode(*flags, "--task-index", "0", "--num-tasks", "3")
    (part,) = (tmp_path / "d" / "work").glob("*.part")
    part.write_bytes(damage(part.read_bytes()))
    encode(*flags)
    assert sum(parsed_files) == 50 + NUM_FILES
    assert files_of(tmp_path / "d") == whole


def test_records_that_a_crash_left_damaged_get_into_no_dataset(music, whole, tmp_path):
    flags = ("--input", music, "--output", str(tmp_path / "d"))
    encode(*flags, "--task-index", "0", "--num-tasks", "1000")
    (part,) = (tmp_path / "d" / "work").glob("*.part")
    part.write_bytes(part.read_bytes()[:-500] + bytes(500))
    with pytest.raises(RuntimeError, match="was damaged and is deleted"):
        encode(*flags)
    assert not (tmp_path / "d" / "dataset_info.json").exists()
    assert encode(*flags) == 0
    assert files_of(tmp_path / "d") == whole


def test_what_could_not_be_read_is_tried_again(music, whole, tmp_path):
    flags = ("--input", music, "--output", str(tmp_path / "d"))
    file = tmp_path / "music" / "001.mid"
    before = file.stat()
    data = file.read_bytes()
    real = encode_corpus.local_run.run_share

    def without_the_file(*args, **more):
        file.unlink()
        return real(*args, **more)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(encode_corpus.local_run, "run_share", without_the_file)
        encode(*flags, "--task-index", "0", "--num-tasks", "1000")
    file.write_bytes(data)
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    encode(*flags)
    assert files_of(tmp_path / "d") == whole


def test_inputs_that_no_part_accounts_for_are_noticed(music, tmp_path, monkeypatch):
    real = encode_corpus.encode_job.list_work_items
    monkeypatch.setattr(encode_corpus.encode_job, "list_work_items", lambda *args: real(*args)[1:])
    with pytest.raises(RuntimeError, match="130 inputs were listed and the parts account for 80"):
        encode("--input", music, "--output", str(tmp_path / "d"))


def test_what_a_complete_dataset_left_of_its_work_is_deleted(music, whole, tmp_path):
    work = tmp_path / "whole" / "work"
    assert not work.exists()
    write_files(work, {"0.part": b"killed before it was deleted"})
    encode("--input", music, "--output", str(tmp_path / "whole"))
    assert not work.exists()


def test_tasks_need_an_index(music, tmp_path):
    with pytest.raises(UserError, match="--num-tasks is 2 but there is no --task-index"):
        encode("--input", music, "--output", str(tmp_path / "d"), "--num-tasks", "2")


def test_a_task_on_a_complete_dataset_has_nothing_to_do(music, tmp_path, whole, capsys):
    flags = ("--input", music, "--output", str(tmp_path / "whole"), "--task-index", "0", "--num-tasks", "2")
    assert encode(*flags) == 0
    assert "130 inputs, 0 other files" in capsys.readouterr().out.splitlines()
    assert dataset_info.load(str(tmp_path / "whole")).examples == 120
