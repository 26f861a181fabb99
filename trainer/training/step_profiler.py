"""A trace of a few training steps for TensorBoard's profiler."""

from __future__ import annotations

import tensorflow as tf

from job_runtime import storage

PROFILED = range(5, 15)  # counted from this start of the run; the first steps compile


class StepProfiler:
    """Traces the steps of `PROFILED` when it is enabled.

    Args:
      folder: run folder; the trace is written to its `tensorboard` folder.
      is_enabled: whether anything is traced.
    """

    def __init__(self, folder: str, *, is_enabled: bool):
        self._folder, self._is_enabled = folder, is_enabled
        self._is_running = False

    def before_step(self, number: int) -> None:
        """Starts or stops the trace.

        Args:
          number: of the step that comes next, counted from this start of the run.
        """
        if self._is_enabled and number == PROFILED.start:
            tf.profiler.experimental.start(storage.join(self._folder, "tensorboard"))
            self._is_running = True
        elif number >= PROFILED.stop:
            self.stop()

    def stop(self) -> None:
        """Ends a trace that is running."""
        if self._is_running:
            tf.profiler.experimental.stop()
            self._is_running = False
