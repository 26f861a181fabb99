"""Signals before a command is ready for them: its rooms import this first, and it imports next to nothing.

Importing takes seconds on a busy machine, and nothing is begun by then, so SIGTERM and SIGINT end the process at once,
with the status that means "start the same command again". From the first line of this module on they do; while Python
itself starts, before any line of ours, SIGTERM gives 143 as it does for any program.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from types import FrameType

INTERRUPTED = 75  # EX_TEMPFAIL of sysexits.h
SIGNALS = (signal.SIGTERM, signal.SIGINT)
_TEXT = "interrupted before anything was begun; start the same command again"

# So it stands while `python -m room.command` imports the room, and at no other time.
is_command = sys.argv[:1] == ["-m"]


def leave(_number: int, _frame: FrameType | None) -> None:
    """Ends the process; imports nothing, for it may be called in the middle of an import."""
    line = _TEXT
    if os.environ.get("LOG_FORMAT") == "json":
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        line = f'{{"time": "{now}", "severity": "INFO", "message": "{_TEXT}"}}'
    try:
        os.write(2, f"{line}\n".encode())
    finally:
        os._exit(INTERRUPTED)


def interrupt(number: int, frame: FrameType | None) -> None:
    """Raises KeyboardInterrupt; in the middle of an import, which may turn that into anything, ends the process."""
    if is_command and is_importing(frame):
        leave(number, frame)
    signal.default_int_handler(number, frame)


def is_importing(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            return True
        frame = frame.f_back
    return False


def ignore() -> None:
    """The status is decided: a signal that comes now does not change it."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)


if is_command:
    for _each in SIGNALS:
        if signal.getsignal(_each) is not signal.SIG_IGN:  # as a shell has SIGINT of what it starts in the background
            signal.signal(_each, leave)
