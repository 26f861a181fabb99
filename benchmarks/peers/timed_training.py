"""The clock and the curve of a model that is trained for so many seconds, the same for our side and the peer's.

Seconds are those that the process's threads spend on a processor, divided by the cores it may use: on a quiet machine
the time by the clock on the wall, on a shared one what that would have been. Start, compilation and validation do not
count. Needs nothing but the standard library, so that any environment can import it.
"""

from __future__ import annotations

import json
import os
import pathlib
import time
from collections.abc import Mapping
from typing import Any


def cpu_clock() -> float:
    """Processor seconds of this process so far, over the cores it may use."""
    return time.process_time() / len(os.sched_getaffinity(0))


class Curve:
    """How far a run is, and what it measured; kept in `curve.json`, whole after every validation.

    A run that was ended goes on from its last validation: there its checkpoint is.

    Args:
      folder: of the run; made if need be.
      setup: `seconds` of training in all and `validations` at equal distances, the last at the end.

    Attributes:
      points: a JSON object a validation: seconds, steps, events, nll, by_field.
      about: what else is to be told of the run.
    """

    def __init__(self, folder: pathlib.Path, setup: Mapping[str, Any]):
        self.folder, self.about, self.points = folder, dict[str, Any](), list[dict[str, Any]]()
        self._total, self._validations = float(setup["seconds"]), int(setup["validations"])
        folder.mkdir(parents=True, exist_ok=True)
        self._path = folder / "curve.json"
        if self._path.exists():
            held = json.loads(self._path.read_text())
            self.about, self.points = held["about"], held["points"]
        last = self.points[-1] if self.points else {"seconds": 0.0, "events": 0}
        self._seconds, self._events = float(last["seconds"]), int(last["events"])

    @property
    def share(self) -> float:
        """Of the time, 0 to 1, or a little more at the end."""
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
        """Writes a validation: nats a note by field."""
        point = {"seconds": round(self._seconds, 3), "steps": steps, "events": self._events,
                 "nll": sum(by_field.values()), "by_field": dict(by_field), **figures}  # fmt: skip
        self.points.append(point)
        part = self._path.with_suffix(".part")
        part.write_text(json.dumps({"about": self.about, "points": self.points}, indent=1) + "\n")
        os.replace(part, self._path)
        print(f"{point['seconds']:8.1f} s  step {steps:6}  {point['nll']:.4f} nats a note", flush=True)
