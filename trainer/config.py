"""The settings of a run: defaults here, overridden by a YAML file, then by flags. Every field is a flag.

What is `auto` and not given is chosen by `trainer.plan`.
"""

from __future__ import annotations

import argparse
import dataclasses
from typing import Any

from job_runtime import json_text
from job_runtime.command_line import settings
from job_runtime.command_line.expressions import expression
from job_runtime.command_line.settings import Kind, problems_in, same_setting, setting
from job_runtime.problem_report import UserError
from midi_codec.dataset import labels
from midi_codec.fields import CATEGORICAL, TIMING_LOSSES
from trainer import yaml_file
from trainer.model.model_config import ModelConfig
from trainer.model.precision import FLOAT32, PRECISIONS

STOP, RESTORE = "stop", "restore"
MAX_BATCH = 2**20
MODEL, REGULARISATION, OPTIMISATION = "model", "regularisation", "optimisation"  # groups of flags in `--help`
DATA, VALIDATION = "windows and augmentation", "validation"


def _read_names(text: str) -> tuple[str, ...]:
    return () if text == settings.NONE else tuple(name.strip() for name in text.split(","))


def _are_names(value: Any) -> bool:
    return len(set(value)) == len(value) and not any(map(labels.name_problem, value))


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """What decides the outcome of a run, together with the data. Saved with every run, in this order."""

    timing_loss: str = setting(CATEGORICAL, "loss of step and duration", choices=TIMING_LOSSES)
    units: int = same_setting(ModelConfig, "units", auto=True)
    layers: int = same_setting(ModelConfig, "layers", auto=True)
    head_units: int = same_setting(ModelConfig, "head_units", group=MODEL)
    layer_norm: bool = same_setting(ModelConfig, "layer_norm", group=MODEL)
    residual: bool = same_setting(ModelConfig, "residual", group=MODEL)
    tied_embeddings: bool = same_setting(ModelConfig, "tied_embeddings", group=MODEL)
    dropout: float = same_setting(ModelConfig, "dropout", auto=True, group=REGULARISATION)
    recurrent_dropout: float = same_setting(ModelConfig, "recurrent_dropout", group=REGULARISATION)
    embedding_dropout: float = same_setting(ModelConfig, "embedding_dropout", group=REGULARISATION)
    context_units: int = same_setting(ModelConfig, "context_units", auto=True, group=MODEL)
    context_notes: int = same_setting(ModelConfig, "context_notes", auto=True, group=MODEL)
    context_lags: tuple[int, ...] = same_setting(ModelConfig, "context_lags", auto=True, group=MODEL)
    context_periods: tuple[int, ...] = same_setting(ModelConfig, "context_periods", auto=True, group=MODEL)
    attention: str = same_setting(ModelConfig, "attention", auto=True, group=MODEL)
    attention_notes: int = same_setting(ModelConfig, "attention_notes", group=MODEL)
    attention_lags: tuple[int, ...] = same_setting(ModelConfig, "attention_lags", auto=True, group=MODEL)
    attention_chord: int = same_setting(ModelConfig, "attention_chord", auto=True, group=MODEL)
    attention_dropout: float = same_setting(ModelConfig, "attention_dropout", auto=True, group=REGULARISATION)
    attention_gaps: float = same_setting(ModelConfig, "attention_gaps", auto=True, group=REGULARISATION)
    condition_on: tuple[str, ...] = setting(
        (),
        "labels of the dataset that the model is told: pieces can then be generated with them",
        kind=Kind("names of labels, each once, separated by commas", _are_names, _read_names),
        metavar="LABELS",
        group=MODEL,
    )
    label_dropout: float = setting(
        0.1,
        "share of the windows in which a label is unknown; above 0 the model also learns to do without",
        at_least=0,
        below=1,
        group=REGULARISATION,
    )
    precision: str = setting(
        FLOAT32, "precision of matrix products; weights stay float32", choices=PRECISIONS, group=OPTIMISATION
    )
    batch_size: int = setting(
        32, "windows per step, over all replicas", at_least=1, at_most=MAX_BATCH, auto=True, group=OPTIMISATION
    )
    window: int = setting(
        128,
        "the most notes per window; longer pieces are cut at different points each epoch",
        at_least=1,
        at_most=MAX_BATCH,
        auto=True,
        group=DATA,
    )
    learning_rate: float = setting(3e-3, "Adam's highest learning rate", above=0, auto=True, group=OPTIMISATION)
    final_rate: float = setting(
        0.02,
        "final learning rate, as a share of --learning-rate (cosine decay)",
        above=0,
        at_most=1,
        auto=True,
        group=OPTIMISATION,
    )
    warmup_steps: int = setting(50, "steps of linear warm-up", at_least=0, at_most=10**9, auto=True, group=OPTIMISATION)
    clip_norm: float = setting(1.0, "largest norm of all gradients together", above=0, group=OPTIMISATION)
    weight_decay: float = setting(
        0.0,
        "each step shrinks each matrix, not biases and norms, by this times the learning rate (AdamW); 0 for none",
        at_least=0,
        at_most=10,
        group=REGULARISATION,
    )
    weight_average: float = setting(
        0.0,
        "decay per step of the moving average of the weights that is validated and kept; 0 for none",
        at_least=0,
        below=1,
        auto=True,
        group=OPTIMISATION,
    )
    epochs: float = setting(30.0, "the most passes over the training split", above=0, auto=True)
    max_minutes: float | None = setting(
        None,
        "stop after this many minutes of steps and validations, not counting start-up and the first step and validation"
        " of each start, which compile; the learning rate reaches its end then, so the outcome depends on the machine",
        above=0,
    )
    evaluate_every: float = setting(1.0, "epochs between validations", above=0, auto=True, group=VALIDATION)
    patience: int | None = setting(
        8,
        "validations without improvement before the run stops; 'none' never stops",
        at_least=1,
        auto=True,
        group=VALIDATION,
    )
    balance_regex: str | None = setting(
        None,
        "sources of the corpus, by what this finds in a path: pieces of small sources occur several times per epoch",
        kind=expression("name of the source, such as '^([^/]+)/'"),
        group=DATA,
    )
    transpose: int = setting(
        5, "augmentation: semitones up or down; drums keep their pitch", at_least=0, at_most=24, group=DATA
    )
    tempo: float = setting(
        0.0,
        "augmentation: scale times by up to 1 + this, up or down; on the milliseconds grid only",
        at_least=0,
        below=1,
        group=DATA,
    )
    velocity: int = setting(0, "augmentation: velocity steps up or down", at_least=0, at_most=64, group=DATA)
    on_nan: str = setting(
        STOP,
        "for a loss that is not finite or explodes: stop, or restore the last checkpoint and skip the batch",
        choices=(STOP, RESTORE),
        group=OPTIMISATION,
    )
    samples: int = setting(
        4, "pieces sampled at every validation; 0 for none", at_least=0, at_most=64, auto=True, group=VALIDATION
    )
    rng_seed: int = setting(0, "random number seed of weights and batches", at_least=0, at_most=2**31 - 1)

    def __post_init__(self) -> None:
        for name in ("context_lags", "context_periods", "attention_lags", "condition_on"):  # JSON and YAML have lists
            object.__setattr__(self, name, tuple(getattr(self, name)))

    @property
    def model(self) -> ModelConfig:
        """The settings of the model."""
        return ModelConfig(**{field.name: getattr(self, field.name) for field in dataclasses.fields(ModelConfig)})

    def problems(self) -> list[str]:
        """Every value that cannot work, one sentence each."""
        return list(problems_in(self))


