"""The search space: which settings a study varies, and how; read from a YAML file.

    learning_rate: {low: 3.0e-4, high: 1.0e-2, log: true}     a range; whole numbers for whole-number settings
    units: {low: 128, high: 512, step: 64}                    a range in steps
    timing_loss: [categorical, mixture]                       choices
    epochs: 20                                                the same in every trial

Names and values are those of `trainer.config`. Settings that are not named keep the base values, or are
chosen by `trainer.plan`.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import yaml

from job_runtime import storage
from job_runtime.command import collecting
from job_runtime.command_line.settings import AUTO, Setting
from job_runtime.problem_report import UserError
from midi_codec.dataset.dataset_info import DatasetInfo
from trainer import config as config_lib
from trainer import plan as plan_lib
from trainer import yaml_file
from trainer.config import TrainConfig

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.trial import Trial

RANGE_KEYS = ("low", "high", "step", "log")
NOT_SEARCHED = {
    "evaluate_every": "trials are compared by their number of validations",
    "rng_seed": "the best of several seeds is luck, not a better setting",
}
MAX_CORNERS = 4096  # combinations of extreme values that are checked; if there are more, one setting varies at a time


@dataclasses.dataclass(frozen=True)
class Range:
    """Numbers from `low` to `high`, both included."""

    low: float
    high: float
    step: float | None = None
    log: bool = False

    def extremes(self) -> list[Any]:
        """The values at which a problem shows: both ends, and the first step."""
        step = 1 if self.step is None and isinstance(self.low, int) else self.step
        return list(dict.fromkeys([self.low, *([] if step is None else [self.low + step]), self.high]))


@dataclasses.dataclass(frozen=True)
class Choices:
    """One of several values, without an order."""

    values: tuple[Any, ...]

    def extremes(self) -> list[Any]:
        return list(self.values)


@dataclasses.dataclass(frozen=True)
class SearchSpace:
    """The settings that vary and how, and the values of all others."""

    varied: Mapping[str, Range | Choices]
    base: TrainConfig
    given: frozenset[str] = frozenset()  # settings that one of the files names

    def config_of(self, params: Mapping[str, Any]) -> TrainConfig:
        """The settings of a trial, given the values of those that vary."""
        return dataclasses.replace(self.base, **params)

    def planned(self, info: DatasetInfo, defaults: Mapping[str, Any]) -> SearchSpace:
        """The same space, with what is `auto` and not named chosen by `trainer.plan`.

        All trials get the same choices: those for the largest values of what varies.

        Args:
          info: of the dataset.
          defaults: as for `read`.
        """
        given = {name: getattr(self.base, name) for name in self.given}
        largest = {name: domain.extremes()[-1] for name, domain in self.varied.items()}
        plan = plan_lib.resolve({**defaults, **given, **largest}, info).config
        unvaried = {name: getattr(self.base, name) for name in self.varied}
        return dataclasses.replace(self, base=dataclasses.replace(plan, **unvaried))

    def suggest(self, trial: Trial) -> dict[str, Any]:
        """A value for each setting that varies; a trial that already has values keeps them."""
        suggested: dict[str, Any] = {}
        for name, domain in self.varied.items():
            if isinstance(domain, Choices):
                suggested[name] = trial.suggest_categorical(name, domain.values)
            elif config_lib.SETTINGS[name].type is int:
                step = int(domain.step or 1)
                suggested[name] = trial.suggest_int(name, int(domain.low), int(domain.high), step=step, log=domain.log)
            else:
                suggested[name] = trial.suggest_float(name, domain.low, domain.high, step=domain.step, log=domain.log)
        return suggested

    def distributions(self) -> dict[str, BaseDistribution]:
        """Optuna's distribution of each setting that varies."""
        from optuna.trial import FixedTrial

        seen = FixedTrial({name: domain.extremes()[0] for name, domain in self.varied.items()})
        self.suggest(seen)  # type: ignore[arg-type]
        return seen.distributions

    def to_json(self) -> dict[str, Any]:
        """One entry per setting: its value, or how it varies. Equal for equal searches."""
        varied = {name: dataclasses.asdict(domain) for name, domain in self.varied.items()}
        for entry in varied.values():
            if "values" in entry:
                entry["values"] = list(entry["values"])
        return {**dataclasses.asdict(self.base), **varied}

    def problems(self) -> list[str]:
        """Every value of the space that cannot work, one sentence each."""
        found: dict[str, None] = {}
        for params in self.corners():
            for problem in self.config_of(params).problems():
                found.setdefault(problem)
        return list(found)

    def corners(self) -> Iterator[dict[str, Any]]:
        """Extreme values of the settings that vary, in all combinations unless there are too many."""
        extremes = {name: domain.extremes() for name, domain in self.varied.items()}
        if math.prod(len(values) for values in extremes.values()) <= MAX_CORNERS:
            yield from (dict(zip(extremes, values, strict=True)) for values in itertools.product(*extremes.values()))
            return
        first = {name: values[0] for name, values in extremes.items()}
        for name, values in extremes.items():
            yield from ({**first, name: value} for value in values)


