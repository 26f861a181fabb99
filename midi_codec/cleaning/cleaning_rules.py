"""What may be left out of a corpus on purpose; all of it is off by default.

Policies change the notes of a piece, then rules reject pieces. docs/cleaning.md says what each is for. The largest
number of notes and seconds are not here: `--max-notes` and `--max-seconds` bound every file anyway (`Limits`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

from job_runtime.command_line import numerals
from job_runtime.command_line.settings import Kind, problems_in, setting

KEEP, DROP, ONLY, REJECT = "keep", "drop", "only", "reject"
MERGE, FAMILY = "merge", "family"
IGNORE, APPLY = "ignore", "apply"
CLEANING = "cleaning"  # the group of flags in `--help`
MAX_PITCH = 127
MAX_PROGRAM = 127  # drums have a policy of their own
CHANGE_NOTES = ("sustain_pedal", "drum_policy", "programs", "program_policy")  # settings; the others reject pieces


def parse_pitch_range(text: str) -> tuple[int, int]:
    """`21-108` as lowest and highest pitch."""
    ends = text.split("-")
    if len(ends) == 2 and all(numerals.is_index(end) for end in ends):
        low, high = int(ends[0]), int(ends[1])
        if low <= high <= MAX_PITCH:
            return low, high
    raise ValueError(f"want {PITCH_RANGE.wanted}")


def parse_programs(text: str) -> tuple[int, ...]:
    """`0-7,24` as ascending programs."""
    programs: set[int] = set()
    for part in text.split(","):
        ends = part.strip().split("-")
        if len(ends) > 2 or not all(numerals.is_index(end) for end in ends):
            break
        first, last = int(ends[0]), int(ends[-1])
        if not first <= last <= MAX_PROGRAM:
            break
        programs.update(range(first, last + 1))
    else:
        return tuple(sorted(programs))
    hint = "; drums are --drum-policy's" if part.strip() == "128" else ""
    raise ValueError(f"want {PROGRAMS.wanted}{hint}")


PITCH_RANGE = Kind(
    f"LOW-HIGH between 0 and {MAX_PITCH}, such as 21-108",
    lambda value: 0 <= value[0] <= value[1] <= MAX_PITCH,
    parse_pitch_range,
)
PROGRAMS = Kind(
    f"numbers and ranges from 0 to {MAX_PROGRAM}, such as 0-7,24",
    lambda value: len(value) > 0 and all(0 <= program <= MAX_PROGRAM for program in value),
    parse_programs,
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class CleaningRules:
    """Which notes and pieces to leave out; None, or the default of a policy, is off.

    Seconds run from the first onset to the last end; drums count in `max_polyphony`, and have no pitch.

    Raises:
      ValueError: rules that cannot work; all of them, one per line.
    """

    min_notes: int | None = setting(None, "reject a piece with fewer notes", at_least=1, group=CLEANING)
    min_seconds: float | None = setting(
        None, "reject a shorter piece, from the first onset to the last end", above=0, group=CLEANING
    )
    min_density: float | None = setting(None, "reject a piece with fewer notes per second", above=0, group=CLEANING)
    max_density: float | None = setting(None, "reject a piece with more notes per second", above=0, group=CLEANING)
    max_silence: float | None = setting(
        None,
        "reject a piece with a longer silence, in seconds, between two of its notes",
        at_least=0,
        group=CLEANING,
    )
    max_polyphony: int | None = setting(
        None,
        "reject a piece in which more notes sound at once, drums included",
        at_least=1,
        group=CLEANING,
    )
    pitch_range: tuple[int, int] | None = setting(
        None,
        "reject a piece with melodic notes outside this range; drums have no pitch",
        metavar="LOW-HIGH",
        kind=PITCH_RANGE,
        group=CLEANING,
    )
    programs: tuple[int, ...] | None = setting(
        None,
        "keep only notes of these General MIDI programs; drums have --drum-policy",
        metavar="LIST",
        kind=PROGRAMS,
        group=CLEANING,
    )
    other_programs: str = setting(
        DROP,
        "with --programs: drop the other notes, or reject the piece",
        metavar="POLICY",
        choices=(DROP, REJECT),
        group=CLEANING,
    )
    drum_policy: str = setting(
        KEEP,
        "notes of the drum channel: keep them, drop them, keep only them, or reject the piece",
        metavar="POLICY",
        choices=(KEEP, DROP, ONLY, REJECT),
        group=CLEANING,
    )
    program_policy: str = setting(
        KEEP,
        "merge: all melodic programs become 0; family: the first of their family of eight (40 to 47 become 40)",
        metavar="POLICY",
        choices=(KEEP, MERGE, FAMILY),
        group=CLEANING,
    )
    sustain_pedal: str = setting(
        IGNORE,
        "apply: notes last while the pedal is down",
        metavar="POLICY",
        choices=(IGNORE, APPLY),
        group=CLEANING,
    )

    def __post_init__(self) -> None:
        if problems := list(self._problems()):
            raise ValueError("\n".join(problems))

    def _problems(self) -> Iterable[str]:
        yield from problems_in(self)
        if self.min_density and self.max_density and self.min_density > self.max_density:
            yield f"--min-density is {self.min_density:g}, above --max-density, which is {self.max_density:g}"
        if self.drum_policy == ONLY and (self.programs is not None or self.program_policy != KEEP):
            other = "--programs" if self.programs is not None else "--program-policy"
            yield f"--drum-policy only leaves no melodic notes, so {other} has none to work on: want one of the two"

    @property
    def is_off(self) -> bool:
        """Whether pieces pass without a check; the sustain pedal is applied by the reader."""
        return not set(self.to_dict()) - {"sustain_pedal"}

    @property
    def apply_sustain(self) -> bool:
        return self.sustain_pedal == APPLY

    def to_dict(self) -> dict[str, Any]:
        """The rules that are on, as in `dataset_info.json`; `{}` if there are none."""
        is_on = {field.name: getattr(self, field.name) != field.default for field in dataclasses.fields(self)}
        is_on["other_programs"] = self.programs is not None  # the default is a policy, too
        values = {name: getattr(self, name) for name, on in is_on.items() if on}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> CleaningRules:
        """The inverse of `to_dict`."""
        values: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in fields.items()
        }
        return cls(**values)
