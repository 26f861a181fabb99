import errno
import signal

import pytest

from job_runtime import command
from job_runtime.command import Interrupted, StopSignal
from job_runtime.problem_report import UserError


def raising(error):
    def main(argv):
        raise error

    return main


@pytest.mark.parametrize(
    "error, status, said",
    [
        (UserError(["a is 1, want 2", "b is 3, want 4"]), 2, "prog: a is 1, want 2\nprog: b is 3, want 4\n"),
        (UserError("one"), 2, "prog: one\n"),
        (Interrupted("step 3 is saved"), 75, "prog: interrupted; step 3 is saved\n"),
        (KeyboardInterrupt(), 75, "prog: interrupted; start the same command again to continue\n"),
    ],
)
def test_mistakes_and_interruptions_have_a_status_and_a_sentence(capsys, error, status, said):
    assert command.run("prog", raising(error), []) == status
    assert capsys.readouterr().err == said


@pytest.mark.parametrize(
    ("error", "flag", "problems"),
    [
        (UserError(["a", "b"]), "", ["a", "b"]),
        (UserError(["a", "b"]), "--data", ["--data: a", "--data: b"]),
        (PermissionError(errno.EACCES, "Permission denied", "/x"), "--data", ["--data: '/x': Permission denied"]),
        (FileNotFoundError(errno.ENOENT, "No such file or directory", "/x"), "", ["'/x': No such file or directory"]),
    ],
)
def test_mistakes_are_collected(error, flag, problems):
    found: list[str] = []
    with command.collecting(found, flag):
        raise error
    assert found == problems


def test_a_fault_of_a_disk_is_not_collected():
    with pytest.raises(OSError, match="Input/output error"), command.collecting([]):
        raise OSError(errno.EIO, "Input/output error", "/x")


def test_a_fault_keeps_its_traceback():
    with pytest.raises(ZeroDivisionError):
        command.run("prog", raising(ZeroDivisionError()), [])


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_is_noted_and_the_handlers_come_back(number):
    before = signal.getsignal(number)
    with StopSignal() as stop:
        assert not stop.requested
        signal.raise_signal(number)
        assert stop.requested
    assert signal.getsignal(number) is before


def test_signals_that_a_library_took_are_taken_back():
    before = signal.getsignal(signal.SIGTERM)
    with StopSignal() as stop:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        signal.raise_signal(signal.SIGTERM)
        assert not stop.requested
        stop.listen()
        signal.raise_signal(signal.SIGTERM)
        assert stop.requested
    assert signal.getsignal(signal.SIGTERM) is before
