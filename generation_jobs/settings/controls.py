"""The constraints of a piece on a bundle's grid: what they allow, and whether they can be kept.

No TensorFlow here: all settings of a job are checked before a model is loaded.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from generation_jobs.settings.value_kinds import KEY, PROGRAMS, TIME, parse_time, pitch_classes
from job_runtime.command_line.settings import setting
from job_runtime.problem_report import first_few
from midi_codec import fields
from midi_codec.music.notes import DEFAULT_TEMPO, Notes, seconds_per_tick

CONTROLS = "what the notes keep to"  # the group of flags in `--help`
MAX_POLYPHONY = 32  # the decoder remembers the ends of this many notes per slot
MAX_PENALTY = 1000.0
MAX_NOTES_PER_SECOND = 1000.0
MASKED = -1e9  # `trainer.model.heads.MASKED_LOGIT`


@dataclasses.dataclass(frozen=True, kw_only=True)
class Controls:
    """What a piece's notes must keep to; None: everything is allowed. `docs/sampling.md` explains each one."""

    min_pitch: int | None = setting(None, "lowest pitch, 60 is middle C", at_least=0, at_most=127, group=CONTROLS)
    max_pitch: int | None = setting(None, "highest pitch", at_least=0, at_most=127, group=CONTROLS)
    pitch_classes: str | Sequence[int] | None = setting(
        None,
        "key or pitch classes: only notes in it; minor is natural minor",
        kind=KEY,
        group=CONTROLS,
    )
    programs: Sequence[int] | None = setting(None, "only notes of these instruments", kind=PROGRAMS, group=CONTROLS)
    max_polyphony: int | None = setting(
        None,
        "most notes that sound at once, the primer's included; a note of no length counts as one tick",
        at_least=1,
        at_most=MAX_POLYPHONY,
        group=CONTROLS,
    )
    min_step: str | None = setting(
        None, "shortest time between onsets; above 0 it rules out chords", kind=TIME, group=CONTROLS
    )
    max_step: str | None = setting(None, "longest time between onsets", kind=TIME, group=CONTROLS)
    min_duration: str | None = setting(None, "shortest note", kind=TIME, group=CONTROLS)
    max_duration: str | None = setting(None, "longest note", kind=TIME, group=CONTROLS)
    notes_per_second: float | None = setting(
        None,
        "steer the steps towards this many notes per second",
        above=0,
        at_most=MAX_NOTES_PER_SECOND,
        group=CONTROLS,
    )
    repetition_penalty: float = setting(
        1.0,
        "divides the odds of a pitch once for each time it is among the last 16 notes; 1 for none",
        at_least=1,
        at_most=MAX_PENALTY,
        group=CONTROLS,
    )

    @property
    def is_free(self) -> bool:
        return self == Controls()


def ticks(text: str, time_base: str, tempo: float, *, up: bool) -> int:
    """A time in ticks of a grid, rounded up or down so that it never exceeds the requested limit."""
    number, is_beats = parse_time(text)
    seconds = number * 60.0 / tempo if is_beats else number
    exact = seconds / seconds_per_tick(time_base, tempo)
    nearest = round(exact)
    if math.isclose(exact, nearest, rel_tol=1e-9):
        return nearest
    return math.ceil(exact) if up else math.floor(exact)


@dataclasses.dataclass(frozen=True, eq=False)
class Allowed:
    """`Controls` for a field table: a mask per bin, and the first and last ticks of the time fields."""

    pitch: np.ndarray  # [num_bins] bool
    program: np.ndarray | None  # [num_bins] bool; None: the table has no program field
    step: tuple[int, int]
    duration: tuple[int, int]

    @classmethod
    def from_controls(cls, controls: Controls, table: fields.FieldTable, tempo: float = DEFAULT_TEMPO) -> Allowed:
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

        return cls(pitch, program, *(_span(controls, table, tempo, name) for name in ("step", "duration")))


def _span(controls: Controls, table: fields.FieldTable, tempo: float, name: str) -> tuple[int, int]:
    """The first and last ticks of a time field."""
    low, high = getattr(controls, f"min_{name}"), getattr(controls, f"max_{name}")
    first = 0 if low is None else ticks(low, table.time_base, tempo, up=True)
    last = fields.MAX_TICK if high is None else ticks(high, table.time_base, tempo, up=False)
    return first, min(last, table[name].largest)


