"""Where a job's output lies, and what is known of each piece: writer and reader side by side.

    OUTPUT/job.json                                    what the pieces depend on; written first
    OUTPUT/midi/<seed_id>/<seed_id>-00000.mid          one a sample; at its final name it is whole
    OUTPUT/records/generated-00000-of-00004.tfrecord   one a task, examples in the dataset format
    OUTPUT/manifest-00000-of-00004.jsonl               one a task, a line a sample; written last: the task is done
    OUTPUT/manifest.jsonl                              all lines, by `generation_jobs.merge`: the job is done

A piece's manifest line is written into its `.mid` file too, as a text event. So one file, renamed into
place, is all that a finished sample needs, and a restart reads back from it what it does not make again.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from generation_jobs.checks import DECIMALS, check
from generation_jobs.requests import Result
from midi_codec import midi_file, records, storage
from midi_codec.command import UserError
from midi_codec.midi_file import MidiError
from midi_codec.notes import Notes

JOB_FILE = "job.json"
MIDI_FOLDER = "midi"
_MARK = "generation_jobs.manifest "  # begins the text event that holds the line

Line = dict[str, Any]


def midi_path(seed_id: str, sample: int) -> str:
    """Relative to the output folder."""
    return f"{MIDI_FOLDER}/{seed_id}/{seed_id}-{sample:05d}.mid"


def manifest_name(task_index: int, num_tasks: int) -> str:
    return f"manifest-{task_index:05d}-of-{num_tasks:05d}.jsonl"


def records_name(task_index: int, num_tasks: int) -> str:
    return f"records/generated-{task_index:05d}-of-{num_tasks:05d}.tfrecord"


def make_line(*, seed_id: str, sample: int, result: Result, origin: Mapping[str, Any]) -> Line:
    """All that is known of a piece; `origin` says rng_seed, bundle, dataset, settings and code version."""
    notes = result.notes
    return {
        "seed_id": seed_id,
        "sample": sample,
        "rng_seed": origin["rng_seed"],
        "path": midi_path(seed_id, sample),
        "piece_id": notes.piece_id,
        "bundle": origin["bundle"],
        "dataset": origin["dataset"],
        "settings": dict(origin["settings"]),
        "num_primer_notes": result.num_primer_notes,
        "num_notes": len(notes),
        "seconds": round(notes.seconds, DECIMALS),
        "log_likelihood": round(result.log_likelihood, DECIMALS),
        "ended": result.ended,
        "checks": check(notes, result.num_primer_notes),
        "code_version": origin["code_version"],
    }


def serialize_piece(line: Line, notes: Notes) -> bytes:
    """The `.mid` file of a piece; `parse_piece` is the inverse."""
    return midi_file.serialize(notes, texts=[_MARK + dumps(line)])


def parse_piece(data: bytes, *, time_base: str) -> tuple[Line, Notes | None]:
    """The line and the notes of a `.mid` file that this job wrote; None for a piece without a note.

    Raises:
      ValueError: the file was not written by `serialize_piece`.
    """
    mark = data.find(_MARK.encode())
    if mark < 0:
        raise ValueError("it does not say what it was generated from")
    text = data[mark + len(_MARK) :].decode("latin-1")  # the line is ASCII, what follows it is not looked at
    line, _ = json.JSONDecoder().raw_decode(text)
    try:
        notes = midi_file.parse(data, time_base=time_base)
    except MidiError as error:
        if error.reason != "no_notes":
            raise
        return line, None
    if notes.piece_id != line["piece_id"]:
        raise ValueError("its notes were changed since")
    return line, notes


def serialize_example(line: Line, notes: Notes) -> bytes:
    """The piece as an example of a dataset; what one seed gave is one group."""
    return records.serialize_columns(
        piece_id=line["piece_id"], group_id=line["seed_id"], source=line["path"], notes=notes
    )


def write(path: str, texts: Iterable[str]) -> None:
    """Writes a task's manifest of lines that `dumps` made; they come sorted by seed id and sample."""
    storage.write_bytes(path, "".join(f"{text}\n" for text in texts).encode())


def task_manifests(root: str) -> list[str]:
    """Names of the manifests that a job's tasks leave, whether they are there or not.

    Raises:
      UserError: `root` is no job's output.
    """
    path = storage.join(root, JOB_FILE)
    try:
        num_tasks = json.loads(storage.read_bytes(path))["num_tasks"]
        return [manifest_name(index, num_tasks) for index in range(num_tasks)]
    except FileNotFoundError as error:
        raise UserError(f"{root!r} holds no {JOB_FILE}, want the output folder of a generation job") from error
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path!r} is not a job file: {error!r}") from error


def read(root: str) -> list[Line]:
    """The lines of a finished job, all tasks together, sorted by seed id and sample.

    Raises:
      UserError: it is no job's output, a task's manifest is missing, or one cannot be read.
    """
    names = task_manifests(root)
    missing = [name for name in names if not storage.exists(storage.join(root, name))]
    if missing:
        raise UserError(
            f"{root!r} is not finished: there is no {', '.join(missing[:5])} ({len(missing)} of {len(names)})"
        )
    lines = [line for index in range(len(names)) for line in read_task(root, index, len(names))]
    return sorted(lines, key=lambda line: (line["seed_id"], line["sample"]))


def read_task(root: str, task_index: int, num_tasks: int) -> list[Line]:
    """The lines of one task's manifest.

    Raises:
      UserError: it cannot be read.
    """
    path = storage.join(root, manifest_name(task_index, num_tasks))
    try:
        return list(map(json.loads, storage.read_text(path).splitlines()))
    except ValueError as error:
        raise UserError(f"{path!r} is not a manifest: {error}") from error


def dumps(line: Line) -> str:
    """A line as it stands in the manifest and in the `.mid` file."""
    return json.dumps(line, ensure_ascii=True, separators=(", ", ": "))
