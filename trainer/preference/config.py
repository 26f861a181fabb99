"""The settings of fine-tuning on preferences. Every field is a flag."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from job_runtime.command_line.settings import same_setting, setting
from trainer.config import TrainConfig

OBJECTIVE, OPTIMISATION = "objective", "optimisation"


@dataclasses.dataclass(frozen=True, kw_only=True)
class FinetuneConfig:
    """What decides the outcome of a run, together with the bundle, the pairs and the data."""

    beta: float = setting(
        0.1,
        "how much a nat between the pieces of a pair counts; higher keeps closer to the start (DPO)",
        above=0,
        group=OBJECTIVE,
    )
    kl_weight: float = setting(
        1.0,
        "weight of the divergence from the start per note, beside the mean loss of a pair",
        at_least=0,
        group=OBJECTIVE,
    )
    max_kl: float = setting(
        0.05, "keep no model whose divergence from the start is more nats per note", above=0, group=OBJECTIVE
    )
    max_nats_lost: float = setting(
        0.03, "keep no model whose validation likelihood is worse by more nats per note", at_least=0, group=OBJECTIVE
    )
    num_pairs: int = setting(8, "pairs per step, over all replicas", at_least=1, at_most=2**19, group=OPTIMISATION)
    learning_rate: float = setting(1e-4, "Adam's highest learning rate", above=0, group=OPTIMISATION)
    epochs: float = setting(8.0, "the most passes over the pairs", above=0, group=OPTIMISATION)
    evaluate_every: float = setting(1.0, "epochs between validations", above=0, group=OPTIMISATION)
    patience: int | None = setting(
        4, "validations without improvement before the run stops; 'none' never stops", at_least=1, group=OPTIMISATION
    )
    max_minutes: float | None = same_setting(TrainConfig, "max_minutes")
    transpose: int = same_setting(TrainConfig, "transpose")
    rng_seed: int = setting(
        0, "random number seed of the order and transposition of pairs", at_least=0, at_most=2**31 - 1
    )

    def train_config(self, fixed: Mapping[str, Any]) -> TrainConfig:
        """The settings of the loop.

        Args:
          fixed: those that the bundle fixes.
        """
        return TrainConfig(
            **fixed,
            batch_size=2 * self.num_pairs,
            learning_rate=self.learning_rate,
            final_rate=0.1,
            warmup_steps=10,
            epochs=self.epochs,
            evaluate_every=self.evaluate_every,
            patience=self.patience,
            max_minutes=self.max_minutes,
            transpose=self.transpose,
            rng_seed=self.rng_seed,
            samples=0,
        )
