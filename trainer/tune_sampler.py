"""Optuna's TPE with random numbers by key: a trial's values follow from its number and the trials before it.

Workers that are alike would otherwise draw alike, and a worker that starts again would repeat its first draws.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, TPESampler
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState


class KeyedTPE(BaseSampler):
    """TPE (Bergstra et al., 2011) that a trial starts anew with a seed of its own.

    `constant_liar`: trials that still run count as bad ones, so that workers spread out.

    Args:
      rng_seed: of the study.
      number_of: the trial that an attempt belongs to, counted from 0.
      num_random: trials drawn at random before the estimator has enough to go by.
    """

    def __init__(self, rng_seed: int, number_of: Callable[[Study, FrozenTrial], int], num_random: int):
        self._rng_seed, self._number_of, self._num_random = rng_seed, number_of, num_random
        self._current: tuple[int, TPESampler] | None = None

    def _of(self, study: Study, trial: FrozenTrial) -> TPESampler:
        if self._current is None or self._current[0] != trial.number:
            seed = np.random.SeedSequence([self._rng_seed, self._number_of(study, trial)]).generate_state(1)[0]
            sampler = TPESampler(seed=int(seed), n_startup_trials=self._num_random, constant_liar=True)
            self._current = trial.number, sampler
        return self._current[1]

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        return self._of(study, trial).infer_relative_search_space(study, trial)

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        return self._of(study, trial).sample_relative(study, trial, search_space)

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        return self._of(study, trial).sample_independent(study, trial, param_name, param_distribution)

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        self._of(study, trial).before_trial(study, trial)

    def after_trial(self, study: Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None) -> None:
        self._of(study, trial).after_trial(study, trial, state, values)
