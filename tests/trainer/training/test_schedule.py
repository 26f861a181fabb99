import pytest

from trainer.config import TrainConfig
from trainer.data.feed import Position
from trainer.run_output.run_state import RunState
from trainer.training.schedule import learning_rate, share_done

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
