"""Workers of a study with a stand-in for training: trials, attempts, signals, deaths, the number of trials."""

import dataclasses
import threading
import time
from collections.abc import Callable

import optuna
import pytest
from optuna.trial import TrialState

from job_runtime import command
from job_runtime.command import Interrupted
from job_runtime.problem_report import UserError
from trainer.config import TrainConfig
from trainer.run_output.run_state import Diverged
from trainer.training.hooks import Halted
from trainer.tune import study_storage, trials, worker
from trainer.tune.search_space import Choices, Range, SearchSpace
from trainer.tune.worker import Worker, validation_number

pytestmark = [
    pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning"),
    pytest.mark.filterwarnings("ignore:Heartbeat of storage"),  # these tests ask as a worker that dies would
]
SPACE = SearchSpace({"dropout": Range(0.0, 0.5), "layers": Choices((1, 2, 4))}, TrainConfig(epochs=4.0))
IDENTITY = {**SPACE.to_json(), "dataset": "abc"}


@dataclasses.dataclass
class State:
    best_nll: float
    halted: str | None = None


@dataclasses.dataclass
class Outcome:
    state: State


class FakeTraining:
    """Stands in for `training.train`: four validations, each nearer to dropout + layers; folders keep how far it is."""

    def __init__(self):
        self.done: dict[str, int] = {}  # validations by folder: the checkpoints
        self.runs: list[tuple[str, float, int]] = []  # folder, dropout, validation it began after
        self.fail = lambda folder, epoch: None  # called before each validation; may raise
        self.seconds = 0.0
        self.cache_dirs: set[str | None] = set()

    def __call__(self, config, *, data, folder, stop, on_validation=None, cache_dir=None):
        self.cache_dirs.add(cache_dir)
        name = folder.rsplit("/", 1)[-1]
        self.runs.append((name, config.dropout, self.done.get(name, 0)))
        value = config.dropout + config.layers
        for epoch in range(self.done.get(name, 0) + 1, 5):
            time.sleep(self.seconds)
            if stop.requested:
                raise Interrupted("saved")
            self.fail(name, epoch)
            try:
                on_validation({"epoch": epoch + 0.01, "validation_nll": value + 4 - epoch})
            except Halted as halt:
                return Outcome(State(value + 4 - epoch, str(halt)))
            self.done[name] = epoch
        return Outcome(State(value))


@pytest.fixture(autouse=True)
def few_random_trials(monkeypatch):
    monkeypatch.setattr(worker, "RANDOM_TRIALS", 3)


@pytest.fixture(params=["sqlite", pytest.param("journal", marks=pytest.mark.slow)])
def url(request, tmp_path) -> str:
    return f"sqlite:///{tmp_path}/study.db" if request.param == "sqlite" else str(tmp_path / "study.journal")


def open_study(url: str, *, pruner=None, beat_seconds: int = 1) -> optuna.Study:
    storage = study_storage.open_storage(url, beat_seconds=beat_seconds)
    return study_storage.create_or_load(storage, "test", IDENTITY, pruner=pruner or optuna.pruners.NopPruner())


def make_worker(study: optuna.Study, training, num_trials: int, **more) -> Worker:
    paths = {"data": "data", "output": "out"}
    return Worker(study, SPACE, train=training, **paths, num_trials=num_trials, name="w", rng_seed=7, **more)


def run(study, training, num_trials, *, stop=None, grace_seconds: float | None = None) -> None:
    make_worker(study, training, num_trials).run(
        stop or command.StopSignal(), grace_seconds=grace_seconds, after_trial=lambda: None
    )


def fail_at(folder: str, epoch: int, error: Exception) -> Callable[[str, int], None]:
    """Makes the validation of a trial fail, and those after it."""

    def fail(name: str, number: int) -> None:
        if name == folder and number >= epoch:
            raise error

    return fail


