"""Which files are written, which stay, and that equal notes give equal files."""

from __future__ import annotations

import dataclasses
import io
import signal

import numpy as np
import pytest
import soundfile

from generation_jobs.render import sound_files
from generation_jobs.render.sound_files import Done, Job
from job_runtime.command import Interrupted, StopSignal
from midi_codec.music.notes import BEATS, Notes


def make_job(path, pitch: int = 60, *, duration: int = 400, max_seconds: float = 600, format: str = "ogg") -> Job:
    one = np.array([0])
    notes = Notes.from_columns(
        pitch=one + pitch, velocity=one + 90, start=one, duration=one + duration, program=one, time_base="milliseconds"
    )
    return Job(str(path), notes, format, max_seconds)


def write(*jobs: Job, stop: StopSignal | None = None) -> list[Done]:
    return list(sound_files.write_all(jobs, num_processes=1, stop=stop or StopSignal()))


@pytest.mark.parametrize("format", ["wav", "ogg"])
def test_a_file_holds_the_music_in_stereo_and_says_which(tmp_path, format):
    job = make_job(tmp_path / f"a/x.{format}", format=format)
    assert write(job) == [Done(job, is_new=True)]
    file = soundfile.SoundFile(job.path)
    assert (file.samplerate, file.channels, file.frames) == (48_000, 2, 1.9 * 48_000)
    assert file.comment == f"midi-lstm render 1: piece {job.notes.piece_id}, 120 quarter notes per minute."


def test_a_file_that_is_there_stays_and_one_with_other_notes_is_replaced(tmp_path):
    job, other = make_job(tmp_path / "x.ogg"), make_job(tmp_path / "x.ogg", pitch=61)
    write(job)
    before = (tmp_path / "x.ogg").stat()
    assert write(job) == [Done(job)]
    assert (tmp_path / "x.ogg").stat() == before
    first = (tmp_path / "x.ogg").read_bytes()
    assert write(other) == [Done(other, is_new=True)]
    assert write(job) == [Done(job, is_new=True)]
    assert (tmp_path / "x.ogg").read_bytes() == first


def test_a_file_of_another_program_is_never_replaced(tmp_path):
    (tmp_path / "x.ogg").write_bytes(b"OggS, a recording")
    job = make_job(tmp_path / "x.ogg")
    problem = f"'{tmp_path}/x.ogg' exists and was not written by this command; it is left as it is"
    assert write(job) == [Done(job, problem=problem)]
    assert (tmp_path / "x.ogg").read_bytes() == b"OggS, a recording"


def test_a_name_that_cannot_be_written_costs_one_piece(tmp_path):
    (tmp_path / "y.ogg").mkdir()
    long, folder, good = (
        make_job(tmp_path / f"{'x' * 300}.ogg"),
        make_job(tmp_path / "y.ogg"),
        make_job(tmp_path / "z.ogg"),
    )
    problems = {done.job.path: done.problem for done in write(long, folder, good)}
    assert problems == {
        long.path: f"{long.path!r} cannot be written: File name too long",
        folder.path: f"{folder.path!r} cannot be written: it is a folder, want a regular file",
        good.path: "",
    }


def test_a_long_piece_is_faded_out_and_its_file_says_so(tmp_path):
    job = make_job(tmp_path / "x.wav", duration=5000, max_seconds=3, format="wav")
    write(job)
    assert soundfile.info(job.path).frames == 3 * 48_000
    assert soundfile.SoundFile(job.path).comment.endswith(" per minute, the first 3 seconds.")
    longer = dataclasses.replace(job, max_seconds=60)
    assert not longer.is_cut
    assert write(longer) == [Done(longer, is_new=True)]
    assert soundfile.info(job.path).frames == 6.5 * 48_000


def test_the_tempo_of_beats_belongs_to_the_sound(tmp_path):
    notes = dataclasses.replace(make_job("x").notes, time_base=BEATS)
    jobs = [Job(str(tmp_path / "x.ogg"), dataclasses.replace(notes, tempo=tempo), "ogg", 60) for tempo in (90.0, 91.0)]
    assert jobs[0].notes.piece_id == jobs[1].notes.piece_id
    assert [write(job)[0].is_new for job in jobs] == [True, True]


def test_a_stop_is_noticed_between_pieces(tmp_path):
    stop = StopSignal()
    stop.requested = True
    with pytest.raises(Interrupted):
        write(make_job(tmp_path / "x.ogg"), stop=stop)


@pytest.mark.parametrize("format", ["wav", "ogg", "mp3"])
def test_equal_notes_give_equal_bytes(tmp_path, format):
    jobs = [make_job(tmp_path / f"{name}.{format}", format=format) for name in "ab"]
    write(*jobs)
    first, second = ((tmp_path / f"{name}.{format}").read_bytes() for name in "ab")
    assert first == second


@pytest.mark.slow
def test_processes_write_the_same_bytes(tmp_path):
    jobs = [make_job(tmp_path / f"{pitch}.ogg", pitch) for pitch in range(60, 66)]
    done = sound_files.write_all(jobs, num_processes=2, stop=StopSignal())
    assert {each.job.path for each in done if each.is_new} == {job.path for job in jobs}
    for job in jobs:
        with open(job.path, "rb") as file:
            written = file.read()
        sound_files.render(dataclasses.replace(job, path=str(tmp_path / "again.ogg")))
        assert (tmp_path / "again.ogg").read_bytes() == written
        assert soundfile.read(io.BytesIO(written))[0].shape == (1.9 * 48_000, 2)


@pytest.mark.slow
def test_a_killed_process_is_a_fault_that_names_the_file(tmp_path, monkeypatch):
    import multiprocessing
    import os

    looked_up = sound_files._look_up
    jobs = [make_job(tmp_path / f"{pitch}.ogg", pitch, duration=200_000) for pitch in range(60, 63)]
    stop = StopSignal()

    def kill_one(*args):
        for process in multiprocessing.active_children():
            os.kill(process.pid, signal.SIGKILL)
        return looked_up(*args)

    monkeypatch.setattr(sound_files, "_look_up", kill_one)
    with pytest.raises(OSError, match="a process was killed while it was rendered") as caught:
        list(sound_files.write_all(jobs, num_processes=1, stop=stop))
    assert caught.value.filename in {job.path for job in jobs}