def _members(values: Iterable[int], size: int) -> np.ndarray:
    """`[size]` bool: which numbers are among the values."""
    is_member: np.ndarray = np.zeros(size, bool)
    is_member[list(values)] = True
    return is_member


def control_problems(controls: Controls, table: fields.FieldTable, primer: Notes | None = None) -> Iterator[str]:
    """Why a piece with this table and primer cannot keep to the controls."""
    yield from tempo_problems(controls, table, DEFAULT_TEMPO if primer is None else primer.tempo)
    if primer is not None:
        yield from primer_problems(controls, table, primer)


def tempo_problems(controls: Controls, table: fields.FieldTable, tempo: float) -> Iterator[str]:
    """Why no piece of this tempo can keep to the controls, whatever its primer."""
    allowed = Allowed.from_controls(controls, table, tempo)
    if not allowed.pitch.any():
        yield "min_pitch, max_pitch and pitch_classes leave no pitch that the model can draw"
    yield from program_problems("programs", controls.programs or (), table)
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
                f"{' and '.join(given)} leave no {name} to draw: there is none on the grid of {table.time_base} up to "
                f"the model's longest, {longest:g} seconds"
            )
    if allowed.step[1] < 1 and controls.max_step is not None:
        yield f"max_step is {controls.max_step!r}, less than a tick: no note could follow a chord"
    if controls.max_polyphony is not None and allowed.duration[0] > allowed.step[1]:
        yield "min_duration is longer than any step that may be drawn, so max_polyphony cannot be kept"


def primer_problems(controls: Controls, table: fields.FieldTable, primer: Notes) -> Iterator[str]:
    """Why a piece that continues this primer cannot keep to the controls, though others could."""
    limit = controls.max_polyphony
    if limit is None or len(primer) < limit:
        return
    ends = np.sort(primer.start.astype(np.int64) + np.maximum(primer.duration, 1))
    ticks_until_room = ends[-limit] - int(primer.start[-1])
    if ticks_until_room > 0 and ticks_until_room > max(0, _span(controls, table, primer.tempo, "step")[1]):
        yield f"max_polyphony is {limit}, but the primer's notes keep sounding for longer than any allowed step"


def program_problems(name: str, programs: Sequence[int], table: fields.FieldTable) -> Iterator[str]:
    """Why the setting of this name cannot ask for these programs."""
    known = table["program"].values if "program" in table.names else (table.only_program,)
    others = sorted(set(programs) - set(known))
    if others:
        yield f"{name} has {', '.join(map(str, others))}, which the model does not know; it knows {first_few(known)}"


def columns(controls: Sequence[Controls], tempos: Sequence[float], table: fields.FieldTable) -> dict[str, np.ndarray]:
    """The arrays that `trainer.sampling.constraints` takes, by name; a row per piece."""
    allowed = [Allowed.from_controls(own, table, tempo) for own, tempo in zip(controls, tempos, strict=True)]

    def masks(name: str, rows: list[np.ndarray]) -> np.ndarray:
        offsets = np.full((len(rows), table[name].width), MASKED, np.float32)
        offsets[:, : table[name].num_bins] = np.where(np.array(rows), 0.0, MASKED)
        return offsets

    notes_per_tick = [
        0.0 if own.notes_per_second is None else own.notes_per_second * seconds_per_tick(table.time_base, tempo)
        for own, tempo in zip(controls, tempos, strict=True)
    ]
    arrays = {
        "pitch_mask": masks("pitch", [own.pitch for own in allowed]),
        "highest_pitch": np.array([np.flatnonzero(own.pitch)[-1] for own in allowed], np.int32),
        "step_limits": np.array([own.step for own in allowed], np.int32),
        "duration_limits": np.array([own.duration for own in allowed], np.int32),
        "max_polyphony": np.array([own.max_polyphony or 0 for own in controls], np.int32),
        "notes_per_tick": np.array(notes_per_tick, np.float32),
        "log_penalty": np.log([own.repetition_penalty for own in controls]).astype(np.float32),
    }
    if "program" in table.names:
        programs = [own.program for own in allowed if own.program is not None]
        arrays["program_mask"] = masks("program", programs)
        arrays["highest_program"] = np.array([np.flatnonzero(mask)[-1] for mask in programs], np.int32)
    return arrays
