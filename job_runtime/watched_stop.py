"""Stopping in time, whatever the main thread is doing: a supervisor waits ten seconds after SIGTERM."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from types import FrameType

from job_runtime import command, early_stop

PATIENCE_SECONDS = 7.0  # for a call into TensorFlow to return


class WatchedStop(command.StopSignal):
    """A `StopSignal` that ends the process with status 75 if nothing has acted on the signal after some seconds.

    Use it where the saved files are complete at every moment. A Python signal handler runs only after TensorFlow
    returns. Compiling, or a collective operation whose other worker is gone, may take longer than a supervisor waits.
    So a thread watches, which the signal reaches at once.
    """

    def __enter__(self) -> WatchedStop:
        super().__enter__()
        self._has_left = threading.Event()
        self._pipe = os.pipe()  # the interpreter's own handler, in C, writes the signal's number into it
        os.set_blocking(self._pipe[1], False)
        self._previous_wakeup = signal.set_wakeup_fd(self._pipe[1], warn_on_full_buffer=False)
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *details: object) -> None:
        self._has_left.set()
        signal.set_wakeup_fd(self._previous_wakeup)
        os.close(self._pipe[1])  # ends the thread
        self._thread.join()
        super().__exit__(*details)

    def _watch(self) -> None:
        while number := os.read(self._pipe[0], 1):
            if number[0] in early_stop.SIGNALS and not self._has_left.wait(PATIENCE_SECONDS):
                with contextlib.suppress(OSError):  # the reader of standard error may be gone
                    print(f"interrupted; {command.TO_CONTINUE}", file=sys.stderr, flush=True)
                os._exit(command.INTERRUPTED)
        os.close(self._pipe[0])


class StopAtOnce(WatchedStop):
    """Does not wait for the next look at `requested`: raises KeyboardInterrupt in the Python code that is running."""

    def _handle(self, number: int, frame: FrameType | None) -> None:
        super()._handle(number, frame)
        early_stop.interrupt(number, frame)
