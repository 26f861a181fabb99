"""Trials and their attempts: what Optuna calls a trial is an attempt here.

A trial is one set of values, trained in one run folder. Usually one attempt is enough. When its worker stops or dies,
Optuna's retry callback adds the next attempt, which has the same values and continues in the same folder from its
checkpoint, in any worker. Optuna records in `retry_history` which attempts belong together.
"""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import time
from collections.abc import Iterable

from optuna.exceptions import UpdateFinishedTrialError
from optuna.storages import RetryHeartbeatStaleTrialCallback
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

# Attributes of an attempt. The next attempt inherits all of them; one that holds a number applies to that attempt only.
BEGUN = "begun"  # its number, once it has sent a heartbeat
STOPPED = "stopped"  # its number, if a signal or a user's mistake ended it
FAULT = "fault"  # the last exception that ended an attempt
REASON = "reason"  # why the trial failed for good
SURPLUS = "surplus"  # several workers began the last trial at the same moment, and this one was late
WORKER = "worker"

MAX_DEATHS = 3  # in a row without a validation; after more, the trial is assumed to kill its workers


def make_retry() -> RetryHeartbeatStaleTrialCallback:
    """Optuna's retry callback, without a limit: `max_retry` would also count signals, and deaths after a validation."""
    return RetryHeartbeatStaleTrialCallback(inherit_intermediate_values=True)


@dataclasses.dataclass(frozen=True)
class Attempt:
    """One attempt, after the earlier ones of the same trial."""

    trial: int  # counted from 0
    earlier: tuple[FrozenTrial, ...]
    frozen: FrozenTrial

    @property
    def number(self) -> int:
        """Optuna's trial number of the attempt."""
        return self.frozen.number

    @property
    def is_surplus(self) -> bool:
        return bool(self.frozen.user_attrs.get(SURPLUS))

    @property
    def reason(self) -> str | None:
        """Why the trial failed for good, if it did."""
        return self.frozen.user_attrs.get(REASON) if self.frozen.state == TrialState.FAIL else None

    @property
    def deaths(self) -> int:
        """How many of the latest attempts died in a row without a new validation."""
        deaths = num_validations = 0
        for attempt in self.earlier:
            if len(attempt.intermediate_values) > num_validations:
                deaths, num_validations = 0, len(attempt.intermediate_values)
            deaths += attempt.user_attrs.get(STOPPED) != attempt.number
        return deaths


def attempts(study: Study) -> list[Attempt]:
    """Every attempt, in Optuna's order. The number of a trial depends only on attempts before it."""
    found: list[Attempt] = []
    num_trials = 0
    for frozen in study.get_trials(deepcopy=False):
        numbers = RetryHeartbeatStaleTrialCallback.retry_history(frozen)
        trial = found[numbers[0]].trial if numbers else num_trials
        num_trials += not numbers
        found.append(Attempt(trial, tuple(found[number].frozen for number in numbers), frozen))
    return found


def is_duplicate(all_attempts: Iterable[Attempt], attempt: Attempt) -> bool:
    """Whether an earlier attempt is the same one: two workers may hand on a trial at the same moment."""
    return any(
        other.number < attempt.number and (other.trial, len(other.earlier)) == (attempt.trial, len(attempt.earlier))
        for other in all_attempts
    )


def current(all_attempts: Iterable[Attempt]) -> dict[int, Attempt]:
    """The latest attempt of every trial, which has its state; without surplus trials."""
    found: dict[int, Attempt] = {}
    for attempt in all_attempts:
        known = found.get(attempt.trial)
        if not attempt.is_surplus and (known is None or len(attempt.earlier) > len(known.earlier)):
            found[attempt.trial] = attempt
    return found


def is_beyond(all_attempts: Iterable[Attempt], attempt: Attempt, num_trials: int) -> bool:
    """Whether a trial that has just begun exceeds `num_trials`; Optuna's `MaxTrialsCallback` would overshoot."""
    before = sum(other.number < attempt.number and not other.earlier and not other.is_surplus for other in all_attempts)
    return not attempt.earlier and before >= num_trials


def has_work(study: Study, num_trials: int) -> bool:
    """Whether there is a trial to begin or to continue."""
    all_attempts = attempts(study)
    waiting = any(attempt.frozen.state == TrialState.WAITING for attempt in all_attempts)
    return waiting or len(current(all_attempts)) < num_trials


def running(study: Study) -> list[Attempt]:
    return [attempt for attempt in attempts(study) if attempt.frozen.state == TrialState.RUNNING]


def hand_on(study: Study, number: int) -> None:
    """Adds the next attempt of the same trial for any worker to take, unless there is one already."""
    all_attempts = attempts(study)
    mine = all_attempts[number]
    if current(all_attempts).get(mine.trial) is mine:
        make_retry()(study, copy.deepcopy(mine.frozen))  # the callback changes what it is given


def reclaim(study: Study) -> None:
    """Hands on attempts marked as dead by a worker that then died itself, before Optuna's callback ran."""
    for attempt in current(attempts(study)).values():
        if attempt.frozen.state == TrialState.FAIL and attempt.reason is None:
            hand_on(study, attempt.number)


def take_over(study: Study, taken: Iterable[Attempt]) -> None:
    """Hands on attempts that count as running although they have no worker."""
    for attempt in taken:
        with contextlib.suppress(UpdateFinishedTrialError):  # it was still alive, or another worker was faster
            study.tell(attempt.number, state=TrialState.FAIL, skip_if_finished=True)
    reclaim(study)


class UnbegunTrials:
    """Running trials whose worker died before its first heartbeat; Optuna would wait for them for ever."""

    def __init__(self) -> None:
        self._since: dict[int, float] = {}

    def take_over(self, study: Study, grace_seconds: float) -> None:
        """Hands on those that this process has known for longer than `grace_seconds`."""
        now = time.monotonic()
        unbegun = [attempt for attempt in running(study) if attempt.frozen.user_attrs.get(BEGUN) != attempt.number]
        self._since = {attempt.number: self._since.get(attempt.number, now) for attempt in unbegun}
        take_over(study, [attempt for attempt in unbegun if now - self._since[attempt.number] > grace_seconds])
