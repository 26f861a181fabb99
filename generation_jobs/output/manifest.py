"""A job's output folder and its manifest, a line per piece: writer and reader side by side.

    OUTPUT/job.json                                        what the pieces depend on; written first
    OUTPUT/seeds.jsonl                                     the seed list, with the notes of its primers
    OUTPUT/thresholds.json                                 those of screening, if there was one
    OUTPUT/midi/<seed_id>/<seed_id>-00000.mid              one per sample (`piece_files`; or tar shards)
    OUTPUT/records/generated-00000-of-00100.tfrecord       one per shard, examples in the dataset format
    OUTPUT/sizes/part-00000-of-00100.json                  one per shard: the sizes of its other files
    OUTPUT/manifest/part-00000-of-00100.jsonl              one per shard, a line per sample; written last: shard done
    OUTPUT/manifest.jsonl                                  all lines, by `generation_jobs.merge`: the job is done

A piece's manifest line is also in its record and in its `.mid` file (`piece_bytes`), so that a finished sample needs
only one file, renamed into place, and a restart reads the line and the notes back from it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated, Any, TypedDict

from generation_jobs.output.piece_checks import DECIMALS, check
from generation_jobs.output.shards import MANIFEST_FOLDER, Shards
from generation_jobs.settings.requests import Ended, Result
from job_runtime import json_text, storage
from job_runtime.problem_report import UserError

JOB_FILE, SEEDS_FILE, THRESHOLDS_FILE = "job.json", "seeds.jsonl", "thresholds.json"
FORMAT_VERSION = 3  # of job.json and its folder
_READABLE = (2, FORMAT_VERSION)  # 2: `.mid` files without signatures and names of tracks

Line = dict[str, Any]
START_AGAIN = (
    "start python -m generation_jobs.generate again with the flags that the job was started with: it makes "
    "files that are missing or have another size; files that are damaged in another way must be deleted first"
)


def is_below(path: str | None) -> bool:
    """Whether a path stays below the folder that it is joined to; None does."""
    return path is None or not (path.startswith("/") or "://" in path or ".." in path.split("/") or "\0" in path)


_Count = Annotated[int, json_text.Constraint(lambda value: value >= 0, "a whole number, 0 or more")]


class _Versioned(TypedDict):
    format_version: Annotated[int, json_text.Constraint(_READABLE.__contains__, " or ".join(map(str, _READABLE)))]


class _Job(_Versioned):
    """What readers need from `job.json`."""

    num_samples: int
    pieces_per_shard: int


class _Line(TypedDict):
    """The fields that every line of a manifest has."""

    seed_id: str
    sample: _Count
    rng_seed: int
    path: Annotated[str | None, json_text.Constraint(is_below, "a path below the output folder, or null")]
    piece_id: str
    bundle: str
    dataset: str
    settings: dict[str, Any]
    num_primer_notes: _Count
    num_notes: _Count
    seconds: float
    log_likelihood: float
    ended: Ended
    checks: dict[str, Any]
    screening: dict[str, Any] | None
    code_version: str


def make_line(
    *,
    seed_id: str,
    sample: int,
    path: str | None,
    result: Result,
    origin: Mapping[str, Any],
    screening: Line | None,
    salvaged: str | None = None,
    primer: Mapping[str, str | int] | None = None,
    signatures: Line,
) -> Line:
    """The manifest line of a piece.

    Args:
      path: of its `.mid` file, relative to the output folder; None: the piece is left out.
      origin: rng_seed, bundle, precision, dataset, settings and code version.
      screening: how the piece was judged; None where there was no screening.
      salvaged: the salvage level that read the primer's file, where strict reading failed.
      primer: where the primer's notes are from; None if that is not known, or there is no primer.
      signatures: how the piece is written down (`piece_bytes.describe_signatures`).
    """
    notes = result.notes
    return {
        "seed_id": seed_id,
        "sample": sample,
        "rng_seed": origin["rng_seed"],
        "path": path,
        "piece_id": notes.piece_id,
        "bundle": origin["bundle"],
        "precision": origin["precision"],
        "dataset": origin["dataset"],
        "settings": dict(origin["settings"]),
        "num_primer_notes": result.num_primer_notes,
        "primer_salvaged": salvaged,
        "primer": None if primer is None else dict(primer),
        "num_notes": len(notes),
        "seconds": round(notes.seconds, DECIMALS),
        "signatures": dict(signatures),
        "log_likelihood": round(result.log_likelihood, DECIMALS),
        "ended": result.ended,
        "checks": check(notes, result.num_primer_notes),
        "screening": screening,
        "code_version": origin["code_version"],
    }


def join_lines(texts: Iterable[str]) -> bytes:
    """The bytes of a file of lines that `dumps` made."""
    return "".join(f"{text}\n" for text in texts).encode()


def shards_of(root: str) -> Shards:
    """The shards of the job with this output.

    Raises:
      UserError: `root` is not the output of a job.
    """
    path = storage.join(root, JOB_FILE)
    try:
        json_text.load(path, _Versioned)
        job = json_text.load(path, _Job)
    except FileNotFoundError as error:
        raise UserError(f"{root!r} holds no {JOB_FILE}, want the output folder of a generation job") from error
    shards = Shards(job["num_samples"], job["pieces_per_shard"])
    if problems := list(shards.problems()):
        raise UserError(f"{path}: {problem}" for problem in problems)
    return shards


def finished_shards(root: str, shards: Shards) -> set[int]:
    """The shards that are done."""
    names = {shards.manifest(shard).rpartition("/")[2]: shard for shard in range(len(shards))}
    entries = storage.list_files(storage.join(root, f"{MANIFEST_FOLDER}/"), missing_ok=True)
    return {names[name] for entry in entries if (name := entry.path.rpartition("/")[2]) in names}


def require_finished(root: str) -> Shards:
    """The shards of a job, all of them done.

    Raises:
      UserError: it is not a job's output, or a shard is not done; names the files that list failed samples.
    """
    shards = shards_of(root)
    finished = finished_shards(root, shards)
    missing = [shard for shard in range(len(shards)) if shard not in finished]
    if not missing:
        return shards
    names = ", ".join(shards.manifest(shard) for shard in missing[:5])
    problems = [f"{root!r} is not finished: there is no {names} ({len(missing)} of {len(shards)}); {START_AGAIN}"]
    failures = [storage.join(root, shards.failures(shard)) for shard in missing]
    problems += [f"{path!r} says which samples failed" for path in failures if storage.exists(path)][:5]
    raise UserError(problems)


def read(root: str) -> list[Line]:
    """`stream`, all at once: 6 KB of memory per line."""
    return list(stream(root))


def stream(root: str) -> Iterator[Line]:
    """The lines of all shards of a finished job, in the order of the seed list, including those of pieces left out.

    Raises:
      UserError: at once, as `require_finished`; later, a manifest cannot be read.
    """
    shards = require_finished(root)
    return (line for shard in range(len(shards)) for line in read_shard(root, shards, shard))


def read_shard(root: str, shards: Shards, shard: int) -> list[Line]:
    """The lines of one shard's manifest.

    Raises:
      UserError: it cannot be read; everything that is wrong with it.
    """
    path = storage.join(root, shards.manifest(shard))
    try:
        return json_text.load_lines(path, _Line)
    except FileNotFoundError as error:
        raise UserError(f"{path!r} does not exist, want the manifest of a shard") from error


def dumps(line: Line) -> str:
    """A line as written in the manifest and in the `.mid` file."""
    return json.dumps(line, ensure_ascii=True, separators=(", ", ": "))
