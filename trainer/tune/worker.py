"""One worker of a study: takes trials, trains them, and records their results."""

from __future__ import annotations

import functools
import logging
import math
import time
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
import optuna
from optuna.exceptions import UpdateFinishedTrialError
from optuna.samplers import TPESampler
from optuna.study import Study
from optuna.trial import Trial

from job_runtime import storage as storage_lib
from job_runtime.command import Interrupted, StopSignal
from job_runtime.problem_report import UserError
from trainer.config import TrainConfig
from trainer.run_output.run_state import Diverged
from trainer.training.hooks import Halted
from trainer.tune import trials as trials_lib
from trainer.tune.search_space import SearchSpace

POLL_SECONDS = 0.5
RANDOM_TRIALS = 10  # before the sampler has enough results
OUT_OF_MEMORY = ("MemoryError", "ResourceExhaustedError")  # the latter is TensorFlow's, which is not imported here
_log = logging.getLogger(__name__)


class TrialFailed(Exception):
    """A trial that its own settings made impossible; the study continues."""


class _TakenAway(Exception):
    """Another worker continues this trial: its heartbeats did not arrive for too long."""


class _Watch:
    """The stop signal of a trial's run, which also ends the run once another worker has taken the trial.

    A run polls it between steps, before it writes. So a process that was stopped for a long time (on a suspended
    machine) and was taken for dead writes nothing more into the folder in which the other worker continues.
    """

    def __init__(self, stop: StopSignal, study: Study, number: int, *, check_seconds: float):
        self._stop, self._study, self._number, self._check_seconds = stop, study, number, check_seconds
        self._checked = _clock()

    @property
    def requested(self) -> bool:
        if _clock() - self._checked > self._check_seconds:
            self._check()
            self._checked = _clock()
        return self._stop.requested

    def listen(self) -> None:
        self._stop.listen()

    def _check(self) -> None:
        try:
            state = self._study.get_trials(deepcopy=False)[self._number].state
        except Exception as error:  # of the database, which may be down for a while
            _log.warning("the study cannot be read: %s", type(error).__name__)
            return
        if state.is_finished():
            raise _TakenAway