def standing(study: optuna.Study) -> list[tuple[int, str, float | None]]:
    """Trial, state and value of each trial."""
    of_trial = trials.current(trials.attempts(study))
    return [(trial, of_trial[trial].frozen.state.name, of_trial[trial].frozen.value) for trial in sorted(of_trial)]


def params_of(study: optuna.Study) -> list[dict]:
    of_trial = trials.current(trials.attempts(study))
    return [of_trial[trial].frozen.params for trial in sorted(of_trial)]


def test_trials_are_trained_in_folders_of_their_own_and_told(url):
    study, training = open_study(url), FakeTraining()
    run(study, training, 4)
    assert [name for name, _, _ in training.runs] == ["0000", "0001", "0002", "0003"]
    for (_, state, value), params in zip(standing(study), params_of(study), strict=True):
        assert (state, value) == ("COMPLETE", params["dropout"] + params["layers"])
    assert study.trials[2].intermediate_values.keys() == {1, 2, 3, 4}


def test_the_same_seed_gives_the_same_trials_also_when_started_again_between(tmp_path):
    whole, parts = open_study(f"{tmp_path}/a.journal"), f"{tmp_path}/b.journal"
    run(whole, FakeTraining(), 8)
    for num_trials in (3, 5, 8):
        run(open_study(parts), FakeTraining(), num_trials)
    assert params_of(open_study(parts)) == params_of(whole)
    assert len({params["dropout"] for params in params_of(whole)}) == 8


def test_a_signal_hands_the_trial_on_and_the_outcome_is_that_of_an_undisturbed_worker(url, tmp_path):
    undisturbed = open_study(f"{tmp_path}/undisturbed.journal")
    run(undisturbed, FakeTraining(), 6)
    study, training, stop = open_study(url), FakeTraining(), command.StopSignal()

    def signal_once(folder, epoch):
        stop.requested |= (folder, epoch) == ("0004", 2)

    training.fail = signal_once
    with pytest.raises(Interrupted):
        run(study, training, 6, stop=stop)
    assert standing(study)[4][1] == "WAITING"
    training.fail = lambda folder, epoch: None
    run(open_study(url), training, 6)  # any other worker
    assert [run for run in training.runs if run[0] == "0004"][1][2] == 2  # from its checkpoint
    assert params_of(study) == params_of(undisturbed)
    assert standing(study) == standing(undisturbed)
    assert trials.attempts(study)[5].frozen.intermediate_values.keys() == {1, 2, 3, 4}


def test_a_signal_between_trials_ends_the_worker(url):
    study, stop = open_study(url), command.StopSignal()
    stop.requested = True
    with pytest.raises(Interrupted):
        run(study, FakeTraining(), 6, stop=stop)
    assert study.trials == []


def test_a_diverged_trial_is_failed_with_its_reason_and_the_study_goes_on(url):
    study, training = open_study(url), FakeTraining()
    training.fail = fail_at("0001", 1, Diverged("the loss is nan at step 7"))
    run(study, training, 3)
    assert [state for _, state, _ in standing(study)] == ["COMPLETE", "FAIL", "COMPLETE"]
    assert trials.attempts(study)[1].reason == "the loss is nan at step 7"
    assert len(study.trials) == 3


def test_a_trial_too_large_for_the_memory_is_failed(url):
    study, training = open_study(url), FakeTraining()
    training.fail = fail_at("0000", 1, MemoryError("oh"))
    run(study, training, 2)
    assert trials.attempts(study)[0].reason == "out of memory: oh"
    assert standing(study)[1][1] == "COMPLETE"


def test_a_fault_ends_the_worker_and_hands_the_trial_on_until_it_has_killed_too_many(url):
    study, training = open_study(url), FakeTraining()
    training.fail = fail_at("0001", 3, OSError("disk full"))
    for _ in range(trials.MAX_DEATHS + 1):
        with pytest.raises(OSError):
            run(study, training, 3)
    run(study, training, 3)
    # The first attempt got further than any before it, so that its death counts as a first one.
    assert [run[2] for run in training.runs if run[0] == "0001"] == [0, 2, 2, 2]
    assert trials.current(trials.attempts(study))[1].reason == "OSError: disk full"
    assert [state for _, state, _ in standing(study)] == ["COMPLETE", "FAIL", "COMPLETE"]


