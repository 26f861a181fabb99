"""The settings of a run: defaults here, overridden by a YAML file, then by flags. Every field is a flag."""

from __future__ import annotations

import argparse
import dataclasses
import math
import types
import typing
from collections.abc import Callable
from typing import Any

from job_runtime import json_text
from job_runtime.command import UserError
from job_runtime.command_line import numerals
from midi_codec.fields import CATEGORICAL, TIMING_LOSSES
from trainer import yaml_file
from trainer.model.model_config import ModelConfig

FLOAT32, BFLOAT16 = "float32", "bfloat16"
STOP, RESTORE = "stop", "restore"
CHOICES = {"timing_loss": TIMING_LOSSES, "precision": (FLOAT32, BFLOAT16), "on_nan": (STOP, RESTORE)}
UNIT_SHARES = ("weight_average", "tempo")
MAX_SAMPLES = 64
MAX_BATCH = 2**20
HIGHEST = {
    "weight_decay": 10,
    "transpose": 24,
    "velocity": 64,
    "rng_seed": 2**31 - 1,
    "warmup_steps": 10**9,
    "samples": MAX_SAMPLES,
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """What decides the outcome of a run, together with the data. Saved with every run.

    The metadata of each field holds its help text.
    """

    timing_loss: str = dataclasses.field(
        default=CATEGORICAL, metadata={"help": f"loss of step and duration: {' or '.join(TIMING_LOSSES)}"}
    )
    units: int = dataclasses.field(default=256, metadata={"help": "width of each LSTM layer"})
    layers: int = dataclasses.field(default=2, metadata={"help": "LSTM layers"})
    head_units: int = dataclasses.field(default=128, metadata={"help": "hidden width of each field's head"})
    layer_norm: bool = dataclasses.field(
        default=False, metadata={"help": "normalise the inputs of the layers above the first, and of the heads"}
    )
    residual: bool = dataclasses.field(
        default=False, metadata={"help": "add the inputs of the layers above the first to their outputs"}
    )
    tied_embeddings: bool = dataclasses.field(
        default=False, metadata={"help": "output classes share the weights of their embeddings"}
    )
    dropout: float = dataclasses.field(
        default=0.2, metadata={"help": "share of the inputs that is dropped, per sequence"}
    )
    recurrent_dropout: float = dataclasses.field(
        default=0.0, metadata={"help": "share of the recurrent weights that is dropped, per step"}
    )
    embedding_dropout: float = dataclasses.field(
        default=0.0, metadata={"help": "share of the input symbols that is dropped, per sequence"}
    )
    context_units: int = dataclasses.field(
        default=0, metadata={"help": "hidden width of the scores that the notes so far give each pitch; 0 for none"}
    )
    context_notes: int = dataclasses.field(default=128, metadata={"help": "how many notes back these scores look"})
    context_lags: tuple[int, ...] = dataclasses.field(
        default=(), metadata={"help": "ticks, as 24,48,96: marks pitches that sounded that long ago"}
    )
    context_periods: tuple[int, ...] = dataclasses.field(
        default=(), metadata={"help": "ticks, as 24,96: the note's position in a beat, a bar"}
    )
    precision: str = dataclasses.field(
        default=FLOAT32, metadata={"help": "of matrix products: float32 or bfloat16; weights stay float32"}
    )
    batch_size: int = dataclasses.field(default=32, metadata={"help": "windows per step, over all replicas"})
    window: int = dataclasses.field(default=128, metadata={"help": "the most notes per window"})
    learning_rate: float = dataclasses.field(default=3e-3, metadata={"help": "Adam's highest rate"})
    final_rate: float = dataclasses.field(
        default=0.02, metadata={"help": "share of it that is left at the end (cosine)"}
    )
    warmup_steps: int = dataclasses.field(default=50, metadata={"help": "steps of linear warm-up"})
    clip_norm: float = dataclasses.field(default=1.0, metadata={"help": "largest norm of all gradients together"})
    weight_decay: float = dataclasses.field(
        default=0.0,
        metadata={"help": "each step shrinks each matrix by this times the learning rate (AdamW); 0 for none"},
    )
    weight_average: float = dataclasses.field(
        default=0.0,
        metadata={"help": "decay per step of the moving average of the weights that is validated and kept; 0 for none"},
    )
    epochs: float = dataclasses.field(default=30.0, metadata={"help": "passes over the training split"})
    max_minutes: float | None = dataclasses.field(
        default=None,
        metadata={"help": "end by then, with the rate decayed in time; the outcome then depends on the machine"},
    )
    evaluate_every: float = dataclasses.field(default=1.0, metadata={"help": "epochs between validations"})
    patience: int | None = dataclasses.field(
        default=8, metadata={"help": "validations without improvement before the run stops; 'none' never stops"}
    )
    transpose: int = dataclasses.field(default=5, metadata={"help": "augmentation: semitones up or down"})
    tempo: float = dataclasses.field(default=0.0, metadata={"help": "augmentation: scale times by up to 1 + this"})
    velocity: int = dataclasses.field(default=0, metadata={"help": "augmentation: velocity steps up or down"})
    on_nan: str = dataclasses.field(
        default=STOP,
        metadata={
            "help": "for a loss that is not finite or explodes: stop, or restore the last checkpoint and skip the batch"
        },
    )
    samples: int = dataclasses.field(default=4, metadata={"help": "pieces sampled at every validation; 0 for none"})
    rng_seed: int = dataclasses.field(default=0, metadata={"help": "random number seed of weights and batches"})

    def __post_init__(self) -> None:
        for name in ("context_lags", "context_periods"):  # JSON and YAML have lists
            object.__setattr__(self, name, tuple(getattr(self, name)))

    @property
    def model(self) -> ModelConfig:
        """The settings of the model."""
        return ModelConfig(**{field.name: getattr(self, field.name) for field in dataclasses.fields(ModelConfig)})

    def problems(self) -> list[str]:
        """Every value that cannot work, one sentence each."""
        problems = []
        for name, choices in CHOICES.items():
            if getattr(self, name) not in choices:
                problems.append(f"{name} is {getattr(self, name)!r}, want {' or '.join(choices)}")
        problems += self.model.problems()
        for name in ("batch_size", "window"):
            if not 1 <= getattr(self, name) <= MAX_BATCH:
                problems.append(f"{name} is {getattr(self, name)}, want 1 to {MAX_BATCH}")
        for name in ("learning_rate", "clip_norm", "epochs", "evaluate_every"):
            if not 0 < getattr(self, name) < math.inf:  # written so that NaN fails too
                problems.append(f"{name} is {getattr(self, name)}, want a number above 0")
        for name in UNIT_SHARES:
            if not 0 <= getattr(self, name) < 1:
                problems.append(f"{name} is {getattr(self, name)}, want at least 0 and below 1")
        for name, highest in HIGHEST.items():
            if not 0 <= getattr(self, name) <= highest:
                problems.append(f"{name} is {getattr(self, name)}, want 0 to {highest}")
        if not 0 < self.final_rate <= 1:
            problems.append(f"final_rate is {self.final_rate}, want above 0 and at most 1")
        if self.max_minutes is not None and not 0 < self.max_minutes < math.inf:
            problems.append(f"max_minutes is {self.max_minutes}, want a number above 0")
        if self.patience is not None and self.patience < 1:
            problems.append(f"patience is {self.patience}, want at least 1, or none")
        return problems


METAVARS = {bool: "TRUE|FALSE", int: "INT", float: "FLOAT", str: "STR", tuple: "INT,INT..."}


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Adds `--config` and a flag for every field; flags that are not given do not appear in the namespace."""
    parser.add_argument("--config", help="YAML file with any of the settings below, by the same names")
    group = parser.add_argument_group("settings (flags win over --config)")
    for field in dataclasses.fields(TrainConfig):
        shown = shown_value(field.default)
        group.add_argument(
            f"--{field.name.replace('_', '-')}",
            dest=field.name,
            default=argparse.SUPPRESS,
            metavar=METAVARS[kind_of(field.name)[0]],
            help=f"{field.metadata['help']} (default: {shown})",
        )


def shown_value(value: Any) -> str:
    """A setting as flags and YAML files write it."""
    if isinstance(value, tuple):
        return ",".join(map(str, value)) or "none"
    return "none" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def read(args: argparse.Namespace, *, base: TrainConfig = TrainConfig()) -> TrainConfig:
    """The settings of `base`, overridden by the file and then by the flags.

    Raises:
      UserError: every unknown key, value of the wrong kind, and value out of range, all at once.
    """
    given: dict[str, tuple[Any, str]] = {}
    if args.config:
        given.update({key: (value, f"{args.config}: {key}") for key, value in yaml_file.load(args.config).items()})
    names = {field.name for field in dataclasses.fields(TrainConfig)}
    for name in names & vars(args).keys():
        given[name] = (getattr(args, name), f"--{name.replace('_', '-')}")
    values, problems = {}, []
    for name, (value, source) in given.items():
        if name not in names:
            problems.append(f"{source}: no such setting, want one of {', '.join(sorted(names))}")
            continue
        try:
            values[name] = convert(name, value)
        except ValueError as error:
            problems.append(f"{source}: {error}")
    config = dataclasses.replace(base, **values)
    problems += config.problems()
    if problems:
        raise UserError(problems)
    return config


def kind_of(name: str) -> tuple[type, bool]:
    """A field's type, and whether it may be None."""
    hint = typing.get_type_hints(TrainConfig)[name]
    if isinstance(hint, types.UnionType):
        return next(kind for kind in typing.get_args(hint) if kind is not type(None)), True
    return typing.get_origin(hint) or hint, False


def convert(name: str, value: Any) -> Any:
    """A flag's text or a YAML value as the field's type; text and YAML follow the same rules."""
    kind, optional = kind_of(name)
    if optional and (value is None or value == "none"):
        return None
    if kind is tuple:
        return _whole_numbers(value)
    wanted = {int: "a whole number", float: "a number", str: "a word", bool: "true or false"}[kind]
    problem = ValueError(f"is {json_text.shown(value)}, want {wanted}{' or none' if optional else ''}")
    if kind is bool:
        if isinstance(value, str):
            value = {"true": True, "false": False}.get(value.lower())
        if not isinstance(value, bool):
            raise problem
        return value
    if (
        isinstance(value, bool)
        or not isinstance(value, int | float | str)
        or (kind is int and isinstance(value, float))
    ):
        raise problem
    try:
        return _READ[kind](value) if isinstance(value, str) else kind(value)
    except (OverflowError, ValueError):
        raise problem from None


_READ: dict[type, Callable[[str], Any]] = {int: numerals.whole, float: numerals.number, str: str}


def _whole_numbers(value: Any) -> tuple[int, ...]:
    """A YAML list, or text as `1,2,3`; empty or `none` for no numbers."""
    numbers = value if isinstance(value, list | tuple) else [text for text in str(value).split(",") if text != "none"]
    try:
        return tuple(numerals.whole(str(number)) for number in numbers if str(number).strip())
    except ValueError:
        raise ValueError(f"is {json_text.shown(value)}, want whole numbers as 1,2,3, or none") from None
