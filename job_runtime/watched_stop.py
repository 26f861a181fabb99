"""A stop that a supervisor can rely on: whatever the main thread is doing, the process is gone in time."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading

from job_runtime import command

PATIENCE_SECONDS = 7.0  # for a call into TensorFlow to return; a supervisor waits ten


class WatchedStop(command.StopSignal):
    """A `StopSignal` that ends the process, with status 75, when nobody has acted on the signal for some seconds.

    Use where what is saved is whole at every moment. A handler in Python waits until TensorFlow returns, and compiling,
    or a collective whose other worker is gone, may take longer than a supervisor waits; so a thread watches, which the
    signal reaches at once.
    """

    def __enter__(self) -> WatchedStop:
        super().__enter__()
        self._has_left = threading.Event()
        self._pipe = os.pipe()  # the interpreter's own handler, in C, writes the signal's number into it
        os.set_blocking(self._pipe[1], False)
        self._wakeup_before = signal.set_wakeup_fd(self._pipe[1], warn_on_full_buffer=False)
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *details: object) -> None:
        self._has_left.set()
        signal.set_wakeup_fd(self._wakeup_before)
        os.close(self._pipe[1])  # ends the thread
        self._thread.join()
        super().__exit__(*details)

    def _watch(self) -> None:
        while number := os.read(self._pipe[0], 1):
            if number[0] in (signal.SIGTERM, signal.SIGINT) and not self._has_left.wait(PATIENCE_SECONDS):
                with contextlib.suppress(OSError):  # nobody may be reading any more
                    print("interrupted; start the same command again to go on", file=sys.stderr, flush=True)
                os._exit(command.INTERRUPTED)
        os.close(self._pipe[0])