def test_a_users_mistake_ends_the_worker_and_costs_the_trial_nothing(url):
    study, training = open_study(url), FakeTraining()
    training.fail = fail_at("0000", 1, UserError("batch_size is 3, want a multiple of the 2 replicas"))
    for _ in range(trials.MAX_DEATHS + 2):
        with pytest.raises(UserError):
            run(study, training, 1)
    training.fail = lambda folder, epoch: None
    run(study, training, 1)
    assert [state for _, state, _ in standing(study)] == ["COMPLETE"]


def test_a_trial_worse_than_the_others_is_pruned(url):
    study, training = open_study(url, pruner=optuna.pruners.MedianPruner(n_startup_trials=2)), FakeTraining()
    run(study, training, 8)
    states = [state for _, state, _ in standing(study)]
    assert "PRUNED" in states
    pruned = states.index("PRUNED")
    assert standing(study)[pruned][2] == max(study.trials[pruned].intermediate_values.values())
    best = min(value for _, state, value in standing(study) if state == "COMPLETE")
    assert best == study.best_value


def test_a_halted_run_that_was_not_told_is_pruned_by_the_next_attempt(url):
    study = open_study(url)
    run(study, lambda *_, **__: Outcome(State(3.0, "pruned after validation 2")), 1)
    assert [state for _, state, _ in standing(study)] == ["PRUNED"]


