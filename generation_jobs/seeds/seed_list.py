"""Seed lists: what to continue and how often, in one of three forms. `docs/seeds.md` shows them.

    seeds.jsonl     JSON Lines, one seed per line: {"id": "bach", "midi": "chorale.mid", "num_notes": 16}
    seeds.csv       a header of keys and a row per seed (`seed_csv`)
    a folder        or a bucket's prefix: every MIDI file below it is a seed (`seed_folder`)

Reading checks the whole list and reports every problem with its line number; `primers` then reads the MIDI files and
the dataset. 100,000 lines take seconds, and nothing here imports TensorFlow.
"""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
from collections.abc import Iterable, Mapping, Sequence

from generation_jobs.seeds import seed_csv, seed_folder, seed_json
from generation_jobs.seeds.inline_notes import InlineNotes
from generation_jobs.seeds.seed_record import Checker, Origin, Row, Seed, to_record, without_garbage_collection
from job_runtime import storage
from job_runtime.problem_report import Problem
from midi_codec.midi.midi_header import EXTENSIONS
from midi_codec.music.notes import Notes

__all__ = ["Seed", "SeedList", "folder_of", "parse", "read", "silence", "with_notes", "write"]

ROWS_AT_ONCE = 1024  # checked together


@dataclasses.dataclass(frozen=True, eq=False)
class SeedList:
    path: str
    folder: str  # that relative paths in the list start from
    seeds: list[Seed]  # those without problems, in the order of the list
    problems: list[Problem]
    digest: str  # sha256 of the file, or of the paths below the folder; 32 hex digits


def read(path: str) -> SeedList:
    """Reads and checks a list.

    Raises:
      FileNotFoundError, PermissionError, UserError: as `storage.read_bytes`. Problems of the content are
        in `problems`.
    """
    if path.endswith("/") or storage.is_folder(path):
        sources, digest = seed_folder.read(path)
        seeds, problems = _check((0, record, []) for record in sources)
        if not sources:
            problems = [(0, f"there is no MIDI file in this folder, want {', '.join(EXTENSIONS)}")]
        return SeedList(path, path, seeds, problems, digest)
    data = storage.read_bytes(path)
    seeds, problems = parse(data, csv=is_csv(path))
    return SeedList(path, folder_of(path), seeds, problems, hashlib.sha256(data).hexdigest()[:32])


def silence() -> SeedList:
    """The list used where none is given: one seed, from silence."""
    data = b'{"id": "piece"}\n'
    seeds, problems = parse(data)
    return SeedList("", "", seeds, problems, hashlib.sha256(data).hexdigest()[:32])


def write(path: str, seeds: Iterable[Seed]) -> None:
    """Writes a list for `read`, as CSV or JSON Lines depending on the path; equal seeds give equal bytes."""
    records = [to_record(seed) for seed in seeds]
    storage.write_bytes(path, seed_csv.serialize(records) if is_csv(path) else seed_json.serialize(records))


def with_notes(seeds: Sequence[Seed], primers: Sequence[Notes | None], origins: Mapping[int, Origin]) -> bytes:
    """The list as JSON Lines that need no other file: with the notes of every primer, as the model gets them."""
    records = []
    for index, (seed, primer) in enumerate(zip(seeds, primers, strict=True)):
        if primer is not None:
            overrides = {name: value for name, value in seed.overrides.items() if name != "map_programs"}
            own = Seed(id=seed.id, num_samples=seed.num_samples, overrides=overrides, origin=origins.get(index))
            inline = InlineNotes.from_notes(primer)
            seed = dataclasses.replace(own, notes=inline, tempo=primer.tempo, signatures=primer.signatures)
        records.append(to_record(seed))
    return seed_json.serialize(records)


def is_csv(path: str) -> bool:
    return path.lower().endswith(".csv")


def folder_of(path: str) -> str:
    """The folder of a file; empty for one in the current folder."""
    head, slash, _ = path.rpartition("/")
    return head or slash


def parse(data: bytes, *, csv: bool = False) -> tuple[list[Seed], list[Problem]]:
    """The seeds of the valid lines of JSON Lines or CSV, and all problems of the other lines."""
    try:
        text = data.decode("utf-8-sig")  # some editors put a byte order mark first
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        return [], [(line, f"byte {error.object[error.start]:#04x} is not UTF-8; want a list in UTF-8")]
    return _check(seed_csv.read(text) if csv else seed_json.read(text))


def _check(rows: Iterable[Row]) -> tuple[list[Seed], list[Problem]]:
    seeds: list[Seed] = []
    problems: list[Problem] = []
    checker = Checker()
    is_empty = True
    with without_garbage_collection():
        remaining = iter(rows)
        while block := list(itertools.islice(remaining, ROWS_AT_ONCE)):
            is_empty = False
            for (line, _, _), (seed, row_problems) in zip(block, checker.check(block), strict=True):
                if seed is not None:
                    seeds.append(seed)
                problems += [(line, problem) for problem in row_problems]
    if is_empty:
        problems.append((0, "the list is empty, want at least one seed"))
    return seeds, problems
