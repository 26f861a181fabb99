"""Notes written into a seed list: a primer without a MIDI file.

Two forms mean the same. A list of notes, for people:

    [{"pitch": 60, "velocity": 80, "start_seconds": 0.0, "duration_seconds": 0.5}, ...]

and columns of one length, for programs and long primers:

    {"pitch": [60, ...], "velocity": [80, ...], "start_seconds": [0.0, ...], "duration_seconds": [0.5, ...]}

Times are in seconds or in beats (quarter notes), as the keys say; `program` (0 to 127, 128 for drums) may be left out,
and is then the bundle's only program, or 0. The seed's `tempo`, in quarter notes per minute, converts the unit where
the bundle's grid has the other one. Nothing here loops over notes in Python.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import operator
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from midi_codec.music.notes import (
    COLUMN_RANGES,
    DEFAULT_TEMPO,
    MILLISECONDS,
    TICKS_PER_BEAT,
    TICKS_PER_SECOND,
    Notes,
)

SECONDS = "seconds"
BEATS = "beats"
MAX_TIME = 100_000  # of a start or a duration, seconds or beats: whatever the tempo, ticks stay below 2^31

_FEW = 8  # are parsed one by one if anything is wrong with them
_WHOLE_KEYS = ("pitch", "velocity", "program")
_TIME_NAMES = ("start", "duration")
_DECIMALS = {SECONDS: 3, BEATS: 6}  # as written; enough for a tick of either grid to come back exactly


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class InlineNotes:
    """A primer's notes in the given order; times in `unit`, not yet on a grid."""

    pitch: np.ndarray  # [n] int64
    velocity: np.ndarray  # [n] int64
    program: np.ndarray | None  # [n] int64, where given
    start: np.ndarray  # [n] float64, `unit`
    duration: np.ndarray  # [n] float64, `unit`
    unit: str

    @classmethod
    def from_notes(cls, notes: Notes) -> InlineNotes:
        """The same notes, in seconds for the grid of milliseconds, otherwise in beats."""
        unit, ticks = (SECONDS, TICKS_PER_SECOND) if notes.time_base == MILLISECONDS else (BEATS, TICKS_PER_BEAT)
        return cls(
            pitch=notes.pitch.astype(np.int64),
            velocity=notes.velocity.astype(np.int64),
            program=notes.program.astype(np.int64),
            start=np.round(notes.start / ticks, _DECIMALS[unit]),
            duration=np.round(notes.duration / ticks, _DECIMALS[unit]),
            unit=unit,
        )

    def to_record(self) -> dict[str, list[Any]]:
        """Columns as in a seed list; `parse` is the inverse."""
        record = {"pitch": self.pitch.tolist(), "velocity": self.velocity.tolist()}
        for name in _TIME_NAMES:
            record[f"{name}_{self.unit}"] = np.round(getattr(self, name), _DECIMALS[self.unit]).tolist()
        if self.program is not None:
            record["program"] = self.program.tolist()
        return record


def to_ticks(
    seeds: Sequence[InlineNotes], *, tempos: Sequence[float | None], time_base: str, program: int
) -> dict[str, np.ndarray]:
    """Columns of all seeds' notes, one seed after another, with times in whole ticks of the grid; halves round up.

    Args:
      tempos: quarter notes per minute of each seed, None for the default.
      program: for notes without one.
    """
    if not seeds:
        return {name: np.empty(0, np.int64) for name in (*_WHOLE_KEYS, *_TIME_NAMES)}
    factors = [_ticks_per_unit(notes.unit, tempo, time_base) for notes, tempo in zip(seeds, tempos, strict=True)]
    ticks = np.repeat(factors, [len(notes.pitch) for notes in seeds])
    columns = {name: np.concatenate([getattr(notes, name) for notes in seeds]) for name in ("pitch", "velocity")}
    columns["program"] = np.concatenate(
        [_same(program, len(notes.pitch)) if notes.program is None else notes.program for notes in seeds]
    )
    for name in _TIME_NAMES:
        times = np.concatenate([getattr(notes, name) for notes in seeds])
        columns[name] = np.floor(times * ticks + 0.5).astype(np.int64)
    return columns


