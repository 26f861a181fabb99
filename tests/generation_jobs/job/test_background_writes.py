import functools
import threading

import pytest

from generation_jobs.job import background_writes
from generation_jobs.job.background_writes import BackgroundWrites


def fail() -> int:
    raise OSError("disk full")


def test_every_write_is_reported_once_in_the_order_given():
    reported: list[int] = []
    with BackgroundWrites(reported.append) as writes:
        for number in range(1000):
            writes.add(functools.partial(int, number))
    assert reported == list(range(1000))


def test_reports_run_on_the_callers_thread():
    threads = set()
    with BackgroundWrites(lambda _: threads.add(threading.current_thread())) as writes:
        for _ in range(100):
            writes.add(threading.get_ident)
    assert threads == {threading.current_thread()}


def test_started_writes_finish_and_are_reported_if_the_block_fails():
    reported: list[int] = []
    with pytest.raises(KeyboardInterrupt), BackgroundWrites(reported.append) as writes:
        for number in range(5):
            writes.add(functools.partial(int, number))
        raise KeyboardInterrupt
    assert reported == [0, 1, 2, 3, 4]


def test_a_write_that_fails_raises_and_the_others_are_reported():
    reported: list[int] = []
    with pytest.raises(OSError, match="disk full"), BackgroundWrites(reported.append) as writes:
        for write in (functools.partial(int, 1), fail, functools.partial(int, 2)):
            writes._pending.append(writes._pool.submit(write))  # so that none is looked at before the end
    assert reported == [1, 2]


def test_a_failure_is_raised_early(monkeypatch):
    monkeypatch.setattr(background_writes, "MAX_PENDING", 2)
    with pytest.raises(OSError, match="disk full"), BackgroundWrites(lambda _: None) as writes:
        for _ in range(4):
            writes.add(fail)
        pytest.fail("a failure must not wait for the end")


def test_the_caller_waits_if_too_many_writes_are_pending(monkeypatch):
    monkeypatch.setattr(background_writes, "MAX_PENDING", 3)
    reported: list[int] = []
    with BackgroundWrites(reported.append) as writes:
        for number in range(10):
            writes.add(functools.partial(int, number))
            assert number + 1 - len(reported) <= 3
