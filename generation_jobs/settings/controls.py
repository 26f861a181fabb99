"""Constraints of a piece in a musician's words, on a bundle's grid: what they allow, and whether they can be kept.

    pitch_classes   "D minor", or [2, 4, 5, 7, 9, 10, 0] (0 is C)
    min_step ...    "0.25 beats" or "0.5 seconds"; on a grid of the other kind the piece's tempo converts

No TensorFlow here: all settings of a job are checked before a model is loaded.
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from midi_codec import fields
from midi_codec.music.notes import DEFAULT_TEMPO, Notes, seconds_per_tick

MAX_POLYPHONY = 32  # notes that a slot remembers the ends of
MAX_PENALTY = 1000.0
MAX_DENSITY = 1000.0  # notes a second
MASKED = -1e9  # `trainer.model.heads.MASKED_LOGIT`
_TONICS = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}
_SCALES = {"major": (0, 2, 4, 5, 7, 9, 11), "minor": (0, 2, 3, 5, 7, 8, 10)}
_KEY = re.compile(r"([A-G])([#b]?) (major|minor)")
_TIME = re.compile(r"([0-9]+(?:\.[0-9]+)?|[0-9]+/[0-9]+) ?(s|seconds?|beats?)")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Controls:
    """What a piece's notes must keep to; None: all are allowed. `docs/sampling.md` says what each does."""

    min_pitch: int | None = None
    max_pitch: int | None = None
    pitch_classes: str | Sequence[int] | None = None
    programs: Sequence[int] | None = None
    max_polyphony: int | None = None
    min_step: str | None = None
    max_step: str | None = None
    min_duration: str | None = None
    max_duration: str | None = None
    notes_per_second: float | None = None
    repetition_penalty: float = 1.0

    @property
    def is_free(self) -> bool:
        return self == Controls()


def pitch_classes(value: str | Sequence[int]) -> frozenset[int]:
    """Classes, 0 is C.

    Raises:
      ValueError: neither a key nor a list of classes.
    """
    if isinstance(value, str):
        found = _KEY.fullmatch(value)
        if not found:
            raise ValueError(f"{value!r} is no key")
        tonic = _TONICS[found[1]] + {"": 0, "#": 1, "b": -1}[found[2]]
        return frozenset((tonic + place) % 12 for place in _SCALES[found[3]])
    return frozenset(value)


def parse_time(text: str) -> tuple[float, bool]:
    """A number, and whether it is of beats (else of seconds).

    Raises:
      ValueError: not a number and its unit.
    """
    found = _TIME.fullmatch(text)
    if not found:
        raise ValueError(f"{text!r} is no time")
    above, _, below = found[1].partition("/")
    if below and not int(below):
        raise ValueError(f"{text!r} divides by 0")
    return float(above) / float(below or 1), found[2].startswith("beat")


def is_time(value: Any) -> bool:
    """A number and its unit, below six hours."""
    try:
        return isinstance(value, str) and parse_time(value)[0] <= 21_600
    except ValueError:
        return False


def ticks(text: str, time_base: str, tempo: float, *, up: bool) -> int:
    """A time on a grid, rounded up or down: never beyond the limit that was asked for."""
    number, is_beats = parse_time(text)
    seconds = number * 60.0 / tempo if is_beats else number
    exact = seconds / seconds_per_tick(time_base, tempo)
    near = round(exact)
    if math.isclose(exact, near, rel_tol=1e-9):
        return near
    return math.ceil(exact) if up else math.floor(exact)


@dataclasses.dataclass(frozen=True, eq=False)
class Allowed:
    """`Controls` on a field table: masks by bin, and first and last ticks of the time fields."""

    pitch: np.ndarray  # [num_bins] bool
    program: np.ndarray | None  # [num_bins] bool; None: the table has no such field
    step: tuple[int, int]
    duration: tuple[int, int]

    @classmethod
    def of(cls, controls: Controls, table: fields.FieldTable, tempo: float = DEFAULT_TEMPO) -> Allowed:
        pitches = table["pitch"].lows
        pitch = (pitches >= (controls.min_pitch or 0)) & (
            pitches <= (127 if controls.max_pitch is None else controls.max_pitch)
        )
        if controls.pitch_classes is not None:
            pitch &= _members(pitch_classes(controls.pitch_classes), 12)[pitches % 12]
        program = None
        if "program" in table.names:
            values = table["program"].lows
            program = np.ones(len(values), bool)
            if controls.programs is not None:
                program = _members(controls.programs, 129)[values]

        def span(name: str) -> tuple[int, int]:
            low, high = getattr(controls, f"min_{name}"), getattr(controls, f"max_{name}")
            first = 0 if low is None else ticks(low, table.time_base, tempo, up=True)
            last = fields.MAX_TICK if high is None else ticks(high, table.time_base, tempo, up=False)
            return first, min(last, table[name].largest)

        return cls(pitch, program, span("step"), span("duration"))


