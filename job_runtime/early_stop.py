"""Signals that arrive before a command is ready for them.

Every room imports this module first, and it imports next to nothing. Importing the rest can take seconds. No work has
begun by then, so SIGTERM and SIGINT end the process at once, with the status that means "start the same
command again". Before the first line of this module, while Python itself starts, SIGTERM gives 143 as for any program.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from types import FrameType

INTERRUPTED = 75  # EX_TEMPFAIL of sysexits.h
SIGNALS = (signal.SIGTERM, signal.SIGINT)
_TEXT = "interrupted before any work began; start the same command again"

CONSOLE_SCRIPT = "midi-lstm"

# Whether this process is a command's: it is being started with `python -m room.command`, or by the console script.
is_command = sys.argv[:1] == ["-m"] or os.path.basename(getattr(sys.modules["__main__"], "__file__", None) or "") == (
    CONSOLE_SCRIPT
)


def leave(_number: int, _frame: FrameType | None) -> None:
    """Ends the process. Imports nothing, because it may be called in the middle of an import."""
    line = _TEXT
    if os.environ.get("LOG_FORMAT") == "json":
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        line = f'{{"time": "{now}", "severity": "INFO", "message": "{_TEXT}"}}'
    try:
        os.write(2, f"{line}\n".encode())
    finally:
        os._exit(INTERRUPTED)


def interrupt(number: int, frame: FrameType | None) -> None:
    """Raises KeyboardInterrupt; during an import, which may turn that into any other error, ends the process."""
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
    """Ignores signals from now on: the exit status is decided, and must not change."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)


if is_command:
    for _number in SIGNALS:
        if signal.getsignal(_number) is not signal.SIG_IGN:  # a shell makes its background jobs ignore SIGINT
            signal.signal(_number, leave)
