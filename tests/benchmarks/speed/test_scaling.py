import json

import numpy as np
import pytest

from benchmarks.speed import scaling
from benchmarks.speed.scaling import START_SECONDS, Workload, simulate, simulate_training
from job_runtime.problem_report import UserError

PLAIN = Workload(units=36_000, rate=10, save_seconds=100, requests=0, request_limit=1, last_rate=360)
RNG = np.random.default_rng


@pytest.fixture
def alike(monkeypatch):
    monkeypatch.setattr(scaling, "SPREAD", 0.0)


def test_pods_that_are_alike_and_stay_share_the_work(alike):
    done, machine = simulate(PLAIN, 4, 0.0, RNG(0))
    assert done == pytest.approx(START_SECONDS + 900 + START_SECONDS + 100)
    assert machine == pytest.approx(4 * (START_SECONDS + 900) + START_SECONDS + 100)


def test_a_bucket_holds_back_many_pods_and_not_few(alike):
    bounded = Workload(**{**vars(PLAIN), "requests": 2, "request_limit": 80})  # 40 units per second together
    assert simulate(bounded, 4, 0.0, RNG(0)) == simulate(PLAIN, 4, 0.0, RNG(0))
    done, _ = simulate(bounded, 16, 0.0, RNG(0))
    assert done == pytest.approx(START_SECONDS + 900 + START_SECONDS + 100)  # no faster than four


def test_stragglers_make_the_slowest_pod_count():
    alone = np.median([simulate(PLAIN, 1, 0.0, RNG(seed))[0] for seed in range(99)])
    slowest = np.median(
        [simulate(Workload(**{**vars(PLAIN), "units": 64 * 36_000}), 64, 0.0, RNG(seed))[0] for seed in range(99)]
    )
    last = 64 * 100 - 100
    assert 1.25 < (slowest - last) / alone < 1.6  # of 64 log-normal ones the slowest is some 2.4 deviations behind


def test_preemptions_cost_a_start_and_what_was_not_saved(alike):
    calm = np.mean([simulate(PLAIN, 8, 0.0, RNG(seed))[1] for seed in range(200)])
    often = np.mean([simulate(PLAIN, 8, 2.0, RNG(seed))[1] for seed in range(200)])
    # 4,320 pod seconds at two an hour: 2.4 preemptions, each a start and half of what is saved at most, and a bit
    assert 1.5 * (START_SECONDS + 50) < often - calm < 4.5 * (START_SECONDS + 50)


def test_workers_of_a_training_start_anew_together(alike):
    done, machine = simulate_training(9e6, 1000, 10, 600, 0.0, RNG(0))
    assert done == pytest.approx(START_SECONDS + 1000) and machine == pytest.approx(10 * done)
    assert simulate_training(9e6, 9000, 1, 600, 0.0, RNG(0))[0] == pytest.approx(START_SECONDS + 1000)
    few = np.mean([simulate_training(9e6, 1000, 2, 600, 0.5, RNG(seed))[0] for seed in range(100)])
    assert few > START_SECONDS + 5000 + 0.9 * (START_SECONDS + 300)  # 1.4 preemptions of one of the two


def test_the_command(capsys):
    assert scaling.main(["--num-files", "1e4", "--num-pieces", "1e3"]) == 0
    table, line = capsys.readouterr().out.rsplit("\n", 2)[:2]
    found = json.loads(line)
    assert found["benchmark"] == "scaling" and found["settings"]["num_files"] == 1e4
    assert set(found["hours"]) == {"encode", "generate", "generate, tar shards", "train"}
    assert set(found["hours"]["encode"]) == {"1", "4", "16", "64", "256"}
    assert table.splitlines()[1].split()[:2] == ["encode", "1"]
    assert scaling.main(["--num-files", "1e4", "--num-pieces", "1e3"]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1]) == found  # the same draws


def test_mistakes():
    with pytest.raises(UserError) as error:
        scaling.main(["--num-files", "0", "--preemptions-per-hour", "-1"])
    assert error.value.problems == [
        "--num-files is '0', want a number above 0",
        "--preemptions-per-hour is '-1', want a number, 0 or more",
    ]