def _members(values: Iterable[int], size: int) -> np.ndarray:
    """`[size]` bool: which numbers are among the values."""
    found: np.ndarray = np.zeros(size, bool)
    found[list(values)] = True
    return found


def misfits(controls: Controls, table: fields.FieldTable, primer: Notes | None = None) -> Iterator[str]:
    """Why a piece with this table and primer cannot keep to them: `pitch_classes, min_pitch: no pitch is left`."""
    yield from tempo_misfits(controls, table, DEFAULT_TEMPO if primer is None else primer.tempo)
    if primer is not None:
        yield from primer_misfits(controls, table, primer)


def tempo_misfits(controls: Controls, table: fields.FieldTable, tempo: float) -> Iterator[str]:
    """Why no piece of this tempo can, whatever its primer."""
    allowed = Allowed.of(controls, table, tempo)
    if not allowed.pitch.any():
        yield "min_pitch, max_pitch and pitch_classes leave no pitch of the model's to draw"
    yield from program_misfits("programs", controls.programs or (), table)
    for name, (low, high) in (("step", allowed.step), ("duration", allowed.duration)):
        given = [f"{end}_{name}" for end in ("min", "max") if getattr(controls, f"{end}_{name}") is not None]
        is_steered = name == "step" and (controls.notes_per_second or controls.max_polyphony)
        if table[name].loss != fields.CATEGORICAL and (given or is_steered or controls.max_polyphony):
            yield (
                f"{', '.join(given) or 'max_polyphony or notes_per_second'}: the model's {name} is a number, not a "
                "class, and cannot be limited; want a model trained with --timing-loss categorical"
            )
        elif given and low > high:
            longest = table[name].largest * seconds_per_tick(table.time_base, tempo)
            yield (
                f"{' and '.join(given)} leave no {name} to draw: none lies on the grid of {table.time_base} up to the "
                f"model's longest, {longest:g} seconds"
            )
    if allowed.step[1] < 1 and controls.max_step is not None:
        yield f"max_step is {controls.max_step!r}, less than a tick: no note could follow a chord"
    if controls.max_polyphony is not None and allowed.duration[0] > allowed.step[1]:
        yield "min_duration is longer than any step that may be drawn, so max_polyphony cannot be kept"


def primer_misfits(controls: Controls, table: fields.FieldTable, primer: Notes) -> Iterator[str]:
    """Why a piece that goes on from this primer cannot, where another could."""
    limit = controls.max_polyphony
    if limit is None or len(primer) < limit:
        return
    left = np.sort(primer.start.astype(np.int64) + np.maximum(primer.duration, 1))[-limit] - int(primer.start[-1])
    if left > 0 and left > Allowed.of(controls, table, primer.tempo).step[1]:
        yield f"max_polyphony is {limit}, but the primer's notes sound on for longer than any step that is allowed"


def program_misfits(name: str, programs: Sequence[int], table: fields.FieldTable) -> Iterator[str]:
    """Why a setting cannot ask for these programs."""
    known = table["program"].values if "program" in table.names else (table.only_program,)
    others = sorted(set(programs) - set(known))
    if others:
        yield f"{name} has {', '.join(map(str, others))}, which the model does not know; it knows {_some(known)}"


def _some(values: Sequence[Any]) -> str:
    shown = ", ".join(map(str, values[:5]))
    return shown if len(values) <= 5 else f"{shown} and {len(values) - 5} more"


def columns(controls: Sequence[Controls], tempos: Sequence[float], table: fields.FieldTable) -> dict[str, np.ndarray]:
    """A row a piece of what `trainer.sampling.constraints` takes; an array a name."""
    found = [Allowed.of(one, table, tempo) for one, tempo in zip(controls, tempos, strict=True)]

    def masks(name: str, rows: list[np.ndarray]) -> np.ndarray:
        offsets = np.full((len(rows), table[name].width), MASKED, np.float32)
        offsets[:, : table[name].num_bins] = np.where(np.array(rows), 0.0, MASKED)
        return offsets

    per_second = [
        0.0 if one.notes_per_second is None else one.notes_per_second * seconds_per_tick(table.time_base, tempo)
        for one, tempo in zip(controls, tempos, strict=True)
    ]
    arrays = {
        "pitch_mask": masks("pitch", [one.pitch for one in found]),
        "highest_pitch": np.array([np.flatnonzero(one.pitch)[-1] for one in found], np.int32),
        "step_limits": np.array([one.step for one in found], np.int32),
        "duration_limits": np.array([one.duration for one in found], np.int32),
        "max_polyphony": np.array([one.max_polyphony or 0 for one in controls], np.int32),
        "notes_per_tick": np.array(per_second, np.float32),
        "log_penalty": np.log([one.repetition_penalty for one in controls]).astype(np.float32),
    }
    if "program" in table.names:
        programs = [one.program for one in found if one.program is not None]
        arrays["program_mask"] = masks("program", programs)
        arrays["highest_program"] = np.array([np.flatnonzero(own)[-1] for own in programs], np.int32)
    return arrays
