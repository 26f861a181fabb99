"""One seed of a list in any form: its keys, their valid values, and what is wrong with them.

`docs/generate.md` has the table of keys. Nothing here reads MIDI files or datasets; `primers` does.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import gc
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from generation_jobs.seeds import inline_notes
from generation_jobs.seeds.inline_notes import InlineNotes
from generation_jobs.settings.requests import SETTINGS, Settings
from job_runtime.command_line.settings import is_number, is_whole, problems_with
from midi_codec.music.notes import canonical_tempo, tempo_to_microseconds
from midi_codec.music.signatures import Signatures

MAX_SAMPLES = 1_000_000  # per seed
MAX_ID_LENGTH = 100
_ID = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*")  # safe unquoted, and the same name in every file system and bucket
_ID_WANTED = f"1 to {MAX_ID_LENGTH} ASCII letters, digits, '-', '_' or '.', the first neither '-' nor '.'"
_PRIMER_KEYS = ("midi", "piece_id", "notes")
_SPAN_KEYS = ("from_note", "num_notes", "from_seconds", "to_seconds")
_PLAIN_KEYS = ("midi", "track", "piece_id", "num_samples", *_SPAN_KEYS)  # copied to a Seed unchanged
_SIGNATURE_KEYS = ("time_signatures", "key_signatures")
KEYS = (
    *("id", "midi", "track", "piece_id", *_SPAN_KEYS),
    *("notes", "tempo", *_SIGNATURE_KEYS, "origin", "num_samples", *SETTINGS),
)
_KNOWN = frozenset(KEYS)
_OF_SOURCES = frozenset({"midi", "track", "piece_id", *_SPAN_KEYS, *_SIGNATURE_KEYS, "origin"})
NO_SIGNATURES = Signatures()

Origin = Mapping[str, "str | int"]
Row = tuple[int, "dict[str, Any] | None", list[str]]  # line from 1; the record, or why it cannot be read


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Seed:
    """A valid seed. Its primer comes from `midi`, `piece_id` or `notes`; without any of them it starts from silence."""

    id: str
    line: int = 0  # 0 for a seed that was not read from a file of lines
    midi: str | None = None  # path as given: relative to the list's folder, absolute, or in a bucket
    track: int | str | None = None  # of `midi`: its number from 0, or its name; None: all tracks
    piece_id: str | None = None  # of a piece of the dataset that the command names
    from_note: int = 0
    num_notes: int | None = None  # None: all notes that follow
    from_seconds: float | None = None
    to_seconds: float | None = None
    notes: InlineNotes | None = None
    tempo: float | None = None  # of `notes`, quarter notes per minute
    signatures: Signatures = NO_SIGNATURES  # of `notes`, in ticks of the bundle's grid from the first of them
    origin: Origin | None = None  # where `notes` are from
    num_samples: int | None = None  # None: the command's --samples-per-seed
    overrides: Mapping[str, Any] = dataclasses.field(default_factory=dict)  # settings of this seed


@contextlib.contextmanager
def without_garbage_collection() -> Iterator[None]:
    """A hundred thousand seeds are millions of objects, none of them garbage. Python would scan them repeatedly,
    which would take two thirds of the time."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


class Checker:
    """Checks the seeds of one list in order, and that no two share an id."""

    def __init__(self) -> None:
        self._lines_of_ids: dict[str, tuple[int, str]] = {}

    def check(self, rows: Sequence[Row]) -> Iterator[tuple[Seed | None, list[str]]]:
        """The seed of each row, or what is wrong with it (without the line)."""
        with_notes = [record["notes"] for _, record, _ in rows if record is not None and "notes" in record]
        parsed = iter(inline_notes.parse_many(with_notes))
        for line, record, row_problems in rows:
            if record is None:
                yield None, row_problems
                continue
            problems = [*row_problems, *self._id_problems(record, line), *_problems(record)]
            notes = None
            if "notes" in record:
                notes, note_problems = next(parsed)
                problems += note_problems
            yield (None, problems) if problems else (_seed(record, line, notes), [])

    def _id_problems(self, record: dict[str, Any], line: int) -> Iterator[str]:
        if "id" not in record:
            yield "there is no 'id'; every seed needs one"
            return
        seed_id = record["id"]
        if not isinstance(seed_id, str) or len(seed_id) > MAX_ID_LENGTH or not _ID.fullmatch(seed_id):
            yield f"id is {seed_id!r}, want {_ID_WANTED}: it names files"
            return
        own = (line, seed_id)
        first = self._lines_of_ids.setdefault(seed_id.casefold(), own)
        if first is not own:
            spelling = "" if first[1] == seed_id else f", as {first[1]!r} (some file systems ignore case)"
            yield f"id {seed_id!r} is taken by line {first[0]}{spelling}"


def to_record(seed: Seed) -> dict[str, Any]:
    """The seed as a record of a list; `Checker` reads it back."""
    record: dict[str, Any] = {"id": seed.id}
    record |= {key: getattr(seed, key) for key in _PLAIN_KEYS if getattr(seed, key) is not None}
    if not seed.from_note:
        record.pop("from_note")
    if seed.notes is not None:
        record["notes"] = seed.notes.to_record()
    if seed.tempo is not None:
        record["tempo"] = seed.tempo
    texts = (seed.signatures.times_text, seed.signatures.keys_text)
    record |= {key: text for key, text in zip(_SIGNATURE_KEYS, texts, strict=True) if text}
    if seed.origin is not None:
        record["origin"] = dict(seed.origin)
    return record | dict(seed.overrides)


