import pytest

from job_runtime import waiting
from job_runtime.command import Interrupted, StopSignal


@pytest.fixture
def clock(monkeypatch):
    """Seconds as the module sees them; waiting moves them on."""
    now = [0.0]
    monkeypatch.setattr(waiting.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(waiting.time, "sleep", lambda seconds: now.__setitem__(0, now[0] + seconds))
    return now


def wait(looks, minutes: float) -> int:
    found = iter(looks)
    return waiting.wait_while_more_come(
        lambda: next(found), minutes=minutes, unit="parts", label="waiting", stop=StopSignal()
    )


def test_it_ends_when_all_is_there(clock):
    assert wait([(0, False), (2, False), (3, True)], 1) == 3
    assert clock[0] == 10.0


def test_it_waits_as_long_as_more_comes_and_some_minutes_beyond(clock):
    looks = [(number // 10, False) for number in range(40)] + [(3, False)] * 99
    assert wait(looks, 1) == 3
    assert clock[0] == 30 * 5.0 + 60


def test_no_minutes_are_one_look(clock):
    assert wait([(1, False)], 0) == 1 and clock[0] == 0


def test_a_signal_is_heard(clock):
    stop = StopSignal()
    stop.requested = True
    with pytest.raises(Interrupted):
        waiting.wait_while_more_come(lambda: (0, False), minutes=1, unit="parts", label="waiting", stop=stop)
