"""What the job asks of the decoder, and what it gets back. Plain data: importing this imports no TensorFlow.

A person's settings of a piece are the fields of `Settings`: flags of the command, and keys of a seed that override
them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, Final, Literal

from generation_jobs.settings import program_map
from generation_jobs.settings.controls import CONTROLS, Controls
from generation_jobs.settings.label_weights import LABEL, MAX_GUIDANCE, NO_CONDITION, Condition, condition
from generation_jobs.settings.value_kinds import MAX_SECONDS
from job_runtime.command_line.settings import Kind, is_number, setting, settings_of
from midi_codec.music.notes import Notes

SAMPLING, PRIMERS = "sampling", "primers"  # groups of flags in `--help`
MAX_NOTES = 100_000  # of one generated piece; the decoder holds up to this many notes per slot
MAX_COPYING = 4.0  # times what the model learned
MIN_TEMPERATURE, MAX_TEMPERATURE = 0.001, 1000.0  # beyond, a masked value could be drawn, or float32 divide by zero
STEERED: Final = "steered"
Ended = bool | Literal["steered"]  # how a piece ended: `Result.ended`
FIELDS = ("step", "pitch", "duration", "velocity", "program")  # that a setting may name one by one
TEMPERATURE = Kind(
    f"a number, 0 (greedy) or {MIN_TEMPERATURE:g} to {MAX_TEMPERATURE:g}",
    lambda value: is_number(value) and (value == 0 or MIN_TEMPERATURE <= value <= MAX_TEMPERATURE),
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sampling:
    """How a value is drawn from a field's distribution.

    A setting is one value for all fields, or a mapping from field names; fields that it does not name are unrestricted.
    """

    temperature: float | Mapping[str, float] = setting(
        1.0, "divides the logits: less is safer, 0 takes the likeliest", kind=TEMPERATURE, per_field=FIELDS
    )
    top_k: int | Mapping[str, int] | None = setting(
        None,
        "draw each field only from its k likeliest values",
        at_least=1,
        at_most=2**31 - 1,
        per_field=FIELDS,
        group=SAMPLING,
    )
    top_p: float | Mapping[str, float] | None = setting(
        None,
        "draw each field only from the fewest likeliest values whose total probability reaches this",
        above=0,
        at_most=1,
        per_field=FIELDS,
        group=SAMPLING,
    )
    min_p: float | Mapping[str, float] | None = setting(
        None,
        "drop values less likely than this fraction of the field's likeliest; 0 drops none",
        at_least=0,
        at_most=1,
        per_field=FIELDS,
        group=SAMPLING,
    )

    @property
    def is_restricted(self) -> bool:
        """Whether top_k or top_p limits what may be drawn."""
        return self.top_k is not None or self.top_p is not None

    @property
    def has_min_p(self) -> bool:
        """Whether values that are far less likely than the likeliest are excluded."""
        return any(self.min_p.values() if isinstance(self.min_p, Mapping) else (self.min_p,))

    def of_field(self, name: str, field: str, default: float) -> float:
        """A setting's value for a field; `default` where it says nothing about the field."""
        value = getattr(self, name)
        value = value.get(field) if isinstance(value, Mapping) else value
        return default if value is None else value


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Request:
    """One piece to generate.

    key          two uint32, the sample's own random stream
    primer       the notes to continue, on the bundle's grid; None: from silence
    max_notes    how many notes to generate at most, not counting the primer's
    max_seconds  the piece ends before the first note that would start later than this, counted from the
                 first onset of the piece, including the primer; None: no limit
    controls     what the generated notes keep to
    steer_end    whether a piece that meets a limit ends at the best place before it, and none ends too soon
    avoid_loops  whether a model that copies does so less while the piece is more predictable than real music
    copying      how much a model that copies does so: a factor
    condition    the labels that the model is told
    """

    key: tuple[int, int]
    primer: Notes | None
    max_notes: int
    max_seconds: float | None
    sampling: Sampling
    controls: Controls = Controls()
    steer_end: bool = False
    avoid_loops: bool = False
    copying: float = 1.0
    condition: Condition = NO_CONDITION