def read(path: str, *, base_path: str | None = None, defaults: Mapping[str, Any] | None = None) -> SearchSpace:
    """The search space of a file.

    Args:
      path: YAML as above.
      base_path: a settings file as for `trainer.task --config`, for settings that the search space does not name.
      defaults: settings that replace those of a run if neither file names them.

    Raises:
      UserError: unknown names, values of the wrong type, impossible ranges, values that cannot work; all at once.
    """
    base: dict[str, Any] = {}
    varied: dict[str, Range | Choices] = {}
    problems: list[str] = []
    entries: Mapping[str, Any] = {}
    with collecting(problems):
        if base_path:
            base = config_lib.read_given(argparse.Namespace(config=base_path))
    with collecting(problems):
        entries = yaml_file.load(path)
    for name, value in entries.items():
        try:
            if name in config_lib.SETTINGS and isinstance(value, Mapping | list):
                varied[name] = _read_range(name, value) if isinstance(value, Mapping) else _read_choices(name, value)
            else:
                base[name] = config_lib.read_value(name, value)
        except ValueError as error:
            problems += [f"{path}: {problem}" for problem in error.args]
    base = {name: value for name, value in base.items() if value != AUTO}
    if not varied and not problems:
        problems.append(f"{path}: varies nothing, want at least one range `{{low: …, high: …}}` or list of choices")
    given = frozenset(base.keys() | varied.keys())
    space = SearchSpace(varied, TrainConfig(**{**(defaults or {}), **base}), given)
    problems += [f"{path}: {problem}" for problem in space.problems()]
    if problems:
        raise UserError(problems)
    return space


def _searched(name: str) -> Setting:
    """The setting with the values that may be searched: `auto` is not one."""
    return dataclasses.replace(config_lib.SETTINGS[name], auto=False)


def _check_searched(name: str) -> None:
    if name in NOT_SEARCHED:
        raise ValueError(f"{name} varies, want one value: {NOT_SEARCHED[name]}")


def _read_choices(name: str, values: Sequence[Any]) -> Choices:
    _check_searched(name)
    if not values:
        raise ValueError(f"{name} is an empty list, want choices")
    converted, problems = [], []
    for value in values:
        try:
            converted.append(_searched(name).parse(value))
        except ValueError as error:
            problems.append(f"{name} has {value!r}, {error}")
    if len(set(converted)) < len(converted):
        problems.append(f"{name} is {list(values)}, want each choice once")
    if problems:
        raise ValueError(*problems)
    return Choices(tuple(converted))


def _read_range(name: str, given: Mapping[Any, Any]) -> Range:
    _check_searched(name)
    setting = _searched(name)
    if setting.type not in (int, float):
        raise ValueError(f"{name} is a range but not a number, want a list of choices")
    problems = [f"has {key!r}, want only {', '.join(RANGE_KEYS)} in a range" for key in given if key not in RANGE_KEYS]
    problems += [f"is a range without {key!r}, want low and high" for key in ("low", "high") if given.get(key) is None]
    read: dict[str, Any] = {}
    for key in [key for key in ("low", "high", "step") if given.get(key) is not None]:
        try:
            read[key] = setting.convert(given[key]) if key == "step" else setting.parse(given[key])
            if read[key] is None:
                raise ValueError("want a number")
        except ValueError as error:
            problems.append(f"{key} is {given[key]!r}, {error}")
    log = given.get("log", False)
    if not isinstance(log, bool):
        problems.append(f"log is {log!r}, want true or false")
    if not problems:
        domain = Range(read["low"], read["high"], read.get("step"), log)
        problems = _range_problems(domain)
    if problems:
        raise ValueError(*(f"{name}: {problem}" for problem in problems))
    return domain


def _range_problems(domain: Range) -> list[str]:
    problems = []
    if domain.low >= domain.high:
        problems.append(
            f"is from {domain.low} to {domain.high}, want low below high; write a single value without a range"
        )
    if domain.log and domain.low <= 0:
        problems.append(f"low is {domain.low}, want a number above 0 where log is true")
    if domain.step is not None:
        if domain.log:
            problems.append("has a step and log: true, want one of them")
        if domain.step <= 0:
            problems.append(f"step is {domain.step}, want a number above 0")
        else:
            steps = (domain.high - domain.low) / domain.step
            if abs(steps - round(steps)) > 1e-6:
                problems.append(
                    f"goes from {domain.low} to {domain.high} in steps of {domain.step}, want a whole number"
                )
    return problems


def to_yaml(config: TrainConfig, *, without: Sequence[str] = ()) -> str:
    """Settings in the form of `trainer.task --config`."""
    values = {name: value for name, value in dataclasses.asdict(config).items() if name not in without}
    return yaml.safe_dump(values, sort_keys=False)


def write_config(path: str, config: TrainConfig, *, heading: str, without: Sequence[str] = ()) -> None:
    """Writes settings below a comment line."""
    storage.write_bytes(path, f"# {heading}\n{to_yaml(config, without=without)}".encode())