@functools.lru_cache(1024)
def _same(value: int, length: int) -> np.ndarray:
    return np.full(length, value)


def _ticks_per_unit(unit: str, tempo: float | None, time_base: str) -> float:
    seconds_per_beat = 60.0 / (DEFAULT_TEMPO if tempo is None else tempo)
    if time_base == MILLISECONDS:
        return TICKS_PER_SECOND * (1.0 if unit == SECONDS else seconds_per_beat)
    return TICKS_PER_BEAT / (1.0 if unit == BEATS else seconds_per_beat)


Parsed = tuple["InlineNotes | None", list[str]]  # the notes, or what is wrong with them (without the line)


def parse_many(values: Sequence[object]) -> list[Parsed]:
    """`parse` of each; those with the same keys are checked and converted together."""
    parsed: list[Parsed | None] = [None] * len(values)
    alike: dict[tuple[str, ...], list[int]] = {}
    columns = list(values)
    for index, value in enumerate(values):
        if isinstance(value, list):
            columns[index], problems = _columns_of_list(value)
            if problems:
                parsed[index] = None, problems
                continue
        if isinstance(columns[index], dict):
            alike.setdefault(tuple(columns[index]), []).append(index)  # type: ignore[arg-type]
    for members in alike.values():
        for index, notes in _parse_alike(members, columns):
            parsed[index] = notes, []
    return [parse(value) if done is None else done for value, done in zip(values, parsed, strict=True)]