def test_the_number_of_trials_is_that_of_all_workers(tmp_path):
    url = f"sqlite:///{tmp_path}/study.db"
    open_study(url)
    training = FakeTraining()
    training.seconds = 0.01
    threads = [threading.Thread(target=lambda: run(open_study(url), training, 9)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    study = open_study(url)
    assert [state for _, state, _ in standing(study)] == ["COMPLETE"] * 9
    assert len({name for name, _, _ in training.runs}) == len(training.runs) == 9
    run(study, training, 11)  # more of them later
    assert len(standing(study)) == 11


def test_late_first_attempts_are_surplus(url):
    study = open_study(url)
    run(study, FakeTraining(), 2)
    trial = study.ask()  # as by a worker that counted one trial too few
    there = trials.attempts(study)
    assert trials.is_beyond(there, there[2], 2)
    assert not trials.is_beyond(there, there[1], 2)
    trial.set_user_attr(trials.SURPLUS, True)
    study.tell(trial, state=TrialState.FAIL)
    assert len(standing(study)) == 2
    run(study, FakeTraining(), 3)
    assert [trial for trial, _, _ in standing(study)] == [0, 1, 3]


def begin_and_die(study: optuna.Study, *, beats: bool = True) -> None:
    """What a worker leaves that is killed after two validations, maybe before its first heartbeat."""
    trial = study.ask()
    SPACE.suggest(trial)
    trial.report(9.0, 1)
    trial.report(8.0, 2)
    if beats and hasattr(study._storage, "record_heartbeat"):  # a journal has none
        study._storage.record_heartbeat(trial._trial_id)


@pytest.mark.parametrize("beats", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_a_dead_workers_trial_is_found_and_continued(tmp_path, beats):
    url = f"sqlite:///{tmp_path}/study.db"
    begin_and_die(open_study(url), beats=beats)
    study, training = open_study(url), FakeTraining()
    training.done["0000"] = 2
    run(study, training, 2, grace_seconds=3.0)
    assert training.runs[0][0] == "0001"  # at first nobody knows
    assert (training.runs[1][0], training.runs[1][2]) == ("0000", 2)
    assert training.runs[1][1] == study.trials[0].params["dropout"]
    assert [state for _, state, _ in standing(study)] == ["COMPLETE", "COMPLETE"]
    assert study.trials[2].intermediate_values == {1: 9.0, 2: 8.0} | {
        n: v for n, v in study.trials[2].intermediate_values.items() if n > 2
    }


def test_a_death_is_handed_on_once_however_many_see_it(url):
    study = open_study(url)
    begin_and_die(study)
    study.tell(0, state=TrialState.FAIL)
    for _ in range(3):
        trials.hand_on(study, 0)
        trials.reclaim(study)
    assert len(study.trials) == 2
    # Two at the same moment: the later one is a duplicate, and nobody runs it.
    study.add_trial(study.trials[1])
    there = trials.attempts(study)
    assert [trials.is_duplicate(there, attempt) for attempt in there] == [False, False, True]
    training = FakeTraining()
    run(study, training, 1)
    assert [name for name, _, _ in training.runs] == ["0000"]
    assert [state for _, state, _ in standing(study)] == ["COMPLETE"]


def test_deaths_without_progress_end_a_trial(url):
    study = open_study(url)
    trial = study.ask()
    SPACE.suggest(trial)
    for number in range(trials.MAX_DEATHS + 1):
        study.tell(number, state=TrialState.FAIL)
        trials.reclaim(study)
        if number < trials.MAX_DEATHS:
            assert study.ask().number == number + 1
    training = FakeTraining()
    run(study, training, 1)
    assert training.runs == []
    assert trials.current(trials.attempts(study))[0].reason == "its worker died 4 times in a row"


@pytest.mark.parametrize(("name", "value"), [(trials.REASON, "the loss is nan"), (trials.SURPLUS, True)])
def test_a_worker_that_died_while_it_ended_a_trial_leaves_it_ended(url, name, value):
    study = open_study(url)
    run(study, FakeTraining(), 1)
    study.ask().set_user_attr(name, value)
    study.tell(1, state=TrialState.FAIL)
    trials.make_retry()(study, study.trials[1])  # as Optuna does when it finds the attempt dead
    training = FakeTraining()
    run(study, training, 2 if name == trials.REASON else 1)
    assert training.runs == []


def test_running_trials_can_be_taken_over_by_order(url):
    study = open_study(url)
    begin_and_die(study)
    trials.take_over(study, trials.running(study))
    training = FakeTraining()
    run(study, training, 1)
    assert standing(study)[0][1] == "COMPLETE"
    assert trials.running(study) == []


def test_a_worker_that_was_taken_for_dead_leaves_the_trial_to_the_other(url, capsys):
    study, training = open_study(url), FakeTraining()

    def die_at_two(folder, epoch):
        if (folder, epoch, len(training.runs)) == ("0000", 2, 1):
            other = open_study(url)
            trials.take_over(other, trials.running(other))

    training.fail = die_at_two
    run(study, training, 1)
    assert "another worker continues this trial" in capsys.readouterr().out
    assert [run[0] for run in training.runs] == ["0000", "0000"]
    assert standing(study)[0][1] == "COMPLETE"


def test_a_worker_that_stood_still_and_was_taken_for_dead_writes_nothing_more(url):
    study, starts = open_study(url), []

    def train(config, *, stop, **_):
        starts.append(stop.requested)
        if len(starts) == 1:
            other = open_study(url)
            trials.take_over(other, trials.running(other))
            time.sleep(0.01)
            pytest.fail(f"it goes on, {stop.requested}")
        return Outcome(State(1.5))

    make_worker(study, train, 1, check_seconds=0.0).run(
        command.StopSignal(), grace_seconds=None, after_trial=lambda: None
    )
    assert starts == [False, False]
    assert standing(study) == [(0, "COMPLETE", 1.5)]


@pytest.mark.parametrize(
    ("epoch", "every", "number"), [(1.002, 1.0, 1), (0.9996, 1.0, 1), (3.01, 0.5, 6), (0.3, 1.0, 1), (1.5, 0.5, 3)]
)
def test_validations_are_numbered_by_what_was_seen(epoch, every, number):
    assert validation_number(epoch, every) == number