def _seed(record: dict[str, Any], line: int, notes: InlineNotes | None) -> Seed:
    given = {key: record[key] for key in _PLAIN_KEYS if key in record}
    tempo = _tempo(record["tempo"]) if "tempo" in record else None
    texts = [record.get(key, "") for key in _SIGNATURE_KEYS]
    signatures = Signatures.parse(*texts) if any(texts) else NO_SIGNATURES
    overrides = {name: record[name] for name in SETTINGS if name in record}
    origin = record.get("origin")
    given |= {"signatures": signatures, "overrides": overrides}
    return Seed(id=record["id"], line=line, notes=notes, tempo=tempo, origin=origin, **given)


def _problems(record: dict[str, Any]) -> Iterator[str]:
    for key in [] if record.keys() <= _KNOWN else sorted(record.keys() - _KNOWN):
        yield f"unknown key {key!r}, want some of {', '.join(KEYS)}"
    yield from problems_with(Settings, record)
    if "num_samples" in record and not _in_range(record["num_samples"], 1, MAX_SAMPLES):
        yield f"num_samples is {record['num_samples']!r}, want a whole number, 1 to {MAX_SAMPLES}"
    if not _OF_SOURCES.isdisjoint(record):
        yield from _source_problems(record)
    elif "tempo" in record:
        yield from _tempo_problems(record)


def _source_problems(record: dict[str, Any]) -> Iterator[str]:
    sources = [key for key in _PRIMER_KEYS if key in record]
    if len(sources) > 1:
        yield f"there are {' and '.join(map(repr, sources))}, want one primer"
    if "midi" in record and not _is_text(record["midi"]):
        yield f"midi is {record['midi']!r}, want the path of a MIDI file"
    if "piece_id" in record and not _is_text(record["piece_id"]):
        yield f"piece_id is {record['piece_id']!r}, want the id of a piece of the dataset"
    if "track" in record:
        yield from _track_problems(record)
    if "tempo" in record:
        yield from _tempo_problems(record)
    yield from _signature_problems(record)
    if "origin" in record:
        yield from _origin_problems(record)
    span = {key: record[key] for key in _SPAN_KEYS if key in record}
    if span:
        yield from _span_problems(span, "midi" in record or "piece_id" in record)


@functools.lru_cache(4096)
def _tempo(value: float) -> float:
    return canonical_tempo(tempo_to_microseconds(value))


def _is_text(value: object) -> bool:
    return isinstance(value, str) and value != "" and "\0" not in value


def _track_problems(record: dict[str, Any]) -> Iterator[str]:
    track = record["track"]
    if not (_in_range(track, 0, 2**31) or isinstance(track, str) and track):
        yield f"track is {track!r}, want the number of a track, from 0, or its name"
    if "midi" not in record:
        yield "'track' chooses a track of a MIDI file, and there is no 'midi'"


def _tempo_problems(record: dict[str, Any]) -> Iterator[str]:
    if "notes" not in record:
        yield "'tempo' is for inline 'notes', and there are none"
    try:
        if not is_number(record["tempo"]):
            raise ValueError(f"tempo is {record['tempo']!r}, want a number, quarter notes per minute")
        _tempo(record["tempo"])
    except (ValueError, OverflowError) as error:  # overflow: an extremely slow tempo
        yield str(error)


def _origin_problems(record: dict[str, Any]) -> Iterator[str]:
    origin = record["origin"]
    if not isinstance(origin, dict) or not all(type(value) in (str, int) for value in origin.values()):
        yield f"origin is {origin!r}, want an object of texts and whole numbers"
    if "notes" not in record:
        yield "'origin' is for inline 'notes', and there are none"


def _signature_problems(record: dict[str, Any]) -> Iterator[str]:
    for index, key in enumerate(_SIGNATURE_KEYS):
        if key not in record:
            continue
        if "notes" not in record:
            yield f"{key!r} is for inline 'notes', and there are none"
        text = record[key]
        try:
            if not isinstance(text, str) or not text:
                raise ValueError(f"{text!r}, want text")
            Signatures.parse(*("", text) if index else (text,))
        except ValueError as error:
            yield f"{key} is {error}"


def _span_problems(span: dict[str, Any], has_source: bool) -> Iterator[str]:
    if not has_source:
        yield f"{', '.join(map(repr, span))} chooses notes of a file or a piece, and there is no 'midi' or 'piece_id'"
    for key, low in (("from_note", 0), ("num_notes", 1)):
        if key in span and not _in_range(span[key], low, 2**31):
            yield f"{key} is {span[key]!r}, want a whole number, {low} or more"
    seconds = [key for key in ("from_seconds", "to_seconds") if key in span]
    if seconds and len(seconds) < len(span):
        yield f"there are both {', '.join(map(repr, span))}, want a range of notes or one of seconds"
    valid = [key for key in seconds if is_number(span[key]) and span[key] >= 0]
    for key in (key for key in seconds if key not in valid):
        yield f"{key} is {span[key]!r}, want a number, 0 or more"
    if len(valid) == 2 and not span["from_seconds"] < span["to_seconds"]:
        yield f"to_seconds is {span['to_seconds']}, want more than from_seconds, {span['from_seconds']}"


def _in_range(value: object, low: int, high: int) -> bool:
    return is_whole(value) and low <= value <= high
