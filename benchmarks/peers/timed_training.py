"""The clock and the curve of a model that is trained for a given time, the same for our side and the peer's.

Time is the processor time of the process divided by the cores that it may use. On a quiet machine it equals wall time;
on a shared one it is what wall time would have been. Start-up, compilation and validation do not count. Needs only the
standard library, so that any environment can import it.
"""

from __future__ import annotations

import json
import os
import pathlib
import time
from collections.abc import Mapping
from typing import Any


def cpu_clock() -> float:
    """Processor seconds of this process so far, divided by the cores that it may use."""
    return time.process_time() / len(os.sched_getaffinity(0))


class Curve:
    """The progress and results of a run, saved in `curve.json` after every validation.

    An interrupted run resumes from its last validation, which has a checkpoint.

    Args:
      folder: of the run; created if missing.
      setup: total `seconds` of training, and the number of `validations`, equally spaced, the last at the end.

    Attributes:
      points: one JSON object per validation: seconds, steps, events, nll, by_field.
      about: other facts about the run.
    """

    def __init__(self, folder: pathlib.Path, setup: Mapping[str, Any]):
        self.folder, self.about, self.points = folder, dict[str, Any](), list[dict[str, Any]]()
        self._total, self._validations = float(setup["seconds"]), int(setup["validations"])
        folder.mkdir(parents=True, exist_ok=True)
        self._path = folder / "curve.json"
        if self._path.exists():
            saved = json.loads(self._path.read_text())
            self.about, self.points = saved["about"], saved["points"]
        last = self.points[-1] if self.points else {"seconds": 0.0, "events": 0}
        self._seconds, self._events = float(last["seconds"]), int(last["events"])

    @property
    def share(self) -> float:
        """Share of the time that has passed, 0 to 1, or slightly more at the end."""
        return self._seconds / self._total

    @property
    def is_due(self) -> bool:
        """Whether a validation comes before the next step."""
        return self.share * self._validations >= len(self.points) + 1

    @property
    def is_done(self) -> bool:
        return len(self.points) >= self._validations

    def advance(self, seconds: float, events: int) -> None:
        """Counts a step."""
        self._seconds += seconds
        self._events += events

    def add(self, by_field: Mapping[str, float], *, steps: int, **figures: Any) -> None:
        """Writes a validation: nats per note by field."""
        point = {"seconds": round(self._seconds, 3), "steps": steps, "events": self._events,
                 "nll": sum(by_field.values()), "by_field": dict(by_field), **figures}  # fmt: skip
        self.points.append(point)
        temporary = self._path.with_suffix(".part")
        temporary.write_text(json.dumps({"about": self.about, "points": self.points}, indent=1) + "\n")
        os.replace(temporary, self._path)
        print(f"{point['seconds']:8.1f} s  step {steps:6}  {point['nll']:.4f} nats per note", flush=True)
