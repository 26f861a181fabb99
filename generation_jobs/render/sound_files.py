"""Renders pieces in processes, since midirenderer lets one thread work at a time, and writes their files.

A file's comment tag says which notes it plays. So a file that is there already is left alone, replaced if it plays
other notes, and never replaced if another program wrote it.
"""

from __future__ import annotations

import concurrent.futures
import dataclasses
import errno
from collections.abc import Iterable, Iterator
from concurrent.futures.process import BrokenProcessPool

from job_runtime import io_errors, storage
from job_runtime.command import Interrupted, StopSignal
from job_runtime.processes import process_pool
from midi_codec.music.notes import Notes

MARK = "midi-lstm render 1: "  # begins the tag; another number where the same notes sound different
HEAD_BYTES = 1024  # of a file, which hold the tag
POLL_SECONDS = 0.5
AHEAD = 4  # pieces per process that are read before they are rendered


@dataclasses.dataclass(frozen=True)
class Job:
    """One file to write."""

    path: str
    notes: Notes
    format: str
    max_seconds: float

    @property
    def is_cut(self) -> bool:
        return self.notes.seconds > self.max_seconds

    @property
    def tag(self) -> str:
        cut = f", the first {self.max_seconds:g} seconds" if self.is_cut else ""
        return f"{MARK}piece {self.notes.piece_id}, {self.notes.tempo:.9g} quarter notes per minute{cut}."


@dataclasses.dataclass(frozen=True)
class Done:
    """What became of a job: written now, there already, or not written because of a problem."""

    job: Job
    is_new: bool = False
    problem: str = ""


def write_all(jobs: Iterable[Job], *, num_processes: int, stop: StopSignal) -> Iterator[Done]:
    """Writes what is not there yet; yields results as pieces finish, in any order.

    Raises:
      Interrupted: `stop` was requested; the files that are there are whole.
      OSError: the disk or the network failed, or a process was killed.
    """
    waiting: dict[concurrent.futures.Future[str], Job] = {}
    looked_up = storage.map_in_threads(_look_up, jobs, is_slow=lambda job: storage.is_remote(job.path))
    with process_pool(num_processes) as pool:
        for done in looked_up:
            if done.is_new:
                try:
                    future = pool.submit(render, done.job)
                except BrokenProcessPool as error:
                    raise _killed(done.job) from error
                waiting[future] = done.job
            else:
                yield done
            while len(waiting) >= AHEAD * num_processes or stop.requested:
                yield from _finished(waiting, stop)
        while waiting:
            yield from _finished(waiting, stop)


def _look_up(job: Job) -> Done:
    """Whether the file is to be written: `is_new`."""
    try:
        head = storage.read_range(job.path, 0, HEAD_BYTES)
    except FileNotFoundError:
        return Done(job, is_new=True)
    except OSError as error:
        if not io_errors.is_of_one_file(error):
            raise
        return Done(job, problem=f"{job.path!r} cannot be written: {io_errors.reason(error)}")
    if job.tag.encode() in head:
        return Done(job)
    if MARK.encode() not in head:
        return Done(job, problem=f"{job.path!r} exists and was not written by this command; it is left as it is")
    return Done(job, is_new=True)


def _finished(waiting: dict[concurrent.futures.Future[str], Job], stop: StopSignal) -> Iterator[Done]:
    """The results of pieces that are finished now, after a short wait."""
    finished, _ = concurrent.futures.wait(waiting, POLL_SECONDS, concurrent.futures.FIRST_COMPLETED)
    if stop.requested:
        raise Interrupted
    for future in finished:
        job = waiting.pop(future)
        try:
            problem = future.result()
        except BrokenProcessPool as error:
            raise _killed(job) from error
        yield Done(job, is_new=not problem, problem=problem)


def _killed(job: Job) -> OSError:
    text = "a process was killed while it was rendered, or another piece; try --num-processes 1"
    return OSError(errno.ECHILD, text, job.path)


def render(job: Job) -> str:
    """Renders and writes one file; returns what is wrong with its name, or nothing."""
    from generation_jobs import audio_file
    from midi_codec import audio

    samples = audio.render_stereo(job.notes, max_seconds=job.max_seconds)
    data = audio_file.encode(samples, audio.RENDER_RATE, format=job.format, comment=job.tag)
    try:
        storage.write_bytes(job.path, data)
    except OSError as error:
        if error.errno not in io_errors.OF_A_NAME:
            raise
        return f"{job.path!r} cannot be written: {io_errors.reason(error)}"
    return ""
