"""Preference pairs: which of two pieces is better. `generation_jobs.pairs` writes them, `trainer.finetune` reads them.

    {"format_version": 1, "time_base": "beats",
     "pieces": {"a-00000": {"ended": true, "tempo": 120.0, "start": [0, 24], "pitch": [...], ...}, ...},
     "pairs": [{"better": "a-00000", "worse": "a-00003"}, ...]}

The notes are in the file, so it needs nothing else. `ended` says whether a piece ended by itself: only then was its END
drawn, and is part of its likelihood.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, TypedDict

import numpy as np

from job_runtime import json_text, storage
from job_runtime.problem_report import UserError
from midi_codec.music.notes import COLUMN_DTYPES, TIME_BASES, Notes

FORMAT_VERSION = 1


@dataclasses.dataclass(frozen=True)
class Example:
    """A piece that was compared with others.

    Attributes:
      name: of the piece, unique in its file.
      notes: its notes, from the first onset on.
      ended: whether it ended by itself.
    """

    name: str
    notes: Notes
    ended: bool


@dataclasses.dataclass(frozen=True)
class Pair:
    """The names of two pieces."""

    better: str
    worse: str


class _Piece(TypedDict):
    ended: bool
    tempo: Annotated[float, json_text.Constraint(lambda value: value > 0, "a number above 0")]
    start: tuple[int, ...]
    duration: tuple[int, ...]
    pitch: tuple[int, ...]
    velocity: tuple[int, ...]
    program: tuple[int, ...]


class _Versioned(TypedDict):
    format_version: Annotated[int, json_text.Constraint(lambda value: value == FORMAT_VERSION, f"{FORMAT_VERSION}")]


class _File(_Versioned):
    time_base: Annotated[str, json_text.Constraint(TIME_BASES.__contains__, " or ".join(TIME_BASES))]
    pieces: Mapping[str, _Piece]
    pairs: tuple[Pair, ...]


def write(path: str, pieces: Sequence[Example], pairs: Sequence[Pair], *, time_base: str) -> None:
    """Writes the pairs, and those of the pieces that are in one."""
    used = {name for pair in pairs for name in (pair.better, pair.worse)}
    described = {
        "format_version": FORMAT_VERSION,
        "time_base": time_base,
        "pieces": {piece.name: _described(piece) for piece in pieces if piece.name in used},
        "pairs": [dataclasses.asdict(pair) for pair in pairs],
    }
    storage.write_bytes(path, (json.dumps(described) + "\n").encode())


def _described(piece: Example) -> dict[str, Any]:
    notes = piece.notes
    return {
        "ended": piece.ended,
        "tempo": notes.tempo,
        **{name: getattr(notes, name).tolist() for name in COLUMN_DTYPES},
    }


def read(path: str) -> tuple[list[tuple[Example, Example]], str]:
    """The pairs, each the better piece first, and their grid.

    Raises:
      UserError: the file cannot be read; everything that is wrong with it.
    """
    try:
        json_text.load(path, _Versioned)
        found = json_text.load(path, _File)
    except FileNotFoundError as error:
        raise UserError(f"{path} does not exist, want a file that generation_jobs.pairs wrote") from error
    problems: list[str] = []
    pieces = {name: _example(name, piece, found["time_base"], problems) for name, piece in found["pieces"].items()}
    for number, pair in enumerate(found["pairs"]):
        names = (pair["better"], pair["worse"])
        problems += [f"pairs[{number}] names {name!r}, want one of the pieces" for name in names if name not in pieces]
        if names[0] == names[1]:
            problems.append(f"pairs[{number}] compares {names[0]!r} with itself, want another piece")
    if not found["pairs"]:
        problems.append("pairs is empty, want at least one")
    if problems:
        raise UserError(f"{path}: {problem}" for problem in json_text.JsonError(problems).problems)
    return [(pieces[pair["better"]], pieces[pair["worse"]]) for pair in found["pairs"]], found["time_base"]


def _example(name: str, piece: _Piece, time_base: str, problems: list[str]) -> Example:
    notes = Notes.empty(time_base)
    columns = {column: np.array(piece[column], np.int64) for column in COLUMN_DTYPES}  # type: ignore[literal-required]
    try:
        notes = Notes.from_columns(**columns, tempo=piece["tempo"], time_base=time_base)
    except ValueError as error:
        problems.append(f"pieces.{name}: {error}")
    return Example(name, notes.from_first_onset(), piece["ended"])
