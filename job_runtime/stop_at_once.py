"""Stopping on a signal without waiting, for a command whose files are whole at every moment."""

from __future__ import annotations

from types import FrameType

from job_runtime import early_stop
from job_runtime.watched_stop import WatchedStop


class StopAtOnce(WatchedStop):
    """Raises KeyboardInterrupt where Python code stands; `command.run` gives status 75."""

    def _note(self, number: int, frame: FrameType | None) -> None:
        super()._note(number, frame)
        early_stop.interrupt(number, frame)