def _clock() -> float:
    """Seconds, including the time a machine is suspended, which `time.monotonic` leaves out."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class TrainFunction(Protocol):
    """The signature of `trainer.training.whole_run.train`, as far as a study uses it."""

    def __call__(
        self,
        config: TrainConfig,
        *,
        data: str,
        folder: str,
        stop: Any,
        on_validation: Callable[[dict[str, Any]], None] | None = None,
    ) -> Any: ...


def trial_folder(output: str, trial: int) -> str:
    """The run folder of a trial."""
    return storage_lib.join(output, "trials", f"{trial:04d}")


class Worker:
    """Runs trials of a study until all workers together have `num_trials`.

    Args:
      study, space: the study and its search space.
      train: `trainer.training.whole_run.train`.
      data: dataset folder.
      output: folder of the trials' run folders.
      num_trials: of all workers and of all starts.
      name: of this worker, for the report.
      rng_seed: of the study's random numbers.
      check_seconds: between two checks that the trial is still this worker's; at most the time after which a worker
        counts as dead.
    """

    def __init__(
        self,
        study: Study,
        space: SearchSpace,
        *,
        train: TrainFunction,
        data: str,
        output: str,
        num_trials: int,
        name: str,
        rng_seed: int,
        check_seconds: float = 1.0,
    ):
        self._study, self._space, self._train, self._data = study, space, train, data
        self._output, self._num_trials, self._name = output, num_trials, name
        self._rng_seed, self._check_seconds = rng_seed, check_seconds
        self._unbegun = trials_lib.UnbegunTrials()

    def run(self, stop: StopSignal, *, grace_seconds: float | None, after_trial: Callable[[], None]) -> None:
        """Works until nothing is left to do.

        Args:
          stop: polled between trials and handed to them.
          grace_seconds: time without a heartbeat after which a worker counts as dead; None without heartbeats. When
            only trials of other workers are left, this one stays a little longer, to take over those of a dead worker.
          after_trial: called after each trial.

        Raises:
          Interrupted: a signal came; the trial was saved and handed on.
        """
        idle_since: float | None = None
        patience = 0.0 if grace_seconds is None else grace_seconds + self._check_seconds
        while True:
            if stop.requested:
                raise Interrupted("no trial was running")
            if grace_seconds is not None:
                optuna.storages.fail_stale_trials(self._study)
                self._unbegun.take_over(self._study, grace_seconds)
            trials_lib.reclaim(self._study)
            if trials_lib.has_work(self._study, self._num_trials):
                self._take_one(stop)
                after_trial()
                idle_since = None
                continue
            others = trials_lib.running(self._study)
            idle_since = time.monotonic() if idle_since is None else idle_since
            if not others or time.monotonic() - idle_since >= patience:
                if others:
                    print(f"nothing left to begin; other workers have {len(others)} trial(s) to finish", flush=True)
                return
            time.sleep(POLL_SECONDS)

    def _take_one(self, stop: StopSignal) -> None:
        self._fault = False
        try:
            self._study.optimize(functools.partial(self._objective, stop=stop), n_trials=1, catch=(TrialFailed,))
        except (ValueError, UpdateFinishedTrialError, _TakenAway):
            # Optuna refuses the result of an attempt that has been marked as dead.
            if self._fault:
                raise
            print("another worker continues this trial: its heartbeats came too late", flush=True)

    def _objective(self, trial: Trial, *, stop: StopSignal) -> float:
        """Trains one trial; returns its best validation NLL."""
        all_attempts = trials_lib.attempts(self._study)
        mine = all_attempts[trial.number]
        if (
            mine.is_surplus
            or trials_lib.is_duplicate(all_attempts, mine)
            or trials_lib.is_beyond(all_attempts, mine, self._num_trials)
        ):
            trial.set_user_attr(trials_lib.SURPLUS, True)
            raise TrialFailed("surplus")
        if mine.deaths > trials_lib.MAX_DEATHS:
            died = f"its worker died {mine.deaths} times in a row"
            trial.set_user_attr(trials_lib.REASON, trial.user_attrs.get(trials_lib.FAULT, died))
        if (
            trials_lib.REASON in trial.user_attrs
        ):  # perhaps of an earlier attempt, whose worker died just after setting it
            raise TrialFailed(trial.user_attrs[trials_lib.REASON])
        trial.set_user_attr(trials_lib.WORKER, self._name)
        self._study.sampler = keyed_sampler(self._rng_seed, mine.trial)
        params = self._space.suggest(trial)
        again = f", attempt {len(mine.earlier) + 1}" if mine.earlier else ""
        print(
            f"trial {mine.trial}{again}: {', '.join(f'{name} {_short(params[name])}' for name in params)}", flush=True
        )
        try:
            outcome = self._train(
                self._space.config_of(params),
                data=self._data,
                folder=trial_folder(self._output, mine.trial),
                stop=_Watch(stop, self._study, trial.number, check_seconds=self._check_seconds),
                on_validation=functools.partial(self._on_validation, trial),
            )
        except Exception as error:
            self._end_badly(trial, error)
            raise
        if outcome.state.halted:
            print(f"trial {mine.trial}: {outcome.state.halted}", flush=True)
            raise optuna.TrialPruned(outcome.state.halted)
        print(f"trial {mine.trial}: {outcome.state.best_nll:.4f} nats per note", flush=True)
        return outcome.state.best_nll

    def _on_validation(self, trial: Trial, entry: dict[str, Any]) -> None:
        """Reports a validation to the study; ends the run if the pruner says so."""
        number = validation_number(entry["epoch"], self._space.base.evaluate_every)
        try:
            # After a death between the report and the checkpoint, the same validation is done again.
            if number not in self._study.get_trials(deepcopy=False)[trial.number].intermediate_values:
                trial.report(entry["validation_nll"], number)
        except UpdateFinishedTrialError:
            raise _TakenAway from None
        if trial.should_prune():
            raise Halted(f"pruned after validation {number} with {entry['validation_nll']:.4f} nats per note")

    def _end_badly(self, trial: Trial, error: Exception) -> None:
        """Records why a trial ended with an exception: interrupted, impossible, or a fault of this worker."""
        frozen = self._study.get_trials(deepcopy=False)[trial.number]
        if frozen.state.is_finished():
            raise _TakenAway from error
        if isinstance(error, Diverged) or type(error).__name__ in OUT_OF_MEMORY:
            reason = str(error) if isinstance(error, Diverged) else f"out of memory: {str(error)[:200]}"
            print(f"trial {trials_lib.attempts(self._study)[trial.number].trial} failed: {reason}", flush=True)
            trial.set_user_attr(trials_lib.REASON, reason)
            raise TrialFailed(reason) from error
        self._fault = True
        if isinstance(error, Interrupted | UserError):
            trial.set_user_attr(trials_lib.STOPPED, trial.number)
        else:
            trial.set_user_attr(trials_lib.FAULT, f"{type(error).__name__}: {error}"[:500])
        # Done before Optuna marks this attempt as failed, so that a kill between the two costs nothing.
        trials_lib.hand_on(self._study, trial.number)


def keyed_sampler(rng_seed: int, trial: int) -> TPESampler:
    """Optuna's TPE sampler for one trial, whose random numbers depend on the trial and not on the process.

    With `constant_liar`, running trials count as bad ones, so that workers spread out.
    """
    seed = int(np.random.SeedSequence([rng_seed, trial]).generate_state(1)[0])
    return TPESampler(seed=seed, n_startup_trials=RANDOM_TRIALS, constant_liar=True)


def validation_number(epoch: float, evaluate_every: float) -> int:
    """The number of a validation, from 1; at equal numbers two trials have seen equally many notes."""
    return max(1, math.floor(epoch / evaluate_every + 1e-3))


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
