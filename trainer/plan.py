"""The settings of a run that nobody gave: chosen once, from the corpus and the budget, and kept in `run.json`.

Every worker and every later start gets the same numbers, because nothing here depends on the machine:
`STEPS_PER_MINUTE` only chooses settings, and the run itself ends by its own clock. docs/train.md has the rule as a
table.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

from job_runtime.command_line.numerals import counted
from midi_codec.dataset.dataset_info import DatasetInfo
from midi_codec.music.notes import BEATS, MILLISECONDS
from trainer.config import SETTINGS, TrainConfig
from trainer.model.model_config import COPY, ECHO, NONE

STEPS_PER_MINUTE = 600  # of 8 windows of 128 notes, what two quiet cores do without copying
AUTO_SETTINGS = tuple(name for name, each in SETTINGS.items() if each.auto)
# A beat, two, a bar of 4/4, two and four bars ago; a quarter of a second to four seconds ago.
LAGS = {BEATS: (24, 48, 96, 192, 384), MILLISECONDS: (250, 500, 1000, 2000, 4000)}
ATTENTION_DROPOUT = {BEATS: 0.5, MILLISECONDS: 0.0}
GAPS = {NONE: 0.0, ECHO: 0.35, COPY: 0.2}
# Beats, half bars, bars of 3/4 and 4/4, and twice, four and eight times as much.
ATTENTION_LAGS = {BEATS: (24, 48, 72, 96, 144, 192, 288, 384, 768), MILLISECONDS: ()}
ATTENTION_CHORD = {BEATS: 0, MILLISECONDS: 50}  # played times are never quite equal
PERIODS = {BEATS: (24, 96), MILLISECONDS: ()}
CONTEXT_UNITS, CONTEXT_NOTES = 32, 144
LEAST_MINUTES = 1.0  # with less there is no time for the model's size and context
SAMPLE_MINUTES = 30.0  # shorter runs write no samples at validations, which cost about as much as the validation
# Over `FEW_NOTES`; a corpus with more notes is learned by heart later in steps, but in fewer passes.
PASSES, FEWEST_PASSES = {BEATS: 24.0, MILLISECONDS: 16.0}, {BEATS: 16.0, MILLISECONDS: 10.0}
ONE_PROGRAM = 0.95  # of the notes: with less of them, the corpus counts as one of several instruments
FEW_NOTES, MOST_PASSES = 25_000, 40.0
PATIENCE_SHARE, LEAST_PATIENCE = 0.2, 8
MOST_VALIDATIONS = 100


@dataclasses.dataclass(frozen=True)
class Plan:
    """A run's settings, and why they are what they are.

    Attributes:
      config: every setting.
      lines: the same for people, two lines.
    """

    config: TrainConfig
    lines: tuple[str, str]


def resolve(
    given: Mapping[str, Any],
    info: DatasetInfo,
    *,
    start: Mapping[str, Any] | None = None,
    saved: Mapping[str, Any] | None = None,
    num_workers: int = 1,
) -> Plan:
    """Chooses what is `auto` and not given.

    Args:
      given: settings by name; they always win.
      info: of the dataset.
      start: settings of the bundle that the run starts from, if there is one.
      saved: `run.json` of the run that is continued, if there is one: its choices stay.
      num_workers: processes that share a batch.
    """
    fixed = {name: value for name, value in (start or {}).items() if not name.endswith("dropout")}
    known = {**fixed, **given}
    kept = {name: saved[name] for name in AUTO_SETTINGS if name not in known and name in saved} if saved else {}
    values = {**known, **kept}
    corpus = _Corpus.of(info)
    config = TrainConfig(**{**_choose(corpus, values, is_new=start is None, num_workers=num_workers), **values})
    return Plan(config, _lines(corpus, config, [name for name in AUTO_SETTINGS if name in given]))


@dataclasses.dataclass(frozen=True)
class _Corpus:
    """What the rule knows of a corpus."""

    num_pieces: int
    num_notes: int
    validation_notes: int
    time_base: str
    has_programs: bool
    is_band: bool

    @classmethod
    def of(cls, info: DatasetInfo) -> _Corpus:
        train, validation = info.splits["train"], info.splits["validation"]
        counts, num_notes = info.histograms["train"]["program"].counts, max(train.num_notes, 1)
        has_programs = len(info.programs) > 1
        is_band = has_programs and max(counts, default=0) < ONE_PROGRAM * num_notes
        return cls(train.num_pieces, num_notes, validation.num_notes, info.time_base, has_programs, is_band)

    def steps_per_pass(self, batch: int, window: int) -> int:
        """A piece is cut at a random place and then every `window` notes, so it has about one window more."""
        return math.ceil((self.num_notes / window + self.num_pieces) / batch)


def _choose(corpus: _Corpus, given: Mapping[str, Any], *, is_new: bool, num_workers: int) -> dict[str, Any]:
    """A value for every `auto` setting, given some of them."""
    minutes = given.get("max_minutes")
    is_short = minutes is not None and minutes < LEAST_MINUTES
    window = given.get("window", 64 if is_short else 128)
    epochs = given.get("epochs", _passes(corpus))
    batch = given.get("batch_size", _batch_size(_steps(corpus, epochs, minutes, 8, window), num_workers))
    steps, per_pass = _steps(corpus, epochs, minutes, batch, window), corpus.steps_per_pass(batch, window)
    passes = steps / per_pass
    evaluate_every = given.get("evaluate_every", _rounded(_steps_between(corpus, per_pass, steps) / per_pass))
    expected_minutes = minutes if minutes is not None else steps / STEPS_PER_MINUTE
    attention = given.get("attention", _attention(corpus))
    return {
        "units": 128 if is_short else 256,
        "layers": 1 if is_short else 2,
        "dropout": 0.1 if passes < 2 else 0.2 if passes < 5 else 0.3,
        "context_units": 0 if is_short else CONTEXT_UNITS,
        "context_notes": CONTEXT_NOTES,
        "context_lags": LAGS[corpus.time_base],
        "context_periods": PERIODS[corpus.time_base],
        "attention": attention,
        "attention_lags": ATTENTION_LAGS[corpus.time_base],
        "attention_chord": ATTENTION_CHORD[corpus.time_base],
        "attention_dropout": ATTENTION_DROPOUT[corpus.time_base],
        "attention_gaps": GAPS[attention],
        "batch_size": batch,
        "window": window,
        "learning_rate": 3e-3 if is_new else 1e-3,
        "final_rate": 0.01,
        "warmup_steps": round(min(50, max(10, steps / 40))),
        "weight_average": round(min(0.998, max(0.9, 1 - 6 / steps)), 3),
        "epochs": epochs,
        "evaluate_every": evaluate_every,
        "patience": round(max(LEAST_PATIENCE, PATIENCE_SHARE * passes / evaluate_every)),
        "samples": 4 if expected_minutes >= SAMPLE_MINUTES else 0,
    }


def _attention(corpus: _Corpus) -> str:
    """With several instruments, what follows a match gets the music caught in short loops; echoes do not."""
    if not corpus.is_band:
        return COPY
    return ECHO if ATTENTION_LAGS[corpus.time_base] else NONE


def _passes(corpus: _Corpus) -> float:
    """The most passes: a small corpus is learned by heart in fewer steps than a large one, but in more passes."""
    passes = PASSES[corpus.time_base] * (FEW_NOTES / corpus.num_notes) ** (1 / 3)
    return float(round(min(MOST_PASSES, max(FEWEST_PASSES[corpus.time_base], passes))))


def _steps(corpus: _Corpus, epochs: float, minutes: float | None, batch: int, window: int) -> float:
    """How many steps a run is expected to have."""
    by_time = float("inf") if minutes is None else minutes * STEPS_PER_MINUTE * 8 * 128 / (batch * window)
    return max(1.0, min(epochs * corpus.steps_per_pass(batch, window), by_time))


def _batch_size(small_steps: float, num_workers: int) -> int:
    """Windows per step: small ones learn most from the notes, large ones are faster where there are steps enough."""
    batch = 8 if small_steps < 20_000 else 16 if small_steps < 80_000 else 32
    return -(-batch // num_workers) * num_workers


def _steps_between(corpus: _Corpus, per_pass: int, steps: float) -> float:
    """Steps from one validation to the next.

    A pass, but neither so few that validations and their files take the time, nor more than 200; at least three times
    as many notes as a validation reads; and four to a hundred validations.
    """
    between = min(200.0, max(25.0, per_pass))
    between = max(between, 3 * per_pass * corpus.validation_notes / corpus.num_notes, steps / MOST_VALIDATIONS)
    return min(between, max(steps / 4, 1.0))


def _rounded(number: float) -> float:
    """Four significant digits, so that the number can be read and typed."""
    return float(f"{number:.4g}")


def _lines(corpus: _Corpus, config: TrainConfig, given: list[str]) -> tuple[str, str]:
    """What was chosen, and why, from the settings as they are."""
    per_pass, minutes = corpus.steps_per_pass(config.batch_size, config.window), config.max_minutes
    steps = _steps(corpus, config.epochs, minutes, config.batch_size, config.window)
    context = f"context of {config.context_notes} notes" if config.context_units else "no context"
    context += f", copying from {config.attention_notes}" if config.attention != NONE else ", no copying"
    validations = f"a validation every {counted(max(round(config.evaluate_every * per_pass), 1), 'step')}"
    stop = "no early stop" if config.patience is None else f"stops after {config.patience} without improvement"
    what = (
        f"plan: {config.batch_size} x {config.window} notes per step, {counted(config.layers, 'layer')} of"
        f" {config.units} units, {context}, dropout {config.dropout:g}, weight average {config.weight_average:g};"
        f" {validations}, {stop}; at most {config.epochs:g} passes over the notes"
    )
    budget = f"{config.epochs:g} passes" if minutes is None else f"{minutes:g} minutes"
    why = (
        f"because {counted(corpus.num_pieces, 'piece')} of {corpus.num_notes:,} notes in all on a grid of"
        f" {corpus.time_base}{' with several programs' if corpus.has_programs else ''} and {budget} make about"
        f" {counted(round(steps), 'step')}, {steps / per_pass:,.2f} passes"
        + (f"; given: {', '.join(given)}" if given else "")
    )
    return what, why
