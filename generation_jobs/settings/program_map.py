"""What becomes of a primer's programs that the model should not, or cannot, continue.

0:110,48:40    program 0 becomes 110, and 48 becomes 40
128:drop       the drums are left out
nearest        each program that the model does not know becomes the nearest one that it knows: in its family of
               eight if there is one, else in the nearest family; drums and other programs never become each other
0:110,nearest  both: `nearest` applies to the programs that are not named
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from midi_codec.cleaning.note_policies import FAMILY_SIZE, with_programs
from midi_codec.music.note_batch import NoteBatch
from midi_codec.music.notes import COLUMN_DTYPES, DRUM_PROGRAM, MILLISECONDS, Notes

NEAREST, DROP = "nearest", "drop"
WANTED = "FROM:TO pairs, such as '0:110,nearest'; TO is a program (128: drums) or 'drop'; add 'nearest' for the rest"
MAX_SHOWN = 8  # pairs in a suggestion
_DROPPED = 255


@dataclasses.dataclass(frozen=True)
class ProgramMap:
    """A parsed `map_programs`."""

    pairs: Mapping[int, int | None]  # None: left out
    has_nearest: bool

    def targets(self) -> list[int]:
        """The programs that the model must know, ascending."""
        return sorted({program for program in self.pairs.values() if program is not None})

    def lookup(self, known: Sequence[int]) -> np.ndarray:
        """`[129]` uint8: what each program becomes with a model that knows these; `_DROPPED`: it is left out."""
        table = np.arange(DRUM_PROGRAM + 1, dtype=np.uint8)
        if self.has_nearest:
            for program in set(range(DRUM_PROGRAM)) - set(known):
                target = nearest(program, known)
                table[program] = program if target is None else target
        for program, target in self.pairs.items():
            table[program] = _DROPPED if target is None else target
        return table


def parse(text: str) -> ProgramMap:
    """Reads the text of `map_programs`.

    Raises:
      ValueError: not a list of pairs.
    """
    pairs: dict[int, int | None] = {}
    rules = [rule.strip() for rule in text.split(",")]
    for rule in rules:
        if rule == NEAREST:
            continue
        source, _, target = rule.partition(":")
        if _program(source) in pairs:
            raise ValueError(f"{text!r} maps {source} twice")
        pairs[_program(source)] = None if target == DROP else _program(target)
    if rules.count(NEAREST) > 1:
        raise ValueError(f"{text!r} has {NEAREST} twice")
    return ProgramMap(pairs, NEAREST in rules)


def is_valid(value: object) -> bool:
    try:
        return isinstance(value, str) and parse(value) is not None
    except ValueError:
        return False


def _program(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) <= 3 and int(text) <= DRUM_PROGRAM):
        raise ValueError(f"{text!r} is not a program")
    return int(text)


def nearest(program: int, known: Sequence[int]) -> int | None:
    """The nearest program that a model knows; None for drums, and where the model knows only drums."""
    melodic = [other for other in known if other != DRUM_PROGRAM]
    if program == DRUM_PROGRAM or not melodic:
        return None
    family = program // FAMILY_SIZE
    return min(melodic, key=lambda other: (abs(other // FAMILY_SIZE - family), abs(other - program), other))


def advice(unknown: Sequence[int], known: Sequence[int]) -> str:
    """How to map these programs, for an error message."""
    targets = [nearest(program, known) for program in unknown[:MAX_SHOWN]]
    pairs = [f"{source}:{DROP if to is None else to}" for source, to in zip(unknown, targets, strict=False)]
    text = f"want --map-programs {','.join(pairs)}" + (" and so on" if len(unknown) > MAX_SHOWN else "")
    others = [] if None in targets else [f"--map-programs {NEAREST}"]
    return " or ".join([text, *others]) + ", or map_programs of the seed"


def apply(columns: Mapping[str, np.ndarray], lookup: np.ndarray) -> dict[str, np.ndarray]:
    """A primer's columns with their programs mapped; of notes that then share onset, pitch and program one remains."""
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
