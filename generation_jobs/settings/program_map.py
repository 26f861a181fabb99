"""What becomes of a primer's programs that the model should not, or cannot, go on from.

0:110,48:40    program 0 becomes 110, and 48 becomes 40
128:drop       the drums are left out
nearest        each program that the model does not know becomes the nearest one that it knows: of its family of
               eight if there is one, else of the nearest family; drums and the others never become each other
0:110,nearest  both: `nearest` is for those that are not named
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from midi_codec.cleaning.note_policies import FAMILY_SIZE, with_programs
from midi_codec.music.note_batch import NoteBatch
from midi_codec.music.notes import COLUMN_DTYPES, DRUM_PROGRAM, MILLISECONDS, Notes

NEAREST, DROP = "nearest", "drop"
WANTED = "FROM:TO pairs of programs (0 to 128, drums), TO also 'drop', and 'nearest' for the others: '0:110,nearest'"
MAX_SHOWN = 8  # pairs of an advice
_DROPPED = 255


@dataclasses.dataclass(frozen=True)
class ProgramMap:
    """What a setting says."""

    pairs: Mapping[int, int | None]  # None: left out
    has_nearest: bool

    def targets(self) -> list[int]:
        """The programs that the model has to know, ascending."""
        return sorted({program for program in self.pairs.values() if program is not None})

    def lookup(self, known: Sequence[int]) -> np.ndarray:
        """`[129]` uint8: what becomes of each program with a model that knows these; `_DROPPED`: it is left out."""
        table = np.arange(DRUM_PROGRAM + 1, dtype=np.uint8)
        if self.has_nearest:
            for program in set(range(DRUM_PROGRAM)) - set(known):
                found = nearest(program, known)
                table[program] = program if found is None else found
        for program, other in self.pairs.items():
            table[program] = _DROPPED if other is None else other
        return table


def parse(text: str) -> ProgramMap:
    """
    Raises:
      ValueError: not a list of pairs.
    """
    pairs: dict[int, int | None] = {}
    parts = [part.strip() for part in text.split(",")]
    for part in parts:
        if part == NEAREST:
            continue
        one, _, other = part.partition(":")
        if _program(one) in pairs:
            raise ValueError(f"{text!r} maps {one} twice")
        pairs[_program(one)] = None if other == DROP else _program(other)
    if parts.count(NEAREST) > 1:
        raise ValueError(f"{text!r} has {NEAREST} twice")
    return ProgramMap(pairs, NEAREST in parts)


def is_right(value: object) -> bool:
    try:
        return isinstance(value, str) and parse(value) is not None
    except ValueError:
        return False


def _program(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) <= 3 and int(text) <= DRUM_PROGRAM):
        raise ValueError(f"{text!r} is no program")
    return int(text)


def nearest(program: int, known: Sequence[int]) -> int | None:
    """Of the programs that a model knows; None for drums, and where it knows drums alone."""
    melodic = [other for other in known if other != DRUM_PROGRAM]
    if program == DRUM_PROGRAM or not melodic:
        return None
    family = program // FAMILY_SIZE
    return min(melodic, key=lambda other: (abs(other // FAMILY_SIZE - family), abs(other - program), other))


def advice(unknown: Sequence[int], known: Sequence[int]) -> str:
    """How to have these programs mapped, for a message."""
    targets = [nearest(program, known) for program in unknown[:MAX_SHOWN]]
    pairs = [f"{one}:{DROP if to is None else to}" for one, to in zip(unknown, targets, strict=False)]
    text = f"want --map-programs {','.join(pairs)}" + (" and so on" if len(unknown) > MAX_SHOWN else "")
    others = [] if None in targets else [f"--map-programs {NEAREST}"]
    return " or ".join([text, *others]) + ", or map_programs of the seed"


def apply(columns: Mapping[str, np.ndarray], lookup: np.ndarray) -> dict[str, np.ndarray]:
    """A primer's columns with other programs; of notes that then share onset, pitch and program one is left."""
    program = lookup[columns["program"]]
    if np.array_equal(program, columns["program"]):
        return dict(columns)
    kept = np.flatnonzero(program != _DROPPED)
    notes = Notes.from_columns(
        pitch=columns["pitch"][kept],
        velocity=columns["velocity"][kept],
        start=columns["start"][kept],
        duration=columns["duration"][kept],
        program=columns["program"][kept],
    )
    batch = NoteBatch.from_notes([notes], MILLISECONDS)  # nothing here depends on the grid
    batch = with_programs(batch, lookup[notes.program])
    return {name: getattr(batch, name) for name in COLUMN_DTYPES}
