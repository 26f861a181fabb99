"""Trials and their attempts: what Optuna calls a trial is an attempt here.

A trial is one set of values, trained in one run folder. Usually one attempt does it. When its worker stops or dies,
the next attempt has the same values and goes on in the same folder from its checkpoint, in any worker. A finished
attempt never changes, which is what makes it safe that several workers see it die: only one of them can mark it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

import optuna
from optuna.exceptions import UpdateFinishedTrialError
from optuna.storages import BaseStorage
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

# Attributes of an attempt.
CONTINUES = "continues"  # the trial it goes on with; a trial's first attempt has none
ATTEMPT = "attempt"  # 1 for the second
DEATHS = "deaths"  # of workers since the trial's last new validation
BEGUN_WITH = "begun_with"  # validations that earlier attempts had done
REASON = "reason"  # why it failed, where the settings are to blame
SURPLUS = "surplus"  # workers asked for the last trial at the same moment, and this one came late
WORKER = "worker"

MAX_DEATHS = 3  # without a validation between; then the trial counts as what kills its workers


@dataclasses.dataclass(frozen=True)
class Attempt:
    """One attempt, and the trial that it belongs to, counted from 0."""

    trial: int
    frozen: FrozenTrial

    @property
    def number(self) -> int:
        """Of the attempt, as Optuna counts."""
        return self.frozen.number

    @property
    def attempt(self) -> int:
        return self.frozen.user_attrs.get(ATTEMPT, 0)

    @property
    def is_surplus(self) -> bool:
        return bool(self.frozen.user_attrs.get(SURPLUS))

    @property
    def reason(self) -> str | None:
        """Why the trial failed for good, where it did."""
        if self.frozen.state != TrialState.FAIL:
            return None
        if self.deaths_with_this > MAX_DEATHS:
            return self.frozen.user_attrs.get(REASON, f"its worker died {self.deaths_with_this} times in a row")
        return self.frozen.user_attrs.get(REASON)

    @property
    def has_progress(self) -> bool:
        """Whether this attempt did a validation that none before it did."""
        return len(self.frozen.intermediate_values) > self.frozen.user_attrs.get(BEGUN_WITH, 0)

    @property
    def deaths_with_this(self) -> int:
        """In a row without progress, should this attempt have died too."""
        return 1 if self.has_progress else 1 + self.frozen.user_attrs.get(DEATHS, 0)


def attempts(study: Study) -> list[Attempt]:
    """Every attempt, in Optuna's order. A trial's number follows from those of lower number alone."""
    found, num_trials = [], 0
    for frozen in study.get_trials(deepcopy=False):
        if CONTINUES in frozen.user_attrs:
            found.append(Attempt(frozen.user_attrs[CONTINUES], frozen))
        else:
            found.append(Attempt(num_trials, frozen))
            num_trials += 1
    return found


def trial_of(study: Study, frozen: FrozenTrial) -> int:
    """The trial that an attempt belongs to."""
    return attempts(study)[frozen.number].trial


def is_duplicate(all_attempts: Iterable[Attempt], attempt: Attempt) -> bool:
    """Whether an earlier one is the same attempt: two workers may notice a death at the same moment."""
    return any(
        other.number < attempt.number and (other.trial, other.attempt) == (attempt.trial, attempt.attempt)
        for other in all_attempts
    )


def current(all_attempts: Iterable[Attempt]) -> dict[int, Attempt]:
    """The attempt that says how a trial stands, by trial; without surplus trials."""
    found: dict[int, Attempt] = {}
    for attempt in all_attempts:
        there = found.get(attempt.trial)
        if not attempt.is_surplus and (there is None or attempt.attempt > there.attempt):
            found[attempt.trial] = attempt
    return found


def is_beyond(all_attempts: Iterable[Attempt], attempt: Attempt, num_trials: int) -> bool:
    """Whether a trial that has just begun is one more than there shall be."""
    before = sum(
        other.number < attempt.number and CONTINUES not in other.frozen.user_attrs and not other.is_surplus
        for other in all_attempts
    )
    return CONTINUES not in attempt.frozen.user_attrs and before >= num_trials


def has_work(study: Study, num_trials: int) -> bool:
    """Whether there is a trial to begin or to go on with."""
    all_attempts = attempts(study)
    waiting = any(attempt.frozen.state == TrialState.WAITING for attempt in all_attempts)
    return waiting or len(current(all_attempts)) < num_trials


def running(study: Study) -> list[Attempt]:
    return [attempt for attempt in attempts(study) if attempt.frozen.state == TrialState.RUNNING]


def hand_on(study: Study, frozen: FrozenTrial, *, died: bool) -> None:
    """Adds the next attempt of the same trial, for any worker to take.

    Nothing happens where there is one already, or where the trial has failed for good.

    Args:
      frozen: the attempt that ends.
      died: whether it ended without a word; so many such deaths in a row, and the trial is given up.
    """
    all_attempts = attempts(study)
    mine = all_attempts[frozen.number]
    is_last = current(all_attempts).get(mine.trial) is mine
    if not is_last or mine.frozen.user_attrs.get(REASON) or (died and mine.deaths_with_this > MAX_DEATHS):
        return
    deaths = mine.deaths_with_this if died else 0 if mine.has_progress else mine.deaths_with_this - 1
    study.add_trial(
        optuna.create_trial(
            state=TrialState.WAITING,
            params=mine.frozen.params,
            distributions=mine.frozen.distributions,
            intermediate_values=mine.frozen.intermediate_values,
            system_attrs=mine.frozen.system_attrs,  # the rungs of successive halving that it has passed
            user_attrs={
                CONTINUES: mine.trial,
                ATTEMPT: mine.attempt + 1,
                DEATHS: deaths,
                BEGUN_WITH: len(mine.frozen.intermediate_values),
            },
        )
    )


def on_stale(study: Study, frozen: FrozenTrial) -> None:
    """Optuna's callback for an attempt whose heartbeats have ended."""
    print(f"trial {trial_of(study, frozen)}: no heartbeat for too long; any worker goes on with it", flush=True)
    hand_on(study, frozen, died=True)


def reclaim(study: Study) -> None:
    """Hands on what was marked as dead by a worker that died itself before it could hand it on."""
    for attempt in current(attempts(study)).values():
        if attempt.frozen.state == TrialState.FAIL and attempt.reason is None:
            hand_on(study, attempt.frozen, died=True)


def take_from_dead(study: Study, storage: BaseStorage) -> int:
    """Hands on every attempt that is running, for someone who knows that no worker is; how many."""
    study_id = storage.get_study_id_from_name(study.study_name)
    taken = running(study)
    for attempt in taken:
        trial_id = storage.get_trial_id_from_study_id_trial_number(study_id, attempt.number)
        try:
            storage.set_trial_state_values(trial_id, TrialState.FAIL)
        except UpdateFinishedTrialError:
            continue  # it was alive, or another worker was faster
    reclaim(study)
    return len(taken)
