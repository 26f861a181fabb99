import faulthandler
import os
import signal
import time

import pytest

from benchmarks.harness import guarded


def act(what: str) -> str:
    if what == "crash":
        faulthandler.disable()  # its report is no news
        os.kill(os.getpid(), signal.SIGSEGV)
    elif what == "exit":
        os._exit(3)
    elif what == "hang":
        time.sleep(60)
    elif what == "raise":
        raise KeyError("a")
    elif what == "memory":
        bytearray(1 << 30)
    elif what == "64 MB":
        bytearray(64 << 20)[:] = b"x" * (64 << 20)
    return what.upper()


def run(*items: str) -> list[tuple[str | None, str]]:
    outcomes = list(guarded.run_each(act, items, max_seconds=2.0, max_megabytes=512))
    return [(outcome.value, outcome.fault) for outcome in outcomes]


def test_values_come_in_order():
    assert run("a", "b", "c") == [("A", ""), ("B", ""), ("C", "")]
    assert run() == []


@pytest.mark.parametrize(
    "item, fault",
    [
        ("crash", "ended the process with -11"),
        ("exit", "ended the process with 3"),
        ("hang", "silent for 2 s"),
        ("raise", "KeyError: 'a'"),
        ("memory", "MemoryError: "),
    ],
)
def test_an_item_that_takes_its_process_along_gets_the_blame_alone(item, fault):
    assert run("a", item, "b") == [("A", ""), (None, fault), ("B", "")]


def test_more_items_than_a_child_works_on(monkeypatch):
    monkeypatch.setattr(guarded, "ITEMS_PER_CHILD", 2)
    assert run("a", "b", "crash", "c", "d") == [
        ("A", ""),
        ("B", ""),
        (None, "ended the process with -11"),
        ("C", ""),
        ("D", ""),
    ]


def test_memory_is_told():
    small, large = guarded.run_each(act, ["a", "64 MB"])
    assert small.megabytes < 32 <= large.megabytes
