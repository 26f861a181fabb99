"""Settings that a bundle cannot keep: those of the flags, and those of each seed with its overrides and its primer.

A limit on times depends on the piece's tempo where its unit is not that of the bundle's grid, so every seed is checked.
Seeds with the same controls and tempo are checked once: 100,000 seeds take a second or two.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from generation_jobs.seeds.primers import Primers
from generation_jobs.seeds.seed_record import Seed
from generation_jobs.settings import label_weights, program_map
from generation_jobs.settings.controls import MAX_POLYPHONY, Controls, primer_problems, program_problems, tempo_problems
from generation_jobs.settings.requests import PER_FIELD, Settings
from job_runtime.problem_report import Problem
from midi_codec.fields import CATEGORICAL, FieldTable
from midi_codec.music.notes import DEFAULT_TEMPO

_OF_BUNDLE = frozenset({"map_programs", "label", "guidance", *(field.name for field in dataclasses.fields(Controls))})


def find(
    settings: Settings, seeds: Sequence[Seed], primers: Primers, table: FieldTable
) -> tuple[list[str], list[Problem]]:
    """What is wrong with the flags, reported once however many seeds it concerns, and what is wrong with single seeds.

    A flag that every seed overrides is not a problem.
    """
    of_flags = dict.fromkeys(of_settings(settings, table))
    if not seeds:
        return list(of_flags), []
    met: set[str] = set()  # problems of the flags that some seed has
    of_seeds: list[Problem] = []
    for seed, problem in _of_seeds(settings, seeds, primers, table):
        if problem in of_flags:
            met.add(problem)
        else:
            prefix = "" if seed.line else f"seed {seed.id!r}: "
            of_seeds.append((seed.line, f"{prefix}{problem}"))
    return [problem for problem in of_flags if problem in met], of_seeds


def of_settings(settings: Settings, table: FieldTable, tempo: float = DEFAULT_TEMPO) -> Iterator[str]:
    """Why no piece of this tempo (quarter notes per minute) can be made with these settings."""
    yield from tempo_problems(settings.controls, table, tempo)
    yield from label_weights.problems(settings.label, settings.guidance, table)
    if settings.map_programs is not None:
        targets = program_map.parse(settings.map_programs).targets()
        yield from program_problems("map_programs", targets, table)
    for name in PER_FIELD:
        value = getattr(settings, name)
        for field in value if isinstance(value, Mapping) else ():
            if field not in table.names:
                yield f"{name} names {field!r}, a field the model does not have; it has {', '.join(table.names)}"
            elif name != "temperature" and table[field].loss != CATEGORICAL:
                yield (
                    f"{name} names {field!r}, which the model predicts as a number, not a class: it has no likeliest "
                    "values; want a model trained with --timing-loss categorical"
                )


def _of_seeds(
    settings: Settings, seeds: Sequence[Seed], primers: Primers, table: FieldTable
) -> Iterator[tuple[Seed, str]]:
    checked: dict[tuple[Any, ...], tuple[Controls, tuple[str, ...]]] = {}
    tempos, last_onsets = primers.tempos.tolist(), primers.last_onset_seconds.tolist()
    num_sounding = primers.num_sounding.tolist()
    for index, seed in enumerate(seeds):
        overrides = seed.overrides
        relevant = [(name, repr(value)) for name, value in overrides.items() if _depends_on_bundle(name, value)]
        key = (tempos[index], *relevant)
        if key not in checked:
            own = settings.override(overrides)
            checked[key] = own.controls, tuple(dict.fromkeys(of_settings(own, table, tempos[index])))
        controls, problems = checked[key]
        yield from ((seed, problem) for problem in problems)
        if not problems and num_sounding[index] >= (controls.max_polyphony or MAX_POLYPHONY + 1):
            primer = primers[index]
            assert primer is not None
            yield from ((seed, problem) for problem in primer_problems(controls, table, primer))
        limit = overrides.get("max_seconds", settings.max_seconds)
        if limit is not None and last_onsets[index] > limit:
            yield (
                seed,
                f"max_seconds is {limit:g}, counted from the primer's first onset, but its last is at "
                f"{last_onsets[index]:g} seconds: no note could follow",
            )


def _depends_on_bundle(name: str, value: object) -> bool:
    return name in _OF_BUNDLE or isinstance(value, dict)
