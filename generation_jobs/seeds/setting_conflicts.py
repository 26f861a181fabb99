"""Settings that a bundle cannot keep: of the flags, and of each seed with its overrides and its primer.

A limit on times depends on a piece's tempo where its unit is not that of the bundle's grid, so every seed is looked at.
Seeds with the same controls and tempo are looked at once: 100,000 of them take a second or two.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from generation_jobs.seeds.primers import Primers
from generation_jobs.seeds.seed_record import Seed
from generation_jobs.settings import program_map
from generation_jobs.settings.controls import Controls, primer_misfits, program_misfits, tempo_misfits
from generation_jobs.settings.requests import BY_FIELD, Settings
from job_runtime.problem_report import Problem
from midi_codec.fields import CATEGORICAL, FieldTable
from midi_codec.music.notes import DEFAULT_TEMPO

_CONTROL_NAMES = frozenset(field.name for field in dataclasses.fields(Controls))


def find(
    settings: Settings, seeds: Sequence[Seed], primers: Primers, table: FieldTable
) -> tuple[list[str], list[Problem]]:
    """What is wrong with the flags, said once however many seeds it concerns, and what else with single seeds.

    What the flags ask for and every seed overrides is no problem.
    """
    of_flags = dict.fromkeys(of_settings(settings, table))
    if not seeds:
        return list(of_flags), []
    met: set[str] = set()
    of_seeds: list[Problem] = []
    for seed, problem in _of_seeds(settings, seeds, primers, table):
        if problem in of_flags:
            met.add(problem)
        else:
            of = "" if seed.line else f"seed {seed.id!r}: "
            of_seeds.append((seed.line, f"{of}{problem}"))
    return [problem for problem in of_flags if problem in met], of_seeds


def of_settings(settings: Settings, table: FieldTable, tempo: float = DEFAULT_TEMPO) -> Iterator[str]:
    """Why no piece of this tempo, quarter notes a minute, can be made with them."""
    yield from tempo_misfits(settings.controls, table, tempo)
    if settings.map_programs is not None:
        targets = program_map.parse(settings.map_programs).targets()
        yield from program_misfits("map_programs", targets, table)
    for name in BY_FIELD:
        value = getattr(settings, name)
        for field in value if isinstance(value, Mapping) else ():
            if field not in table.names:
                yield f"{name} names {field!r}, a field the model does not have; it has {', '.join(table.names)}"
            elif name != "temperature" and table[field].loss != CATEGORICAL:
                yield (
                    f"{name} names {field!r}, which is a number of the model's, not a class, and has no likeliest "
                    "values; want a model trained with --timing-loss categorical"
                )


def _of_seeds(
    settings: Settings, seeds: Sequence[Seed], primers: Primers, table: FieldTable
) -> Iterator[tuple[Seed, str]]:
    found: dict[tuple[Any, ...], tuple[Controls, tuple[str, ...]]] = {}
    tempos, last_onsets = primers.tempos.tolist(), primers.last_onset_seconds.tolist()
    for index, seed in enumerate(seeds):
        overrides = seed.overrides
        key = (tempos[index], *((name, repr(overrides[name])) for name in overrides if _matters(name, overrides[name])))
        if key not in found:
            own = settings.override(overrides)
            found[key] = own.controls, tuple(dict.fromkeys(of_settings(own, table, tempos[index])))
        controls, problems = found[key]
        yield from ((seed, problem) for problem in problems)
        if controls.max_polyphony is not None and not problems and (primer := primers[index]) is not None:
            yield from ((seed, problem) for problem in primer_misfits(controls, table, primer))
        limit = overrides.get("max_seconds", settings.max_seconds)
        if limit is not None and last_onsets[index] > limit:
            yield (
                seed,
                f"max_seconds is {limit:g}, counted from the primer's first onset, but its last is at "
                f"{last_onsets[index]:g} seconds: no note could follow",
            )


def _matters(name: str, value: object) -> bool:
    return name in _CONTROL_NAMES or name == "map_programs" or isinstance(value, Mapping)
