"""The command: what it says, what it refuses, how it stops."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

from generation_jobs.render import __main__ as render
from generation_jobs.render import sound_files
from job_runtime import command, storage
from job_runtime.problem_report import UserError
from midi_codec.dataset import dataset_info
from midi_codec.midi import midi_writer
from tests.generation_jobs.report_fakes import make_dataset, make_music, make_notes

NOTES = [make_notes(4, rng_seed=seed) for seed in range(4)]


def files_of(folder) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def problems_of(*flags: str) -> list[str]:
    with pytest.raises(UserError) as caught:
        render.main(list(flags))
    return caught.value.problems


def test_the_splits_are_those_of_a_dataset():
    assert render.SPLITS == dataset_info.SPLITS


def test_a_job_is_rendered_once(tmp_path, capsys):
    make_music(tmp_path / "music", [("bach", 0, NOTES[0]), ("bach", 1, NOTES[1]), ("abba", 0, make_notes(1).take([]))])
    flags = ["--music", f"{tmp_path}/music", "--output", f"{tmp_path}/sound"]
    assert render.main([*flags, "--max-pieces", "1"]) == command.OK
    assert render.main(flags) == command.OK
    assert sorted(files_of(tmp_path / "sound")) == ["bach/bach-00000.ogg", "bach/bach-00001.ogg"]
    assert capsys.readouterr().out.splitlines() == [
        f"1 audio file in {tmp_path}/sound: 1 rendered, 0 there already",
        "1 piece without notes: no audio file",
        f"2 audio files in {tmp_path}/sound: 1 rendered, 1 there already",
        "1 piece without notes: no audio file",
    ]


def test_a_split_of_a_dataset_as_wav(tmp_path):
    make_dataset(tmp_path / "data", {"train": NOTES[:2], "test": NOTES[2:]})
    flags = ["--data", f"{tmp_path}/data", "--split", "test", "--output", f"{tmp_path}/sound", "--format", "wav"]
    assert render.main(flags) == command.OK
    files = files_of(tmp_path / "sound")
    assert sorted(files) == sorted(f"{notes.piece_id}.wav" for notes in NOTES[2:])
    assert all(data.startswith(b"RIFF") for data in files.values())


def test_good_files_are_rendered_and_bad_ones_are_named(tmp_path, capsys):
    for name, data in {"a.mid": midi_writer.serialize(NOTES[0]), "b.mid": b"", "c.mid": b"MThd"}.items():
        storage.write_bytes(f"{tmp_path}/songs/{name}", data)
    output = f"{tmp_path}/sound"
    assert problems_of("--input", f"{tmp_path}/songs", "--output", output, "--max-minutes", "0.01") == [
        f"{output}: '{tmp_path}/songs/b.mid' cannot be rendered: the file is empty",
        f"{output}: '{tmp_path}/songs/c.mid' cannot be rendered: the file ends inside the header, after 4 bytes",
    ]
    assert capsys.readouterr().out.splitlines() == [
        f"1 audio file in {output}: 1 rendered, 0 there already",
        f"longer than --max-minutes 0.01, and faded out there: {output}/a.ogg",
    ]


def test_all_mistakes_are_reported(tmp_path):
    (tmp_path / "file").touch()
    nowhere = f"{tmp_path}/nowhere"
    flags = ["--music", nowhere, "--input", nowhere, "--split", "test", "--format", "aiff", "--max-minutes", "0"]
    assert problems_of(*flags, "--output", f"{tmp_path}/file") == [
        "--format is 'aiff', want one of ogg, wav, mp3",
        "--max-minutes is '0', want a number above 0, at most 60",
        "--input and --music are given, want one of --input, --music and --data",
        "--split is 'test', but only --data has splits",
        f"--output '{tmp_path}/file' is a file, want a folder",
        f"--input {nowhere}: no such file or folder",
        f"--music: '{nowhere}' holds no job.json, want the output folder of a generation job",
    ]
    assert problems_of("--output", nowhere) == [
        "nothing to render is given, want one of --input, --music and --data",
    ]


def test_a_wrong_list(tmp_path):
    make_dataset(tmp_path / "data", {"train": NOTES[:1]})
    (tmp_path / "list").write_text("piece_id\n1\n2\n")
    want = f"want such as '{NOTES[0].piece_id}', '{NOTES[0].piece_id}.mid'"
    flags = ["--data", f"{tmp_path}/data", "--output", f"{tmp_path}/sound", "--select"]
    assert problems_of(*flags, f"{tmp_path}/list") == [
        f"--select: {tmp_path}/list:2: '1' is none of the pieces, {want}",
        f"--select: {tmp_path}/list:3: '2' is none of the pieces, {want}",
    ]
    assert problems_of(*flags, f"{tmp_path}/no") == [f"--select: '{tmp_path}/no' does not exist, want a list of pieces"]


@pytest.mark.slow
@pytest.mark.parametrize("fixture", ["gs_bucket", "s3_bucket"])
def test_from_bucket_to_bucket(fixture, request, capsys):
    bucket = request.getfixturevalue(fixture)
    storage.write_bytes(f"{bucket}/songs/a/x.mid", midi_writer.serialize(NOTES[0]))
    flags = ["--input", f"{bucket}/songs/**/*.mid", "--output", f"{bucket}/sound", "--num-processes", "1"]
    for summary in ("1 rendered, 0 there already", "0 rendered, 1 there already"):
        assert render.main(flags) == command.OK
        assert capsys.readouterr().out == f"1 audio file in {bucket}/sound: {summary}\n"
    assert storage.read_bytes(f"{bucket}/sound/a/x.ogg").startswith(b"OggS")


@pytest.mark.slow
def test_a_stopped_run_ends_with_75_and_continues_to_the_same_files(tmp_path):
    make_music(tmp_path / "music", [("bach", sample, make_notes(200, rng_seed=sample)) for sample in range(12)])

    def start(output: str) -> subprocess.Popen[str]:
        line = [sys.executable, "-m", "generation_jobs.render", "--music", f"{tmp_path}/music"]
        return subprocess.Popen([*line, "--output", f"{tmp_path}/{output}"], stderr=subprocess.PIPE, text=True)

    stopped = start("sound")
    while not (tmp_path / "sound").exists() or not files_of(tmp_path / "sound"):
        assert stopped.poll() is None
        time.sleep(0.05)
    stopped.send_signal(signal.SIGTERM)
    _, text = stopped.communicate(timeout=60)
    assert stopped.returncode == command.INTERRUPTED
    assert text.endswith("interrupted; start the same command again to continue\n")
    assert 1 <= len(files_of(tmp_path / "sound")) < 12
    for output in ("sound", "whole"):
        process = start(output)
        process.communicate()
        assert process.returncode == command.OK
    assert len(files_of(tmp_path / "sound")) == 12
    assert files_of(tmp_path / "sound") == files_of(tmp_path / "whole")


@pytest.mark.slow
def test_no_process_outlives_a_killed_command(tmp_path):
    make_music(tmp_path / "music", [("bach", sample, make_notes(400, rng_seed=sample)) for sample in range(12)])
    line = [sys.executable, "-m", "generation_jobs.render", "--music", f"{tmp_path}/music"]
    process = subprocess.Popen([*line, "--output", f"{tmp_path}/sound", "--num-processes", "2"])
    while not (tmp_path / "sound").exists() or not files_of(tmp_path / "sound"):
        assert process.poll() is None
        time.sleep(0.05)
    with open(f"/proc/{process.pid}/task/{process.pid}/children") as file:
        children = [int(pid) for pid in file.read().split()]
    assert len(children) >= 2
    process.kill()
    process.wait()
    deadline = time.monotonic() + 60
    while any(os.path.exists(f"/proc/{pid}") for pid in children):
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_the_head_of_a_file_is_enough_to_know_it(tmp_path):
    (tmp_path / "x.mid").write_bytes(midi_writer.serialize(NOTES[0]))
    render.main(["--input", f"{tmp_path}/x.mid", "--output", str(tmp_path), "--format", "mp3"])
    data = (tmp_path / "x.mp3").read_bytes()
    assert NOTES[0].from_first_onset().piece_id.encode() in data[: sound_files.HEAD_BYTES]