@dataclasses.dataclass(frozen=True, eq=False)
class Result:
    """One generated piece.

    notes             the primer followed by the generated notes, moved so that the first onset is tick 0
    num_primer_notes  how many of `notes` are the primer's; they come first
    log_likelihood    nats, of the generated notes under the model at temperature 1, with as much copying and guidance
                      as when they were drawn; includes END if it was drawn
    ended             True: the model ended the piece itself, before any limit did; STEERED: a limit would have cut it,
                      and it ends at a good place before that; False: it was cut
    """

    notes: Notes
    num_primer_notes: int
    log_likelihood: float
    ended: Ended


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings(Controls, Sampling):
    """What a person may choose for a piece: the command's flags, and what a seed overrides of them."""

    max_notes: int = setting(300, "most notes to generate, not counting the primer's", at_least=1, at_most=MAX_NOTES)
    max_seconds: float | None = setting(
        None,
        "no note starts later than this, counted from the piece's first onset, the primer's included",
        above=0,
        at_most=MAX_SECONDS,
        default_text=f"{MAX_SECONDS:g}, six hours",
    )
    steer_end: bool = setting(
        False,
        "a piece that would be cut ends at the best place shortly before; no more pieces end early than in the corpus",
        group=CONTROLS,
    )
    avoid_loops: bool = setting(
        False,
        "a model that copies does so less while the piece is more predictable than held-out music",
        group=CONTROLS,
    )
    copying: float = setting(
        1.0,
        "how much a model that copies does so; with more, pieces repeat themselves more",
        at_least=0,
        at_most=MAX_COPYING,
        default_text="what generation_jobs.calibrate found for the bundle, else 1",
        group=CONTROLS,
    )
    label: Mapping[str, Any] | None = setting(
        None,
        "labels that a model with --condition-on is told",
        metavar="NAME=VALUE",
        kind=LABEL,
        group=SAMPLING,
    )
    guidance: float | None = setting(
        None,
        "how much the label counts: 1 as in training, more for clearer examples of it, at twice the time",
        at_least=0,
        at_most=MAX_GUIDANCE,
        default_text="1",
        group=SAMPLING,
    )
    map_programs: str | None = setting(
        None,
        "what becomes of the primer's programs that the model does not know, or should not continue",
        kind=Kind(program_map.WANTED, program_map.is_valid),
        group=PRIMERS,
    )

    @property
    def sampling(self) -> Sampling:
        return Sampling(**{field.name: getattr(self, field.name) for field in dataclasses.fields(Sampling)})

    @property
    def controls(self) -> Controls:
        return Controls(**{field.name: getattr(self, field.name) for field in dataclasses.fields(Controls)})

    def request(self, key: tuple[int, int], primer: Notes | None) -> Request:
        return Request(
            key=key,
            primer=primer,
            max_notes=self.max_notes,
            max_seconds=self.max_seconds,
            sampling=self.sampling,
            controls=self.controls,
            steer_end=self.steer_end,
            avoid_loops=self.avoid_loops,
            copying=self.copying,
            condition=condition(self.label, self.guidance),
        )

    def override(self, values: Mapping[str, Any]) -> Settings:
        """A copy with these values, which are valid; whole numbers given for floats become floats."""
        return dataclasses.replace(self, **{name: SETTINGS[name].convert(value) for name, value in values.items()})


SETTINGS = settings_of(Settings)
SLOTS_PER_CORE = 128  # the most that are decoded together on one core: more make few more notes per second
PER_FIELD = tuple(name for name, each in SETTINGS.items() if each.per_field)
DEFAULTS = Settings(
    min_p={"pitch": 0.05}, steer_end=True, avoid_loops=True
)  # of the command: docs/sampling.md, "The defaults"
