"""Seed lists: JSON Lines, one seed a line, what to continue and how often. `docs/generate.md` shows the format.

    {"id": "bach", "midi": "chorale.mid", "num_notes": 16}
    {"id": "riff", "notes": [{"pitch": 60, "velocity": 80, "start_seconds": 0, "duration_seconds": 0.5}]}
    {"id": "free", "temperature": 0.9, "num_samples": 8}

Reading checks the whole list and gives every problem with its line number; `primers` then looks into the
MIDI files. 100,000 lines take seconds, and nothing here imports TensorFlow.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from generation_jobs import inline_notes
from generation_jobs.inline_notes import InlineNotes
from generation_jobs.requests import WANTED, is_number, is_whole, settings_problems
from midi_codec import storage
from midi_codec.notes import canonical_tempo, tempo_to_microseconds

MAX_SAMPLES = 1_000_000  # of one seed
MAX_ID_LENGTH = 100
_ID = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*")  # the same name in every file system and bucket, quoted nowhere
_ID_WANTED = f"1 to {MAX_ID_LENGTH} letters, digits, '-', '_' or '.' of ASCII, the first neither '-' nor '.'"
_SPAN_KEYS = ("from_note", "num_notes", "from_seconds", "to_seconds")
_KEYS = ("id", "midi", *_SPAN_KEYS, "notes", "tempo", "num_samples", *WANTED)

Problem = tuple[int, str]  # line number from 1 (0: the list as a whole), and a sentence


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Seed:
    """One line of a seed list, checked. The primer is `midi`, or `notes`, or nothing: from silence."""

    id: str
    line: int = 0  # 0 for a seed that was not read from a list
    midi: str | None = None  # path as written: relative to the list's folder, absolute, or in a bucket
    from_note: int = 0
    num_notes: int | None = None  # None: all that follow
    from_seconds: float | None = None
    to_seconds: float | None = None
    notes: InlineNotes | None = None
    tempo: float | None = None  # quarter notes a minute, of `notes`
    num_samples: int | None = None  # None: as the command says
    overrides: Mapping[str, Any] = dataclasses.field(default_factory=dict)  # settings given on this line


@dataclasses.dataclass(frozen=True, eq=False)
class SeedList:
    path: str
    seeds: list[Seed]  # those without a problem, in the order of the list
    problems: list[Problem]
    digest: str  # sha256 of the file, 32 hex digits


def read(path: str) -> SeedList:
    """Reads and checks a list.

    Raises:
      FileNotFoundError, PermissionError, UserError: as `storage.read_bytes`. What is wrong with the
        content is in `problems`.
    """
    data = storage.read_bytes(path)
    seeds, problems = parse(data)
    return SeedList(path, seeds, problems, hashlib.sha256(data).hexdigest()[:32])


def silence() -> SeedList:
    """What stands in for a list where none is named: one seed, from silence."""
    data = b'{"id": "piece"}\n'
    seeds, problems = parse(data)
    return SeedList("", seeds, problems, hashlib.sha256(data).hexdigest()[:32])


def write(path: str, seeds: Iterable[Seed]) -> None:
    """Writes a list that `read` gives back; the text is a function of the seeds alone."""
    lines = [json.dumps(_record(seed), ensure_ascii=False, separators=(", ", ": ")) for seed in seeds]
    storage.write_bytes(path, "".join(f"{line}\n" for line in lines).encode())


def place(path: str, problem: Problem) -> str:
    """The sentence for people: `seeds.jsonl:3: temperature is -1, want ...`."""
    line, text = problem
    return f"{path}:{line}: {text}" if line else f"{path}: {text}"


def parse(data: bytes) -> tuple[list[Seed], list[Problem]]:
    """Seeds of the lines that are right, and all that is wrong with the others."""
    try:
        text = data.decode("utf-8-sig")  # some editors put a byte order mark first
    except UnicodeDecodeError as error:
        broken = data.count(b"\n", 0, error.start) + 1
        return [], [(broken, f"byte {error.object[error.start]:#04x} is not UTF-8; want a list in UTF-8")]
    seeds: list[Seed] = []
    problems: list[Problem] = []
    lines_of_ids: dict[str, tuple[int, str]] = {}
    num_lines = 0
    for number, line in enumerate(text.split("\n"), 1):  # not splitlines: JSON strings may hold other breaks
        if not line or line.isspace():
            continue
        num_lines += 1
        record, found = _object(line)
        if record is not None:
            found = [*_id_problems(record, number, lines_of_ids), *_problems(record)]
            notes, in_notes = inline_notes.parse(record["notes"]) if "notes" in record else (None, [])
            found += in_notes
        if record is not None and not found:
            seeds.append(_seed(record, number, notes))
        problems += [(number, problem) for problem in found]
    if not num_lines:
        problems.append((0, "the list is empty, want at least one seed"))
    return seeds, problems


def _object(line: str) -> tuple[dict | None, list[str]]:
    try:
        record = _DECODER.decode(line)
    except (ValueError, RecursionError) as error:
        return None, [f"not JSON: {error}"]
    if not isinstance(record, dict):
        return None, [f"the line is a {type(record).__name__}, want a JSON object"]
    return record, []


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    record = dict(pairs)
    if len(record) != len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"the key {twice!r} is given twice")
    return record


def _refuse(constant: str) -> float:
    raise ValueError(f"{constant} is not a number")


_DECODER = json.JSONDecoder(object_pairs_hook=_unique, parse_constant=_refuse)


def _id_problems(record: dict, number: int, lines_of_ids: dict[str, tuple[int, str]]) -> Iterator[str]:
    if "id" not in record:
        yield "there is no 'id'; every seed needs one"
        return
    seed_id = record["id"]
    if not isinstance(seed_id, str) or not _ID.fullmatch(seed_id) or len(seed_id) > MAX_ID_LENGTH:
        yield f"id is {seed_id!r}, want {_ID_WANTED}: it names files"
        return
    line, other = lines_of_ids.setdefault(seed_id.casefold(), (number, seed_id))
    if line != number:
        same = "" if other == seed_id else f", as {other!r} (some file systems ignore case)"
        yield f"id {seed_id!r} is taken by line {line}{same}"


def _problems(record: dict) -> Iterator[str]:
    for key in sorted(record.keys() - _KNOWN):
        yield f"unknown key {key!r}, want some of {', '.join(_KEYS)}"
    yield from settings_problems(record)
    if "num_samples" in record and not _in_range(record["num_samples"], 1, MAX_SAMPLES):
        yield f"num_samples is {record['num_samples']!r}, want a whole number, 1 to {MAX_SAMPLES}"
    if "midi" in record and "notes" in record:
        yield "there are both 'midi' and 'notes', want one primer"
    if "midi" in record and (not isinstance(record["midi"], str) or not record["midi"] or "\0" in record["midi"]):
        yield f"midi is {record['midi']!r}, want the path of a MIDI file"
    if "tempo" in record:
        yield from _tempo_problems(record)
    yield from _span_problems({key: record[key] for key in _SPAN_KEYS if key in record}, "midi" in record)


def _tempo_problems(record: dict) -> Iterator[str]:
    if "notes" not in record:
        yield "'tempo' is for inline 'notes', and there are none"
    try:
        if not is_number(record["tempo"]):
            raise ValueError(f"tempo is {record['tempo']!r}, want a number, quarter notes a minute")
        tempo_to_microseconds(record["tempo"])
    except (ValueError, OverflowError) as error:  # overflow: so slow that a quarter note never ends
        yield str(error)


def _span_problems(span: dict, has_midi: bool) -> Iterator[str]:
    if span and not has_midi:
        yield f"{', '.join(map(repr, span))} chooses notes of a MIDI file, and there is no 'midi'"
    for key, low in (("from_note", 0), ("num_notes", 1)):
        if key in span and not _in_range(span[key], low, 2**31):
            yield f"{key} is {span[key]!r}, want a whole number, {low} or more"
    seconds = [key for key in ("from_seconds", "to_seconds") if key in span]
    if seconds and len(seconds) < len(span):
        yield f"there are both {', '.join(map(repr, span))}, want a range of notes or one of seconds"
    right = [key for key in seconds if is_number(span[key]) and span[key] >= 0]
    for key in (key for key in seconds if key not in right):
        yield f"{key} is {span[key]!r}, want a number, 0 or more"
    if len(right) == 2 and not span["from_seconds"] < span["to_seconds"]:
        yield f"to_seconds is {span['to_seconds']}, want more than from_seconds, {span['from_seconds']}"


def _in_range(value: object, low: int, high: int) -> bool:
    return is_whole(value) and low <= value <= high


_KNOWN = frozenset(_KEYS)


def _seed(record: dict, line: int, notes: InlineNotes | None) -> Seed:
    given = {key: record[key] for key in ("midi", "num_samples", *_SPAN_KEYS) if key in record}
    tempo = canonical_tempo(tempo_to_microseconds(record["tempo"])) if "tempo" in record else None
    overrides = {name: record[name] for name in WANTED if name in record}
    return Seed(id=record["id"], line=line, notes=notes, tempo=tempo, overrides=overrides, **given)


def _record(seed: Seed) -> dict[str, Any]:
    record: dict[str, Any] = {"id": seed.id}
    if seed.midi is not None:
        record["midi"] = seed.midi
        record |= {key: getattr(seed, key) for key in _SPAN_KEYS if getattr(seed, key) not in (None, 0)}
    if seed.notes is not None:
        record["notes"] = seed.notes.to_record()
    if seed.tempo is not None:
        record["tempo"] = seed.tempo
    if seed.num_samples is not None:
        record["num_samples"] = seed.num_samples
    return record | dict(seed.overrides)
