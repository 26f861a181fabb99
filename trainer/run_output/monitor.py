"""Figures written during a run: metrics.jsonl, and TensorBoard's scalars and histograms.

RUN/metrics.jsonl      one line per validation
RUN/tensorboard/       the same, the training loss every `SCALAR_STEPS` steps, and a histogram of every weight
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from job_runtime import storage

SCALAR_STEPS = 20


class Speed:
    """Notes per second, and the share of time spent waiting for input, since the last `start`.

    The time between `pause` and `start`, such as a validation, does not count.
    """

    def __init__(self) -> None:
        self._events, self._waited = 0, 0.0
        self._since: float | None = None

    def start(self) -> None:
        """Starts the clock, unless it is running."""
        if self._since is None:
            self._since = time.monotonic()

    def add(self, events: int, waited: float) -> None:
        """Counts a step: its events, and the seconds it waited for its batch."""
        self._events += events
        self._waited += waited

    def pause(self) -> dict[str, float]:
        """Stops the clock and returns the figures since `start`."""
        seconds = max(0.0 if self._since is None else time.monotonic() - self._since, 1e-9)
        measured = {
            "notes_per_second": self._events / seconds,
            "input_wait_share": min(self._waited / seconds, 1.0),
        }
        self._events, self._waited, self._since = 0, 0.0, None
        return measured


class Monitor:
    """Records the figures of a run; only the chief writes."""

    def __init__(self, folder: str, *, is_chief: bool):
        self._folder, self._is_chief = folder, is_chief
        self._summary: tf.summary.SummaryWriter | None = None

    @property
    def summary(self) -> tf.summary.SummaryWriter:
        """TensorBoard's event file, opened at its first use; the only output of a run that TensorFlow itself writes."""
        if self._summary is None:
            if not self._is_chief:
                self._summary = tf.summary.create_noop_writer()
            else:
                path = storage.join(self._folder, "tensorboard")
                if path.startswith("s3://"):
                    import tensorflow_io  # noqa: F401  # gives TensorFlow its s3://
                self._summary = tf.summary.create_file_writer(path)
        return self._summary

    def step(self, step: int, **scalars: float) -> None:
        """Writes training scalars every `SCALAR_STEPS` steps; their names are prefixed with `train/`."""
        if self._is_chief and step % SCALAR_STEPS == 0:
            with self.summary.as_default(step=step):
                for name, value in scalars.items():
                    tf.summary.scalar(f"train/{name}", value)

    def validation(self, entries: Sequence[dict[str, Any]], weights: Sequence[Any]) -> None:
        """Writes all lines of metrics.jsonl, and the last one's values to TensorBoard.

        Args:
          entries: one per validation so far.
          weights: Keras variables, for histograms.
        """
        if not self._is_chief:
            return
        lines = "".join(json.dumps(line) + "\n" for line in entries)
        storage.write_bytes(storage.join(self._folder, "metrics.jsonl"), lines.encode())
        with self.summary.as_default(step=entries[-1]["step"]):
            for name, value in entries[-1].items():
                if name != "step" and isinstance(value, int | float) and math.isfinite(value):
                    tf.summary.scalar(name, value)
            for weight in weights:
                tf.summary.histogram(f"weights/{weight.path}", np.asarray(weight.value))
        self.summary.flush()

    def close(self) -> None:
        if self._summary is not None:
            self._summary.close()
