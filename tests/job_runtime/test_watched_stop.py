import os
import signal
import subprocess
import sys
import threading

import pytest

from job_runtime.watched_stop import StopAtOnce, WatchedStop

# A call into C that releases the interpreter and takes minutes, as a compilation may.
BLOCKED = """
import hashlib, sys, threading
from job_runtime import command, watched_stop

watched_stop.PATIENCE_SECONDS = 0.2

def main(argv):
    with watched_stop.WatchedStop():
        threading.Timer(1.0, print, ["ready"], {"flush": True}).start()  # the main thread is in C by then
        hashlib.pbkdf2_hmac("sha256", b"a", b"b", 2_000_000_000)

sys.exit(command.run("blocked", main))
"""


def test_a_signal_is_noted_and_the_main_thread_has_time_to_act():
    with WatchedStop() as stop:
        assert not stop.requested
        signal.raise_signal(signal.SIGTERM)
        assert stop.requested


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_can_interrupt_python_code_at_once(number):
    before = signal.getsignal(number)
    with pytest.raises(KeyboardInterrupt), StopAtOnce() as stop:
        signal.raise_signal(number)
    assert stop.requested
    assert signal.getsignal(number) is before


def test_leaving_puts_everything_back():
    threads = threading.active_count()
    wakeup = signal.set_wakeup_fd(-1)
    with WatchedStop() as stop:
        assert threading.active_count() == threads + 1
    assert threading.active_count() == threads
    assert not stop.requested
    assert signal.set_wakeup_fd(wakeup) == -1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_process_that_is_busy_in_c_ends_all_the_same(number):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    process = subprocess.Popen(
        [sys.executable, "-c", BLOCKED], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    )
    assert process.stdout.readline() == "ready\n"
    process.send_signal(number)
    assert process.wait(60) == 75
    assert process.stderr.read() == "interrupted; start the same command again to continue\n"
