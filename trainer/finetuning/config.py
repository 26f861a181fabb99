"""The settings of fine-tuning: what both objectives share, and each one's own. Every field is a flag."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from job_runtime.command_line import numerals
from job_runtime.command_line.settings import Kind, is_number, same_setting, setting
from trainer.config import TrainConfig

PAIRS, REWARDS, OPTIMISATION = "pairs (--pairs)", "rewards (--rewards)", "optimisation"


@dataclasses.dataclass(frozen=True, kw_only=True)
class FinetuneConfig:
    """What decides the outcome of a run with either objective, together with the bundle and the data."""

    kl_weight: float | None = setting(
        None,
        "weight of the divergence from the start per note; higher keeps closer to it",
        at_least=0,
        default_text="1 with --pairs, 0.2 with --rewards",
    )
    max_kl: float = setting(0.05, "keep no model whose divergence from the start is more nats per note", above=0)
    max_nats_lost: float = setting(
        0.03, "keep no model whose validation likelihood is worse by more nats per note", at_least=0
    )
    precision: str = same_setting(TrainConfig, "precision")
    learning_rate: float | None = setting(
        None,
        "Adam's highest learning rate",
        above=0,
        default_text="0.0001 with --pairs, 0.0003 with --rewards",
        group=OPTIMISATION,
    )
    patience: int | None = setting(
        4, "validations without improvement before the run stops; 'none' never stops", at_least=1, group=OPTIMISATION
    )
    max_minutes: float | None = same_setting(TrainConfig, "max_minutes")
    rng_seed: int = setting(0, "random number seed of pairs and drawn pieces", at_least=0, at_most=2**31 - 1)


@dataclasses.dataclass(frozen=True, kw_only=True)
class PairConfig:
    """The settings of `--pairs`."""

    beta: float = setting(
        0.1,
        "how much a nat between the pieces of a pair counts; higher keeps closer to the start (DPO)",
        above=0,
        group=PAIRS,
    )
    num_pairs: int = setting(8, "pairs per step, over all replicas", at_least=1, at_most=2**19, group=PAIRS)
    epochs: float = setting(8.0, "the most passes over the pairs", above=0, group=PAIRS)
    evaluate_every: float = setting(1.0, "epochs between validations", above=0, group=PAIRS)
    transpose: int = same_setting(TrainConfig, "transpose", group=PAIRS)


def _read_weights(text: str) -> dict[str, float]:
    found: dict[str, float] = {}
    for part in text.split(","):
        name, has_weight, weight = part.strip().partition("=")
        if name in found:
            raise ValueError(f"which has {name} twice, want each reward once")
        found[name] = numerals.number(weight) if has_weight else 1.0
    return found


def _are_weights(value: Any) -> bool:
    return isinstance(value, Mapping) and bool(value) and all(is_number(own) and own > 0 for own in value.values())


WEIGHTS = Kind("names of rewards, each once, with weights above 0: NAME or NAME=WEIGHT", _are_weights, _read_weights)


@dataclasses.dataclass(frozen=True, kw_only=True)
class RewardConfig:
    """The settings of `--rewards`."""

    rewards: Mapping[str, float] | None = setting(
        None,
        "what drawn pieces are rewarded for: screening, measures of music, functions MODULE:NAME",
        kind=WEIGHTS,
        metavar="NAME=WEIGHT,...",
    )
    num_pieces: int = setting(
        64,
        "pieces drawn per step, over all replicas; they are compared with each other",
        at_least=2,
        at_most=4096,
        group=REWARDS,
    )
    max_notes: int = setting(256, "notes at which a drawn piece is cut", at_least=16, at_most=4096, group=REWARDS)
    min_p: float = setting(
        0.05,
        "pitches less likely than this fraction of the likeliest are not drawn, as generate does it",
        at_least=0,
        at_most=1,
        group=REWARDS,
    )
    draw_endings: bool = setting(
        False, "whether a piece may end before --max-notes; generate lets few do so", group=REWARDS
    )
    steps: int = setting(100, "the most steps", at_least=1, at_most=10**6, group=REWARDS)
    validate_every: int = setting(20, "steps between validations", at_least=1, group=REWARDS)
    validation_pieces: int = setting(
        256, "pieces drawn per validation, always from the same random streams", at_least=2, group=REWARDS
    )
