import pytest

from trainer.config import TrainConfig
from trainer.data.feed import Position
from trainer.run_output.run_state import RunState
from trainer.training.schedule import early_stop, learning_rate, next_learning_rate, share_done

CONFIG = TrainConfig(learning_rate=0.01, final_rate=0.1, warmup_steps=4, epochs=8.0)


@pytest.mark.parametrize(
    "step, share, want",
    [
        (0, 0.0, 0.0025),  # a quarter of the warm-up
        (3, 0.0, 0.01),
        (100, 0.5, 0.01 * 0.55),  # the middle of the cosine
        (100, 1.0, 0.001),
        (100, 1.7, 0.001),  # beyond the end nothing rises again
    ],
)
def test_warm_up_then_a_cosine_down_to_the_final_rate(step, share, want):
    assert learning_rate(CONFIG, step=step, share=share) == pytest.approx(want)


def test_no_warm_up():
    config = TrainConfig(learning_rate=0.01, warmup_steps=0)
    assert learning_rate(config, step=0, share=0.0) == 0.01


def test_the_share_done_is_of_epochs_or_of_minutes_whichever_end_first():
    position, config = Position(epochs_done=2.0), TrainConfig(epochs=8.0, max_minutes=2.0)
    assert share_done(CONFIG, RunState(position=position, seconds=1e6)) == 0.25
    assert share_done(config, RunState(position=position, seconds=12.0)) == 0.25
    assert share_done(config, RunState(position=position, seconds=90.0)) == 0.75


def test_minutes_that_end_before_the_epochs_still_bring_the_rate_down_to_its_end():
    config = TrainConfig(learning_rate=0.01, final_rate=0.1, warmup_steps=4, epochs=200.0, max_minutes=4.0)
    rates = [
        next_learning_rate(config, RunState(step=100, position=Position(epochs_done=2.0), seconds=seconds))
        for seconds in (2.4, 120.0, 240.0)
    ]
    assert rates == [pytest.approx(0.009997780), pytest.approx(0.0055), pytest.approx(0.001)]


def test_a_run_that_stopped_early_says_so():
    config = TrainConfig(epochs=40.0, patience=8)
    state = RunState(step=1000, position=Position(epochs_done=10.0), finished=True, best_nll=2.5, best_step=200)
    state.validations_since_best = 8
    assert early_stop(config, state) == (
        "stopped early, after step 1,000 and 25% of its time: the last 8 validations were no better than step 200"
        " (2.500 nats per note)"
    )
    state.halted = "pruned"
    assert early_stop(config, state) is None
    assert early_stop(TrainConfig(epochs=10.0), RunState(position=Position(epochs_done=10.0))) is None