def _parse_alike(members: Sequence[int], columns: Sequence[Any]) -> Iterator[tuple[int, InlineNotes]]:
    """Those of the members, which have the same keys, that are in order."""
    joined = _join([columns[index] for index in members])
    if joined is not None:
        whole, times, unit, lengths = joined
        stops = list(itertools.accumulate(lengths))
        for index, begin, stop in zip(members, [0, *stops], stops, strict=False):
            own = {name: None if all_of is None else all_of[begin:stop] for name, all_of in whole.items()}
            own |= {name: all_of[begin:stop] for name, all_of in times.items()}
            yield index, InlineNotes(**own, unit=unit)  # type: ignore[arg-type]  # only `program` may be None
    elif len(members) > _FEW:
        for half in (members[: len(members) // 2], members[len(members) // 2 :]):
            yield from _parse_alike(half, columns)


def _join(
    columns: Sequence[dict[str, Any]],
) -> tuple[dict[str, np.ndarray | None], dict[str, np.ndarray], str, list[int]] | None:
    """The columns of all, one after another, their unit, and the lengths; None if anything is wrong with them."""
    keys = columns[0].keys()
    unit = SECONDS if "start_seconds" in keys else BEATS
    time_keys = {name: f"{name}_{unit}" for name in _TIME_NAMES}
    if keys - {"program"} != {"pitch", "velocity", *time_keys.values()}:
        return None
    lists = {key: [each[key] for each in columns] for key in keys}
    if any(set(map(type, all_of)) != {list} for all_of in lists.values()):
        return None
    lengths = list(map(len, lists["pitch"]))
    if not min(lengths) or any(list(map(len, all_of)) != lengths for all_of in lists.values()):
        return None
    joined = {key: _joined(key, all_of) for key, all_of in lists.items()}
    if any(array is None for array in joined.values()):
        return None
    times = {name: joined[key] for name, key in time_keys.items()}
    return {name: joined.get(name) for name in _WHOLE_KEYS}, times, unit, lengths  # type: ignore[return-value]


def _joined(key: str, lists: Sequence[list[Any]]) -> np.ndarray | None:
    """The values of a column of several seeds; None if any is not of its type or out of range."""
    values = list(itertools.chain.from_iterable(lists))
    valid_types, low, high = _valid(key)
    if not set(map(type, values)) <= valid_types:
        return None
    try:
        array = np.array(values, np.int64 if key in _WHOLE_KEYS else np.float64)
    except OverflowError:
        return None
    return array if low <= array.min() and array.max() <= high else None


def parse(value: object) -> Parsed:
    """Checks the `notes` of a seed."""
    columns: object = value
    if isinstance(value, list):
        columns, problems = _columns_of_list(value)
        if problems:
            return None, problems
    if not isinstance(columns, dict):
        return None, [f"notes is {_short(value)}, want a list of notes or an object of columns"]
    problems = list(_problems(columns))
    if problems:
        return None, problems
    unit = SECONDS if "start_seconds" in columns else BEATS
    whole = {name: np.array(columns[name], np.int64) if name in columns else None for name in _WHOLE_KEYS}
    times = {name: np.array(columns[f"{name}_{unit}"], np.float64) for name in _TIME_NAMES}
    return InlineNotes(**whole, **times, unit=unit), []  # type: ignore[arg-type]  # only `program` may be None


def _columns_of_list(notes: list[Any]) -> tuple[dict[str, list[Any]], list[str]]:
    if not notes:
        return {}, ["notes is empty, want at least one; to start from silence leave the key out"]
    kinds = list(map(type, notes))
    if set(kinds) != {dict}:
        index = next(index for index, kind in enumerate(kinds) if kind is not dict)
        return {}, [f"notes[{index}] is {_short(notes[index])}, want an object"]
    keys = tuple(notes[0])
    same = list(map(notes[0].keys().__eq__, map(dict.keys, notes)))
    if not all(same):
        index = same.index(False)
        return {}, [f"notes[{index}] has the keys {_keys(notes[index])}, want those of notes[0]: {_keys(notes[0])}"]
    if len(keys) < 2:  # itemgetter with one key returns no tuple; a key is missing anyway
        return {key: [note[key] for note in notes] for key in keys}, []
    rows = map(operator.itemgetter(*keys), notes)
    return dict(zip(keys, map(list, zip(*rows, strict=True)), strict=True)), []


def _problems(columns: dict[str, Any]) -> Iterator[str]:
    units = [unit for unit in (SECONDS, BEATS) if f"start_{unit}" in columns or f"duration_{unit}" in columns]
    if len(units) > 1:
        yield "notes has times in seconds and in beats, want one of them"
        return
    times = [f"{name}_{(units or [SECONDS])[0]}" for name in _TIME_NAMES]
    known = {*_WHOLE_KEYS, *times}
    yield from (f"notes has the unknown key {key!r}, want {_keys(known)}" for key in sorted(columns.keys() - known))
    missing = known - {"program"} - columns.keys()
    yield from (f"notes has no {key!r}" + " (or beats)" * (not units and key in times) for key in sorted(missing))
    lengths = {}
    for key in (key for key in columns if key in known):
        if isinstance(columns[key], list):
            lengths[key] = len(columns[key])
            yield from _column_problems(key, columns[key])
        else:
            yield f"notes.{key} is {_short(columns[key])}, want a list"
    if len(set(lengths.values())) > 1:
        yield f"notes has columns of different lengths: {', '.join(f'{key} {n}' for key, n in lengths.items())}"
    elif 0 in lengths.values():
        yield "notes is empty, want at least one; to start from silence leave the key out"


def _column_problems(key: str, values: list[Any]) -> Iterator[str]:
    """The first invalid value of a column; a column without one is checked at C speed."""
    valid_types, low, high = _valid(key)
    kinds = set(map(type, values))
    if kinds <= valid_types and (not values or low <= min(values) and max(values) <= high):
        return
    wanted = f"a whole number, {low} to {high}" if key in _WHOLE_KEYS else f"a number, {low} to {high}"
    for index, value in enumerate(values):
        if type(value) not in valid_types or not low <= value <= high:
            yield f"notes.{key}[{index}] is {_short(value)}, want {wanted}"
            return


def _valid(key: str) -> tuple[set[type], int, int]:
    """The exact types (True is not a number) and the range of a column's values."""
    return ({int}, *COLUMN_RANGES[key]) if key in _WHOLE_KEYS else ({int, float}, 0, MAX_TIME)


def _keys(keys: object) -> str:
    return ", ".join(map(str, sorted(keys)))  # type: ignore[call-overload]


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