SETTINGS = settings.settings_of(TrainConfig)


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Adds `--config` and a flag for every setting."""
    parser.add_argument("--config", help="YAML file with any of the settings below, by the same names; flags win")
    settings.add_flags(parser, TrainConfig)


def read(args: argparse.Namespace, *, base: TrainConfig = TrainConfig()) -> TrainConfig:
    """The settings of `base`, overridden by the file and then by the flags; raises as `read_given` does."""
    return dataclasses.replace(base, **read_given(args))


def read_given(args: argparse.Namespace) -> dict[str, Any]:
    """The settings that the file or a flag gives, by name; those that are left to `trainer.plan` are not among them.

    Raises:
      UserError: every unknown key, value of the wrong kind, and value out of range, all at once.
    """
    values, problems = {}, []
    for name, value in (yaml_file.load(args.config) if args.config else {}).items():
        try:
            values[name] = read_value(name, value)
        except ValueError as error:
            problems.append(f"{args.config}: {error}")
    values |= settings.read_flags(TrainConfig, args, problems)
    if problems:
        raise UserError(problems)
    return {name: value for name, value in values.items() if not (SETTINGS[name].auto and value == settings.AUTO)}


def read_value(name: str, value: Any) -> Any:
    """A value of a YAML file as the setting of this name.

    Raises:
      ValueError: there is no such setting, or the value does not fit it.
    """
    if name not in SETTINGS:
        raise ValueError(f"{name}: no such setting, want one of {', '.join(sorted(SETTINGS))}")
    try:
        return SETTINGS[name].parse(value)
    except ValueError as error:
        raise ValueError(f"{name} is {json_text.shown(value)}, {error}") from None
